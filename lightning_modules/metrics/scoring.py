"""Probabilities at the network's size to rows of metrics on the reference's own grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from contract.arrays import Mask
from lightning_modules.activations import (
    Activation,
    foreground_channels,
    hard_masks,
    lung_channels,
)
from lightning_modules.metrics.case_metrics import case_metrics, overlap_metrics
from lightning_modules.metrics.measurements import measure_structure
from lightning_modules.metrics.quality import assess, components, disagreement
from lightning_modules.metrics.scan_metrics import hausdorff_rowvector


def to_reference_grid(
    probabilities: Tensor, box: tuple[int, int, int, int], shape: tuple[int, int]
) -> Tensor:
    """Map one case's probabilities back: cut the film out, then resize bilinearly.

    Args:
        probabilities: ``(C, H, W)`` at the network's size.
        box: top, left, height and width of the film inside the network's square.
        shape: the reference grid's (height, width).

    Returns:
        ``(C, *shape)``.
    """
    top, left, height, width = box
    film = probabilities[None, :, top : top + height, left : left + width]
    return functional.interpolate(film, shape, mode="bilinear", align_corners=False)[0]


def structure_masks(
    probabilities: Tensor, structures: Sequence[str], activation: Activation
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return each structure's hard mask and probability, ``lungs`` always among them.

    Args:
        probabilities: ``(C, h, w)`` on the grid that is scored.
        structures: the channels' names.
        activation: how hard masks follow from probabilities.
    """
    hard = hard_masks(probabilities[None], activation)[0]
    lungs = lung_channels(structures)
    masks = {structures[i]: (hard[i], probabilities[i]) for i in foreground_channels(structures)}
    if "lungs" not in masks:
        masks["lungs"] = (hard[lungs].any(dim=0), probabilities[lungs].sum(dim=0).clamp(max=1))
    return masks


def score_case(
    probabilities: Tensor,
    target: Tensor,
    references: Mapping[str, Mask],
    box: tuple[int, int, int, int],
    spacing: tuple[float, float] | None,
    structures: Sequence[str],
    activation: Activation,
    mirrored: Mask | None = None,
    lungs: Mask | None = None,
) -> list[dict[str, Any]]:
    """Score every structure that the network predicts and the reference has.

    Args:
        probabilities: ``(C, H, W)`` at the network's size.
        target: ``(C, H, W)``, the reference at the network's size, boolean or in [0, 1].
        references: each structure's mask ``(h, w)`` on the grid that is scored.
        box: where the film lies inside the network's square.
        spacing: mm from one pixel of the reference grid to the next, down and along.
        structures: the channels' names.
        activation: how hard masks follow from probabilities.
        mirrored: the lungs ``(H, W)`` predicted for the mirrored film, mirrored back; without
            them ``disagreement`` and ``flagged`` are undefined.
        lungs: the raw union of the reference lungs ``(H, W)`` at the network's size; without it
            the union of the target's, from which a heart may have taken pixels.

    Returns:
        One dict of columns a structure; ``disagreement`` and ``flagged`` in that of the lungs.
    """
    shape = next(iter(references.values())).shape
    scored = structure_masks(
        to_reference_grid(probabilities, box, (shape[0], shape[1])), structures, activation
    )
    small = structure_masks(probabilities, structures, activation)
    channels = structure_masks(target, structures, "sigmoid")
    truth = {name: mask.cpu().numpy() for name, (mask, _) in channels.items()}
    if lungs is not None:
        truth["lungs"] = lungs
    rows = score_masks(
        {name: mask.cpu().numpy() for name, (mask, _) in scored.items()},
        references,
        spacing,
        {name: probability.cpu().numpy() for name, (_, probability) in scored.items()},
    )
    for row in rows:
        name = row["structure"]
        pair = small[name][0].cpu().numpy(), truth[name]
        net = overlap_metrics(*pair)
        row["dice_netgrid"], row["iou_netgrid"] = net["dice"], net["iou"]
        row["hausdorff_rowvector"] = hausdorff_rowvector(*pair)
        if name == "lungs" and mirrored is not None:
            film = film_part(box)
            differing = disagreement(small[name][0].cpu().numpy()[film], mirrored[film])
            quality = assess(scored[name][0].cpu().numpy(), differing, row["components"])
            row["disagreement"], row["flagged"] = quality.disagreement, quality.flagged
    return rows


def film_part(box: tuple[int, int, int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of the network's square that hold the film."""
    top, left, height, width = box
    return slice(top, top + height), slice(left, left + width)


def lung_masks(
    probabilities: Tensor, structures: Sequence[str], activation: Activation
) -> NDArray[np.bool_]:
    """Return the hard masks of the lungs ``(N, H, W)``, both sides joined.

    Args:
        probabilities: ``(N, C, H, W)``.
        structures: the channels' names.
        activation: how hard masks follow from probabilities.
    """
    masks: NDArray[np.bool_] = joined_lungs(probabilities, structures, activation).cpu().numpy()
    return masks


def joined_lungs(
    probabilities: Tensor, structures: Sequence[str], activation: Activation
) -> Tensor:
    """Return the same where the probabilities are; arguments as ``lung_masks`` has."""
    return hard_masks(probabilities, activation)[:, lung_channels(structures)].any(dim=1)


def score_masks(
    masks: Mapping[str, Mask],
    references: Mapping[str, Mask],
    spacing: tuple[float, float] | None,
    probabilities: Mapping[str, NDArray[np.floating]] | None = None,
) -> list[dict[str, Any]]:
    """Score the hard masks of one case, wherever they come from.

    Args:
        masks: each predicted structure's mask ``(h, w)`` on the grid that is scored.
        references: each structure's reference mask ``(h, w)``.
        spacing: mm from one pixel to the next, down and along, or None.
        probabilities: each structure's probability ``(h, w)``; without them ``auc`` is undefined.

    Returns:
        One dict of columns for each structure that both sides have.
    """
    rows = []
    for name in sorted(set(masks) & set(references), key=list(references).index):
        mask, reference = masks[name], references[name]
        probability = None if probabilities is None else probabilities[name]
        rows.append(
            {
                "structure": name,
                **case_metrics(mask, reference, probability, spacing),
                **measure_structure(masks, name, spacing),
                **_of_reference(measure_structure(references, name, spacing)),
                "components": components(mask),
                "empty_prediction": not mask.any(),
                "empty_reference": not reference.any(),
                "height": reference.shape[0],
                "width": reference.shape[1],
            }
        )
    return rows


def _of_reference(measured: Mapping[str, float | None]) -> dict[str, float | None]:
    return {f"reference_{name}": value for name, value in measured.items()}


def batch_dice(probabilities: Tensor, target: Tensor, channels: Sequence[int]) -> Tensor:
    """Return each image's Dice of the union of some channels, ``(N,)``, at the network's size.

    Args:
        probabilities: hard masks or one-hot ``(N, C, H, W)``, boolean.
        target: ``(N, C, H, W)`` in {0, 1}.
        channels: the channels to join.
    """
    predicted = probabilities[:, list(channels)].any(dim=1).flatten(1)
    reference = (target[:, list(channels)] > 0.5).any(dim=1).flatten(1)
    both = (predicted & reference).sum(dim=1)
    total = predicted.sum(dim=1) + reference.sum(dim=1)
    return torch.where(total > 0, 2 * both / total.clamp(min=1), torch.ones_like(total))

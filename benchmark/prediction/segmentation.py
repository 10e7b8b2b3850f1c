"""A film to masks at its own resolution, with what is measured on them and how sure they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from benchmark.prediction.predictor import Predictor
from contract.arrays import Mask
from contract.machine import give_back_memory
from datamodules.sources.films import Film
from lightning_modules.metrics.measurements import measure_structure
from lightning_modules.metrics.quality import Quality, assess, disagreement
from lightning_modules.metrics.scoring import (
    film_part,
    lung_masks,
    structure_masks,
    to_reference_grid,
)

MANY_PIXELS = 8_000_000
"""Larger films are read one at a time and mapped back in bands."""

BAND_ROWS = 256

FilmShape = tuple[int, int]


@dataclass(frozen=True)
class Segmentation:
    """What was found on a film.

    Attributes:
        masks: each structure's mask ``(H, W)`` on the film's own grid, ``lungs`` always there.
        measured: each structure's areas, the heart's cardiothoracic ratio.
        mirrored: 1 - Dice of the lungs between the film and its mirror image.
        networks: the mean over pairs of networks of 1 - Dice of their lungs; None for one network.
        quality: the flag, by the larger of the two.
    """

    masks: dict[str, Mask]
    measured: dict[str, dict[str, float | None]]
    mirrored: float
    networks: float | None
    quality: Quality


def segment(networks: Predictor, film: Film) -> Segmentation:
    """Segment a film with the mean of the networks' probabilities.

    Args:
        networks: the networks.
        film: the film.

    Raises:
        UserError: if a network's output is not finite.
    """
    preprocessing = networks.preprocessing
    if film.pixels.size > MANY_PIXELS:
        give_back_memory()  # what reading it took
    image = preprocessing.to_range(preprocessing.prepare_image(film.pixels))
    views = networks(torch.from_numpy(image)[None, None])
    own, mirrored = (view[:, 0] for view in views)  # (M, C, H, W) each
    mean = own.mean(dim=0)
    inside = preprocessing.box(film.shape)
    box = (inside.top, inside.left, inside.height, inside.width)
    part = (slice(None), *film_part(box))

    def lungs(probabilities: Tensor) -> Mask:
        return lung_masks(probabilities, networks.structures, networks.activation)[part]

    differs = disagreement(lungs(mean[None])[0], lungs(mirrored.mean(dim=0)[None])[0])
    pairs = [disagreement(one, other) for one, other in combinations(lungs(own), 2)]
    between = float(np.mean(pairs)) if pairs else None
    masks = _masks(networks, mean, box, film.shape)
    return Segmentation(
        masks=masks,
        measured={name: measure_structure(masks, name, film.spacing) for name in masks},
        mirrored=differs,
        networks=between,
        quality=assess(masks["lungs"], max(differs, between or 0.0)),
    )


def _masks(
    networks: Predictor, probabilities: Tensor, box: tuple[int, int, int, int], shape: FilmShape
) -> dict[str, Mask]:
    """Return the structures' masks ``(H, W)``; those of large films in bands of rows.

    The probabilities of a film of 40 million pixels alone fill 640 MB for four structures.
    """
    bands: Iterable[tuple[slice, Tensor]]
    if shape[0] * shape[1] <= MANY_PIXELS:
        bands = [(slice(0, shape[0]), to_reference_grid(probabilities, box, shape))]
    else:
        bands = _bands(probabilities, box, shape)
    masks: dict[str, Mask] = {}
    for rows, band in bands:
        found = structure_masks(band, networks.structures, networks.activation)
        for name, (mask, _) in found.items():
            masks.setdefault(name, np.empty(shape, bool))[rows] = mask.cpu().numpy()
    return masks


def _bands(
    probabilities: Tensor, box: tuple[int, int, int, int], shape: FilmShape
) -> Iterator[tuple[slice, Tensor]]:
    """Resize bilinearly as ``to_reference_grid`` does, along rows first, then some rows at a time.

    Values differ from it by rounding alone.
    """
    wide = to_reference_grid(probabilities, box, (box[2], shape[1]))
    for top in range(0, shape[0], BAND_ROWS):
        rows = slice(top, min(top + BAND_ROWS, shape[0]))
        place = (torch.arange(rows.start, rows.stop, device=wide.device) + 0.5) * box[2] / shape[0]
        place = (place - 0.5).clamp(min=0)
        above = place.long()
        below = (above + 1).clamp(max=box[2] - 1)
        share = (place - above)[None, :, None]
        yield rows, torch.lerp(wide[:, above], wide[:, below], share.expand_as(wide[:, above]))

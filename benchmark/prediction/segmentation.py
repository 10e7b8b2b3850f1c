"""A film to masks at its own resolution, with what is measured on them and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from benchmark.prediction.networks import Networks
from contract.arrays import Mask
from datamodules.sources.films import Film
from lightning_modules.metrics.measurements import measure_structure
from lightning_modules.metrics.quality import Quality, assess, disagreement
from lightning_modules.metrics.scoring import (
    film_part,
    lung_masks,
    structure_masks,
    to_reference_grid,
)


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


def segment(networks: Networks, film: Film) -> Segmentation:
    """Segment a film with the mean of the networks' probabilities.

    Args:
        networks: the networks.
        film: the film.

    Raises:
        UserError: if a network's output is not finite.
    """
    preprocessing = networks.preprocessing
    image = preprocessing.to_range(preprocessing.prepare_image(film.pixels))
    both = torch.from_numpy(np.stack([image, image[:, ::-1]])[:, None])
    own, mirrored = networks(both).unbind(dim=1)  # (M, C, H, W) each
    mean = own.mean(dim=0)
    inside = preprocessing.box(film.shape)
    box = (inside.top, inside.left, inside.height, inside.width)
    part = (slice(None), *film_part(box))

    def lungs(probabilities: Tensor) -> Mask:
        return lung_masks(probabilities, networks.structures, networks.activation)[part]

    differs = disagreement(lungs(mean[None])[0], lungs(mirrored.mean(dim=0)[None].flip(-1))[0])
    pairs = [disagreement(one, other) for one, other in combinations(lungs(own), 2)]
    between = float(np.mean(pairs)) if pairs else None
    found = structure_masks(
        to_reference_grid(mean, box, film.shape), networks.structures, networks.activation
    )
    masks = {name: mask.cpu().numpy() for name, (mask, _) in found.items()}
    return Segmentation(
        masks=masks,
        measured={name: measure_structure(masks, name, film.spacing) for name in masks},
        mirrored=differs,
        networks=between,
        quality=assess(masks["lungs"], max(differs, between or 0.0)),
    )

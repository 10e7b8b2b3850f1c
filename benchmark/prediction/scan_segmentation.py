"""A CT scan to masks on its own grid, slice by slice, with how sure they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.prediction.predictor import Predictor
from contract.arrays import Mask
from datamodules.preprocessing import Preprocessing
from datamodules.sources.ct.slices import ScanSlices
from lightning_modules.metrics.quality import doubts_of_scan
from lightning_modules.metrics.scans import PackedMask, unpacked_volume
from lightning_modules.metrics.scoring import (
    film_part,
    lung_masks,
    structure_masks,
    to_reference_grid,
)

PIXELS_AT_ONCE = 8 * 224 * 224
"""Pixels of slices, at the network's size, that are predicted at a time."""


@dataclass
class Overlap:
    """How far two opinions on a scan agree, gathered slice by slice."""

    both: int = 0
    total: int = 0

    def add(self, one: Mask, other: Mask) -> None:
        """Add masks of the same slices."""
        self.both += int(np.count_nonzero(one & other))
        self.total += int(np.count_nonzero(one)) + int(np.count_nonzero(other))

    @property
    def disagreement(self) -> float:
        """1 - Dice of the whole; 0 where both are empty."""
        return 1 - 2 * self.both / self.total if self.total else 0.0


@dataclass
class ScanSegmentation:
    """What was found on a scan.

    Attributes:
        slices: each structure's masks, packed, a slice each, ``lungs`` always there.
        voxels: each structure's size.
        mirrored: the lungs of the scan and of its mirror image.
        pairs: the lungs of every two networks.
        middle: the slice in the middle as grey values ``(H, W)``, by the network's window.
    """

    slices: dict[str, list[PackedMask]] = field(default_factory=dict)
    voxels: dict[str, int] = field(default_factory=dict)
    mirrored: Overlap = field(default_factory=Overlap)
    pairs: list[Overlap] = field(default_factory=list)
    middle: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0), np.uint8))

    def mask(self, structure: str) -> Mask:
        """Return a structure's mask ``(slices, H, W)`` on the scan's grid."""
        return unpacked_volume(self.slices[structure])

    def middle_masks(self) -> dict[str, Mask]:
        """Return each structure's mask ``(H, W)`` in the slice in the middle."""
        middle = {name: [every[len(every) // 2]] for name, every in self.slices.items()}
        return {name: unpacked_volume(one)[0] for name, one in middle.items()}

    @property
    def networks(self) -> float | None:
        """The mean over pairs of networks of 1 - Dice of their lungs; None for one network."""
        return float(np.mean([p.disagreement for p in self.pairs])) if self.pairs else None

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the masks are suspect, in words; none for plausible ones."""
        differing = max(self.mirrored.disagreement, self.networks or 0.0)
        return doubts_of_scan(self.voxels["lungs"], differing)


def segment_scan(networks: Predictor, scan: ScanSlices) -> ScanSegmentation:
    """Segment a scan with the mean of the networks' probabilities, as a cell's test does.

    Slices come one by one, a few are predicted at a time, and of what was predicted a bit a voxel
    is kept.

    Args:
        networks: the networks.
        scan: the scan.

    Raises:
        DataError: if a slice cannot be read.
        UserError: if a network's output is not finite.
    """
    found = ScanSegmentation()
    found.pairs = [Overlap() for _ in combinations(range(len(networks)), 2)]
    preprocessing = networks.preprocessing
    at_once = max(1, PIXELS_AT_ONCE // preprocessing.size**2)
    slices = _windowed(scan, preprocessing, found)
    while batch := list(islice(slices, at_once)):
        images = np.stack([preprocessing.to_range(image) for image in batch])
        own, mirrored = networks(torch.from_numpy(images)[:, None])
        _add(found, networks, scan.shape, own, mirrored)
    return found


def _windowed(
    scan: ScanSlices, preprocessing: Preprocessing, found: ScanSegmentation
) -> Iterator[NDArray[np.uint8]]:
    """Yield each slice at the network's size; the one in the middle is kept as it is, too."""
    for index, hu in enumerate(scan.each()):
        grey = preprocessing.window(hu)
        if index == len(scan) // 2:
            found.middle = grey
        yield preprocessing.prepare_image(grey)


def _add(
    found: ScanSegmentation,
    networks: Predictor,
    shape: tuple[int, int],
    own: Tensor,
    mirrored: Tensor,
) -> None:
    """Add what the networks predict for some slices, ``(M, N, C, H, W)`` each."""
    inside = networks.preprocessing.box(shape)
    box = (inside.top, inside.left, inside.height, inside.width)

    def lungs(probabilities: Tensor) -> Mask:
        every = lung_masks(probabilities, networks.structures, networks.activation)
        return every[(slice(None), *film_part(box))]

    mean = own.mean(dim=0)
    found.mirrored.add(lungs(mean), lungs(mirrored.mean(dim=0)))
    for pair, (one, other) in zip(found.pairs, combinations(map(lungs, own), 2), strict=True):
        pair.add(one, other)
    for probabilities in mean:
        large = to_reference_grid(probabilities, box, shape)
        masks = structure_masks(large, networks.structures, networks.activation)
        for name, (mask, _) in masks.items():
            pixels = mask.cpu().numpy()
            found.slices.setdefault(name, []).append(PackedMask.of(pixels))
            found.voxels[name] = found.voxels.get(name, 0) + int(np.count_nonzero(pixels))


def volume_ml(voxels: int, spacing: Iterable[float]) -> float:
    """Return the volume of voxels whose sides are some mm."""
    return voxels * math.prod(spacing) / 1000

"""A random chest as a CT volume: HU values, lung labels and nodules; nothing yet about files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.arrays import Mask

LEFT, RIGHT, TRACHEA = 3, 4, 5
"""Labels as LUNA16 has them; which of 3 and 4 is left does not matter to the readers."""

BODY_HU, LUNG_HU, BONE_HU, BLOOD_HU, AIR_HU = 30.0, -850.0, 500.0, 120.0, -1000.0
WIDTH_MM, HEIGHT_MM = 340.0, 240.0
"""The field of view, and the length of the scan."""

Volume = NDArray[np.float32]


@dataclass(frozen=True)
class Ball:
    """A nodule: centre ``(x, y, z)`` and radius in mm; x runs to the patient's left, z up."""

    centre: tuple[float, float, float]
    radius: float
    pleural: bool


@dataclass(frozen=True)
class Chest:
    """One patient's CT.

    Attributes:
        hu: ``(slices, size, size)`` HU values, the lowest slice first, the patient's left at the
            image's right.
        labels: ``(slices, size, size)``: 3 and 4 the lungs, 5 the trachea, 0 all else.
        nodules: one inside of a lung, one at the wall.
        spacing: mm from one pixel to the next.
        slice_mm: mm between slices.
    """

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    nodules: tuple[Ball, ...]
    spacing: float
    slice_mm: float

    def ball(self, nodule: Ball, radius: float | None = None) -> Mask:
        """Return a nodule's voxels ``(slices, size, size)``, or those of a ball of that radius."""
        x, y, z = _grid(self.hu.shape[1], self.hu.shape[0])
        far = sum((axis - at) ** 2 for axis, at in zip((x, y, z), nodule.centre, strict=True))
        return np.asarray(far <= (radius or nodule.radius) ** 2)


def sample_chest(rng: np.random.Generator, size: int, slices: int) -> Chest:
    """Draw a patient.

    Args:
        rng: chance.
        size: rows and columns of a slice.
        slices: how many there are; the lowest and the topmost show no lung.
    """
    x, y, z = _grid(size, slices)
    stretch, lean = rng.uniform(0.93, 1.05), rng.uniform(-6, 6)
    shell = (x / (150 * stretch)) ** 2 + (y / 105) ** 2 + 0 * z
    body = shell <= 1
    up = (z + 85) / 175
    lungs = []
    for side in (1, -1):
        reach = np.sqrt(np.clip(1 - (np.clip(up, 0, 1) / 1.02) ** 2.5, 0, 1))
        middle = side * (66 - 18 * np.clip(up, 0, 1)) * stretch + lean
        across = 46 * stretch * reach + 1e-3
        lung = ((x - middle) / across) ** 2 + ((y + 4) / (74 * reach + 1e-3)) ** 2 <= 1
        lungs.append(lung & (up >= 0) & (up <= 1))
    heart = ((x - 28) / 52) ** 2 + ((y + 18) / 48) ** 2 + ((z + 60) / 55) ** 2 <= 1
    spine = (x / 20) ** 2 + ((y - 72) / 20) ** 2 + 0 * z <= 1
    lungs = [lung & body & ~heart & ~spine for lung in lungs]
    trachea = (((x - lean / 2) / 8.5) ** 2 + (y / 9.5) ** 2 <= 1) & (z > 25)
    ribs = body & (shell > 0.82) & (shell < 0.92) & (np.sin(z / 7 + x / 30) > 0.55)

    hu: Volume = np.full((slices, size, size), AIR_HU, np.float32)
    hu[body] = BODY_HU
    hu[heart & body] = BLOOD_HU
    hu[(spine & body) | ribs] = BONE_HU
    labels = np.zeros(hu.shape, np.uint8)
    for lung, label in zip(lungs, (LEFT, RIGHT), strict=True):
        hu[lung], labels[lung] = LUNG_HU, label
    labels[trachea & body], hu[trachea & body] = TRACHEA, AIR_HU
    vessels = _vessels(rng, x, y, z) & ((labels == LEFT) | (labels == RIGHT))
    hu[vessels] = BLOOD_HU
    hu[:, (y[0, :, 0] > 128) & (y[0, :, 0] < 138), size // 8 : -size // 8] = 150
    hu += rng.normal(0, 22, hu.shape).astype(np.float32)
    nodules = _nodules(rng, size, slices, stretch, lean)
    chest = Chest(
        np.rint(hu).astype(np.int16), labels, nodules, WIDTH_MM / size, HEIGHT_MM / slices
    )
    for nodule in nodules:
        chest.hu[chest.ball(nodule)] = 45
    return chest


def _grid(size: int, slices: int) -> tuple[Volume, Volume, Volume]:
    """Return coordinates in mm that broadcast to ``(slices, size, size)``; 0 is the middle."""
    across = (np.arange(size, dtype=np.float32) - (size - 1) / 2) * np.float32(WIDTH_MM / size)
    along = (np.arange(slices, dtype=np.float32) - (slices - 1) / 2) * np.float32(
        HEIGHT_MM / slices
    )
    return across[None, None], across[None, :, None], along[:, None, None]


def _vessels(rng: np.random.Generator, x: Volume, y: Volume, z: Volume) -> Mask:
    found = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape), np.bool_)
    for side in (-1, 1):
        for _ in range(5):
            way = rng.uniform((0.5, -0.9, -0.9), (1, 0.9, 0.9)) * (side, 1, 1)
            way /= np.linalg.norm(way)
            off = (x - side * 25, y - 2, z - 5)
            along = sum(part * step for part, step in zip(off, way, strict=True))
            squared = sum(part**2 for part in off)
            found |= (squared - along**2 < 9) & (along > 0) & (along < 70)
    return found


def _nodules(
    rng: np.random.Generator, size: int, slices: int, stretch: float, lean: float
) -> tuple[Ball, ...]:
    step = HEIGHT_MM / slices

    def height(wanted: float) -> float:
        """Return the middle of the nearest slice, so that a nodule has one at its widest."""
        index = round(wanted / step + (slices - 1) / 2)
        return (index - (slices - 1) / 2) * step

    side = float(rng.choice((-1, 1)))
    inner = (
        float(-side * rng.uniform(55, 75) + lean),
        float(rng.uniform(-30, 25)),
        height(float(rng.uniform(0, 25))),
    )
    z = height(float(rng.uniform(-45, -25)))
    up = min(max((z + 85) / 175, 0.0), 1.0)
    reach = float(np.sqrt(1 - (up / 1.02) ** 2.5))
    wall = side * (66 - 18 * up) * stretch + lean + side * 46 * stretch * reach
    return (
        Ball(inner, float(rng.uniform(11, 15)), False),
        Ball((float(wall), -4.0, z), float(rng.uniform(12, 15)), True),
    )

"""Measures of a lung mask's shape by which suspect reference masks are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from contract.arrays import Mask

LUNG_SHARE = 0.02
"""A part smaller than this share of the largest one is no lung: collapsed lungs keep a tenth."""

UPPER_BAND = (0.15, 0.40)
"""Heights, as shares of both lungs' common extent, of the mediastinum above the heart."""

HEART_BAND = (0.60, 0.85)
"""Heights at which the heart's left border lies, above the diaphragm."""

LATERAL_BAND = (0.15, 0.85)
"""Heights of a lung's lateral border without the dome above and the costophrenic angle below."""

RIPPLE_SCALE = 0.03
"""Standard deviation, as a share of the lung's height, of the smoothing that takes out ripples:
nine or ten ribs cross a lung, so that a scallop is about a tenth of its height."""


@dataclass(frozen=True)
class MaskMeasures:
    """Measures of one case's lung masks.

    Attributes:
        specks: parts of the masks beside the two lungs.
        largest_speck_px: pixels of the largest of them.
        holes: background areas that a lung encloses.
        holes_px: pixels of all of them.
        border_px: mask pixels on the image's border.
        side_ratio: area of the patient's left lung over that of the right one.
        flare: how much farther from the midline the left lung's medial border lies beside the
            heart than above it, as a share of both lungs' width. The heart pushes it out; where
            its shadow is counted as lung, the border runs straight down. NaN where the left lung
            does not reach both heights.
        ripple: root mean square of the lateral borders' ripples over the lungs' heights, both
            sides added.
    """

    specks: int
    largest_speck_px: int
    holes: int
    holes_px: int
    border_px: int
    side_ratio: float
    flare: float
    ripple: float


def measure_shape(masks: Mapping[str, Mask]) -> MaskMeasures:
    """Measure a case's masks.

    Args:
        masks: masks ``(H, W)`` by structure: ``lungs``, and where known ``left_lung`` and
            ``right_lung``. Without these the lungs are told apart by ``split_sides``.

    Raises:
        ValueError: if there is no lung pixel.
    """
    lungs = masks["lungs"]
    if not lungs.any():
        raise ValueError("an empty mask has no shape")
    edges = (lungs[0], lungs[-1], lungs[1:-1, 0], lungs[1:-1, -1])
    border_px = sum(int(edge.sum()) for edge in edges)
    box = _box(lungs)
    masks = {structure: mask[box] for structure, mask in masks.items()}
    sides = ("left_lung", "right_lung")
    if all(side in masks and masks[side].any() for side in sides):
        left, right = (masks[side] for side in sides)
        specks = [area for lung in (left, right) for area in part_areas(lung)[1:]]
    else:
        left, right = split_sides(masks["lungs"])
        areas = part_areas(masks["lungs"])
        joined = len(areas) < 2 or areas[1] < LUNG_SHARE * areas[0]
        specks = areas[1:] if joined else areas[2:]
    holes = [area for lung in (left, right) if lung.any() for area in hole_areas(lung)]
    return MaskMeasures(
        specks=len(specks),
        largest_speck_px=max(specks, default=0),
        holes=len(holes),
        holes_px=sum(holes),
        border_px=border_px,
        side_ratio=float(left.sum() / right.sum()) if right.any() else float("inf"),
        flare=medial_flare(left, right),
        ripple=lateral_ripple(left, at_right=True) + lateral_ripple(right, at_right=False),
    )


def _box(mask: Mask) -> tuple[slice, slice]:
    """Return the rows and columns that hold the mask, which must not be empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def split_sides(lungs: Mask) -> tuple[Mask, Mask]:
    """Tell the patient's left lung from the right one in a mask ``(H, W)`` of both.

    The two largest parts are the lungs, and every other part belongs to the nearer one. Lungs that
    touch are cut along the emptiest column of the middle third.

    Returns:
        The left lung, at the image's right, and the right one; one is empty in a mask of one lung.
    """
    count, labels, stats, centres = cv2.connectedComponentsWithStats(lungs.astype(np.uint8))
    order = 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")
    areas = stats[order, cv2.CC_STAT_AREA]
    if count > 2 and areas[1] >= LUNG_SHARE * areas[0]:
        first, second = centres[order[0]], centres[order[1]]
        nearer_first = ((centres - first) ** 2).sum(1) <= ((centres - second) ** 2).sum(1)
        at_left = nearer_first if first[0] < second[0] else ~nearer_first
        right = at_left[labels] & lungs
        return lungs & ~right, right
    columns = _box(lungs)[1]
    start, width = columns.start, columns.stop - columns.start
    third = slice(start + width // 3, start + 2 * width // 3 + 1)
    cut = third.start + int(np.argmin(lungs[:, third].sum(axis=0)))
    right = lungs.copy()
    right[:, cut:] = False
    return lungs & ~right, right


def part_areas(mask: Mask) -> list[int]:
    """Return the pixels of each connected part, largest first; corners connect."""
    stats = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[2]
    return sorted((int(area) for area in stats[1:, cv2.CC_STAT_AREA]), reverse=True)


def hole_areas(mask: Mask) -> list[int]:
    """Return the pixels of each background area that the mask encloses; a corner opens it."""
    outside = np.pad(~mask[_box(mask)], 1, constant_values=True).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=8)
    return [
        int(stats[label, cv2.CC_STAT_AREA])
        for label in range(1, len(stats))
        if label != labels[0, 0]
    ]


def medial_flare(left: Mask, right: Mask) -> float:
    """Return how far the left lung's medial border is pushed out beside the heart.

    Args:
        left: the patient's left lung ``(H, W)``, at the image's right.
        right: the other lung.

    Returns:
        The border's mean column in ``HEART_BAND`` less that in ``UPPER_BAND``, as a share of both
        lungs' width; NaN where the left lung is absent from one of the bands.
    """
    rows, columns = _box(left | right)
    top, height, width = rows.start, rows.stop - rows.start, columns.stop - columns.start
    upper, beside_heart = (
        _mean_first_column(left[top + int(low * height) : top + int(high * height)])
        for low, high in (UPPER_BAND, HEART_BAND)
    )
    return float((beside_heart - upper) / width)


def _mean_first_column(rows: Mask) -> float:
    filled = rows[rows.any(axis=1)]
    return float(filled.argmax(axis=1).mean()) if len(filled) else float("nan")


def lateral_ripple(lung: Mask, *, at_right: bool) -> float:
    """Return how much a lung's lateral border ripples, over the lung's height.

    Args:
        lung: one lung ``(H, W)``.
        at_right: whether its lateral border is the image's right one.
    """
    rows = np.flatnonzero(lung.any(axis=1))
    if not len(rows):
        return 0.0
    height = int(rows[-1] - rows[0] + 1)
    facing = lung[:, ::-1] if at_right else lung
    border = facing[rows].argmax(axis=1).astype(np.float64)[:, None]
    sigma = RIPPLE_SCALE * height
    # The outline of pixels is a staircase: the fine smoothing takes out its steps.
    fine, coarse = (
        np.asarray(cv2.GaussianBlur(border, (1, 0), sigmaX=1, sigmaY=s)) if s > 0.3 else border
        for s in (sigma / 10, sigma)
    )
    low, high = (int(share * len(rows)) for share in LATERAL_BAND)
    ripples = (fine - coarse)[low:high]
    return float(np.sqrt((ripples**2).mean()) / height) if len(ripples) else 0.0

"""Lung masks computed from HU values, for scans that nobody has drawn: labelled ``pseudo``.

The steps are those of Hu, Hoffman and Reinhardt, "Automatic lung segmentation for accurate
quantitation of volumetric X-ray CT images", IEEE TMI 20(6), 2001, with a fixed threshold: air
inside the body, without trachea and bowel gas, closed so that vessels and nodules at the wall
belong to the lung. Dense disease that reaches the wall and is wider than the closing is missed:
nothing replaces drawn masks. Whoever changes a mask raises ``PSEUDO_MASK_FORMAT`` of the cache.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contract.arrays import Mask, Spacing

THRESHOLD_HU = -400
"""Between lung (about -850 HU) and soft tissue (about 40 HU)."""

TRACHEA_MM2 = (40.0, 900.0)
"""Area of the trachea's cross-section with its wall; where both main bronchi part it is larger."""

SMALLEST_SHARE = 0.1
"""Parts smaller than this share of the largest are bowel gas, oesophagus or airways."""

CLOSING_MM = 8.0
"""Radius of the closing that takes in vessels and small nodules at the wall."""


def pseudo_mask(volume: NDArray[np.int16], spacing: Spacing, slice_mm: float) -> Mask:
    """Return both lungs ``(slices, H, W)``; all False where no lung is found.

    Args:
        volume: HU values ``(slices, H, W)``, the lowest slice first.
        spacing: mm from one pixel to the next, down and along.
        slice_mm: mm between slices.
    """
    inside = _air_inside(volume)
    _remove_trachea(inside, spacing, slice_mm)
    lungs = _largest_parts(inside)
    radii = [max(1, round(CLOSING_MM / side)) for side in reversed(spacing)]
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, [2 * radius + 1 for radius in radii])
    pad = max(radii)
    for index in np.flatnonzero(lungs.any(axis=(1, 2))):
        padded = np.pad(lungs[index].astype(np.uint8), pad)
        closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)[pad:-pad, pad:-pad]
        lungs[index] = _filled(cast("NDArray[np.uint8]", closed))
    return lungs


def _air_inside(volume: NDArray[np.int16]) -> Mask:
    """Return air that no path through air, within its slice, joins to the image's border."""
    air = volume < THRESHOLD_HU
    for index, slice_air in enumerate(air):
        labels, _ = ndimage.label(slice_air)
        edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        air[index] &= ~np.isin(labels, np.unique(edge[edge > 0]))
    return air


def _remove_trachea(inside: Mask, spacing: Spacing, slice_mm: float) -> None:
    """Follow the trachea down from the topmost air near the midline, and take it out in place.

    It ends where its cross-section grows beyond a trachea's: at the carina, or where it touches
    a lung.
    """
    pixel = spacing[0] * spacing[1]
    before: Mask | None = None
    lost = 0.0
    for index in range(len(inside) - 1, -1, -1):
        labels, count = ndimage.label(inside[index])
        if not count:
            continue
        chosen = _trachea(labels, count, before, pixel)
        if chosen is None:
            lost += slice_mm
            if before is not None or lost > 60:
                return
            continue
        before = labels == chosen
        inside[index] &= ~ndimage.binary_dilation(before, iterations=1)


def _trachea(
    labels: NDArray[np.int32], count: int, before: Mask | None, pixel: float
) -> int | None:
    """Return the label that is the trachea's cross-section, or None."""
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:] * pixel
    fits = (areas >= TRACHEA_MM2[0]) & (areas <= TRACHEA_MM2[1])
    if before is not None:
        shared = np.bincount(labels[before], minlength=count + 1)[1:]
        best = int(shared.argmax())
        return best + 1 if shared[best] and fits[best] else None
    height, width = labels.shape
    centres = ndimage.center_of_mass(labels > 0, labels, range(1, count + 1))
    away = [abs(column - width / 2) / width for _, column in centres]
    inner = [height * 0.2 < row < height * 0.8 for row, _ in centres]
    near = [i for i in range(count) if fits[i] and inner[i] and away[i] < 0.12]
    return min(near, key=lambda i: away[i]) + 1 if near else None


def _largest_parts(inside: Mask) -> Mask:
    labels, count = ndimage.label(inside)
    if not count:
        return inside
    sizes = np.zeros(count + 1, np.int64)
    for slice_labels in labels:  # counted at once, the volume would be copied to 64 bits
        sizes += np.bincount(slice_labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    kept = sizes >= SMALLEST_SHARE * sizes.max()
    return cast("Mask", kept[labels])


def _filled(mask: NDArray[np.uint8]) -> Mask:
    """Return a slice's mask with its holes filled."""
    around = np.pad(mask, 1)
    cv2.floodFill(around, None, (0, 0), (2,))
    return cast("Mask", around[1:-1, 1:-1] != 2)

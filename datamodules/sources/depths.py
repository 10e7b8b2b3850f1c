"""How many bits of stored grey values are used: one rule for pictures and DICOM films."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

DEPTHS = (8, 10, 12, 14)
"""Bits that detectors and archives use, besides all that are stored."""

OUTLIERS = 0.001
"""Share of the pixels, at each end, that says nothing: dead pixels, burnt-in marks."""

ROWS_AT_ONCE = 64


def significant_bits(highest: float, most: int) -> int:
    """Return the bits of a film whose values reach ``highest``: the first depth that holds it."""
    return next((bits for bits in DEPTHS if bits < most and highest < 1 << bits), most)


def count_values(values: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Return how many pixels of ``(H, W)`` have each of the 65536 values."""
    counts = np.zeros(1 << 16, np.int64)
    for top in range(0, len(values), ROWS_AT_ONCE):
        counts += np.bincount(values[top : top + ROWS_AT_ONCE].ravel(), minlength=1 << 16)
    return counts


def usual_ends(values: NDArray[np.floating], counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return the lowest and highest value, ``OUTLIERS`` at each end left out.

    Args:
        values: the value that each entry of ``counts`` stands for.
        counts: how many pixels have it; not all may be 0.
    """
    order = np.argsort(values, kind="stable")
    below = np.cumsum(counts[order])
    least = int(OUTLIERS * below[-1])
    low = values[order[np.searchsorted(below, least, side="right")]]
    high = values[order[np.searchsorted(below, below[-1] - least, side="left")]]
    return float(low), float(high)


def look_up(table: NDArray[np.uint8], values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return each value's entry of a table, some rows at a time: an index takes eight bytes."""
    out = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), ROWS_AT_ONCE):
        out[top : top + ROWS_AT_ONCE] = table[values[top : top + ROWS_AT_ONCE]]
    return cast("NDArray[np.uint8]", out)


def grey_levels(bits: int) -> NDArray[np.uint8]:
    """Return the grey value of each of 65536 values, the full range of ``bits`` scaled."""
    white = (1 << bits) - 1
    levels = np.minimum(np.arange(1 << 16), white)
    return ((levels * 255 + white // 2) // white).astype(np.uint8)

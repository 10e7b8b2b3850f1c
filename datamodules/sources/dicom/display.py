"""Stored values to grey ones, by a film's own rules: a table of all values that it may store.

In DICOM's order (PS3.3 C.11): the modality's table or rescaling, then the first usable of the VOI
tables and windows; MONOCHROME1 is inverted at the end, and padding is black.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from datamodules.sources.depths import count_values, look_up, significant_bits, usual_ends
from datamodules.sources.dicom.objects import (
    integer_of,
    integers_of,
    items_of,
    number_of,
    numbers_of,
    text_of,
)
from datamodules.sources.dicom.pixels import Stored

if TYPE_CHECKING:
    from pydicom import Dataset

Values = NDArray[np.float64]
LEAST_SHARE = 0.5
"""Of the range that its bits allow, a film without window fills at least so much."""


@dataclass(frozen=True)
class LookupTable:
    """A lookup table of a header.

    Attributes:
        first: the value that the first entry is for; lower ones get it too.
        entries: what values become.
        bits: significant bits of the entries.
    """

    first: int
    entries: Values
    bits: int

    def __call__(self, values: Values) -> Values:
        """Return what values become."""
        place = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[place.astype(np.int64)])


def show(film: Dataset, stored: Stored) -> tuple[NDArray[np.uint8], int | None]:
    """Return grey values ``(H, W)`` in 0..255, bone bright.

    Returns:
        The grey values, and the bits taken for significant where no table or window says how the
        film is to be shown.
    """
    counts = count_values(stored.patterns)
    values = _values(stored, counts)
    padding = _padding(film, stored)
    if counts[~padding].any():
        counts = np.where(padding, 0, counts)
    values, nominal = _modality(film, stored, values, counts)
    shown, bits = _voi(film, values, counts), None
    if shown is None:
        low, high, bits = _range(values, counts, *nominal)
        shown = (values - low) / max(high - low, 1e-12)
    grey = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)
    grey = 255 - grey if stored.inverted else grey
    grey[padding] = 0
    return look_up(grey, stored.patterns), bits


def _values(stored: Stored, counts: NDArray[np.int64]) -> Values:
    """Return the value that each pattern of 16 bits stands for."""
    patterns = np.arange(1 << 16)
    used = np.flatnonzero(counts)
    bits, shift = stored.bits, stored.high_bit + 1 - stored.bits
    # Left-aligned, as the header says and the empty low bits show; decoders align to the right.
    if 0 < shift <= 16 - bits and not (used & ((1 << shift) - 1)).any():
        patterns >>= shift
        used = used >> shift
    width = stored.allocated if used.max() >> bits else bits
    if stored.signed:
        patterns = (patterns & ((1 << width) - 1)) - ((patterns >> width - 1 & 1) << width)
    return patterns.astype(np.float64)


def _padding(film: Dataset, stored: Stored) -> NDArray[np.bool_]:
    """Return which patterns are no part of the picture."""
    stated = integers_of(film, "PixelPaddingValue")
    inside = np.zeros(1 << 16, bool)
    if stated:
        ends = [stated[0], integer_of(film, "PixelPaddingRangeLimit", stated[0])]
        if stored.signed:
            ends = [end - ((end >> 15) << 16) for end in ends]
        inside[np.arange(min(ends), max(ends) + 1) & 0xFFFF] = True
    return inside


def _modality(
    film: Dataset, stored: Stored, values: Values, counts: NDArray[np.int64]
) -> tuple[Values, tuple[float, float]]:
    """Return values after the modality's transformation, and the ends of their range."""
    beyond = values[counts > 0].max() >= 1 << stored.bits
    bits = stored.allocated if beyond else stored.bits
    ends = (-(1 << bits - 1), (1 << bits - 1) - 1) if stored.signed else (0, (1 << bits) - 1)
    for item in items_of(film, "ModalityLUTSequence"):
        table = _table(item, stored.signed)
        if table is not None:
            return table(values), (0, (1 << table.bits) - 1)
    slope, intercept = (
        number_of(film, "RescaleSlope", 1) or 1,
        number_of(film, "RescaleIntercept", 0),
    )
    low, high = sorted(end * slope + intercept for end in ends)
    if stored.signed and slope > 0 and (values[counts > 0] >= 0).all():
        low = intercept
    return values * slope + intercept, (low, high)


def _range(
    values: Values, counts: NDArray[np.int64], low: float, high: float
) -> tuple[float, float, int | None]:
    """Return the ends that become black and white, and the bits that they stand for.

    The full range of the bits that the values need; where they fill little of it, being far from
    zero, their own.
    """
    darkest, brightest = usual_ends(values, counts)
    bits = None
    if low == 0:
        bits = significant_bits(brightest, int(np.ceil(np.log2(high + 1))))
        high = min(high, (1 << bits) - 1)
    if darkest < brightest < darkest + LEAST_SHARE * (high - low):
        return darkest, brightest, None
    return low, high, bits


def _voi(film: Dataset, values: Values, counts: NDArray[np.int64]) -> Values | None:
    """Return the brightness that the first usable table or window gives, black 0 and white 1.

    What would show all of a film that varies as one grey value is passed over.
    """
    present = values[counts > 0]
    for item in items_of(film, "VOILUTSequence"):
        table = _table(item, bool(present.min() < 0))
        if table is not None and (np.ptp(table(present)) or not np.ptp(present)):
            return table(values) / ((1 << table.bits) - 1)
    function = text_of(film, "VOILUTFunction").upper()
    centres, widths = numbers_of(film, "WindowCenter"), numbers_of(film, "WindowWidth")
    for centre, width in zip(centres, widths, strict=False):
        if width < (1 if function not in ("SIGMOID", "LINEAR_EXACT") else 1e-9):
            continue
        shown = np.clip(_windowed(values, centre, width, function), 0, 1)
        if np.ptp(shown[counts > 0]) or not np.ptp(present):
            return shown
    return None


def _windowed(values: Values, centre: float, width: float, function: str) -> Values:
    """Window to 0…1 before clipping (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -80, 80))))
    if function == "LINEAR_EXACT":
        return np.asarray((values - centre) / width + 0.5)
    if width == 1:
        return np.asarray(values > centre - 0.5, np.float64)
    return np.asarray((values - (centre - 0.5)) / (width - 1) + 0.5)


def _table(item: Dataset, signed: bool) -> LookupTable | None:
    """Return a lookup table, or None where it holds none.

    Its bits are those that its entries need: many state 16 and end at 4095.
    """
    about, data = integers_of(item, "LUTDescriptor"), integers_of(item, "LUTData")
    if len(about) < 3 or not data:
        return None
    count = about[0] or 1 << 16
    entries = np.array(data[:count], np.float64)
    if len(data) == -(-count // 2) and count > 1:  # two entries of 8 bits in each 16
        pairs = np.array(data, np.uint16)
        entries = np.stack([pairs & 0xFF, pairs >> 8], axis=1).ravel()[:count].astype(np.float64)
    highest = entries.max()
    stated = about[2] if 8 <= about[2] <= 16 else 16
    bits = significant_bits(highest, stated if highest < 1 << stated else 16)
    first = about[1] - ((about[1] >> 15) << 16) if signed else about[1]
    return LookupTable(first, entries, bits) if highest > 0 else None

"""Films and their masks in volume files of one slice, as nnU-Net writes its 2-D cases.

Axes are (x, y) or (x, y, 1), x along the film's rows, y down, the values as they are stored. A
header that turns one of the two around (as dcm2niix writes it, rows from below) is followed; one
that turns both says nothing: it is what nibabel writes unasked. So is a spacing of 1 × 1 mm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.arrays import Spacing
from contract.errors import DataError
from datamodules.sources.depths import ROWS_AT_ONCE
from datamodules.sources.files import MAX_PIXELS, MAX_SIDE, MOST_BYTES
from datamodules.sources.volume_files import VolumeFile

UNSTATED = (1.0, 1.0)
"""Tools that know no spacing write this one."""

MOST_UNPACKED = 128 << 20
"""Bytes of a film's values: the largest one with 16 bits a pixel, which SimpleITK holds twice."""

NEARLY = 0.9
"""The least cosine between an axis and the direction that it is said to have."""


class FlatVolume:
    """The header of a volume file of one slice; its values are read when asked for.

    Args:
        path: a file that SimpleITK reads.

    Attributes:
        shape: height and width, upright.
        spacing: mm down and along, or None where the header states none.

    Raises:
        DataError: if the file is damaged, too large or more than one slice of one value a pixel.
    """

    def __init__(self, path: Path) -> None:
        self._file = file = VolumeFile(path)
        if len(file.size) < 2 or any(side != 1 for side in file.size[2:]) or file.components != 1:
            found = "a volume of " + " × ".join(map(str, file.size))
            found += f", {file.components} values a pixel" if file.components != 1 else ""
            todo = "state `unit: scan` for CT volumes"
            raise DataError(path, found, "one film: axes (x, y) or (x, y, 1)", todo)
        width, height = file.size[:2]
        on_disk = path.stat().st_size
        if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS or on_disk > MOST_BYTES:
            found = f"{width}×{height} pixels in {on_disk >> 20} MiB"
            expected = f"sides of at most {MAX_SIDE} and at most {MAX_PIXELS} pixels in all"
            raise DataError(path, found, expected, "check that this is a film or its mask")
        unpacked = width * height * file.bytes_a_voxel
        if unpacked > MOST_UNPACKED:
            found = f"{width}×{height} pixels of {file.bytes_a_voxel} bytes, {unpacked >> 20} MiB"
            expected = f"at most {MOST_UNPACKED >> 20} MiB unpacked"
            raise DataError(path, found, expected, "save it with 16 bits a pixel, a mask with 8")
        self.shape = (height, width)
        along, down = file.spacing[:2]
        self.spacing: Spacing | None = None
        if np.isfinite([along, down]).all() and min(along, down) > 0 and (along, down) != UNSTATED:
            self.spacing = (float(str(np.float32(down))), float(str(np.float32(along))))

    def read(self) -> NDArray[Any]:
        """Return the values ``(H, W)`` upright, of the file's own type.

        Raises:
            DataError: if the file is damaged.
        """
        rows, columns = self._turned
        flat = self._file.values().reshape(self.shape)
        return np.ascontiguousarray(flat[:: -1 if rows else 1, :: -1 if columns else 1])

    @property
    def _turned(self) -> tuple[bool, bool]:
        """Whether rows run from below, and columns from the image's right, by the header."""
        along, down = self._file.direction[:3, 0], self._file.direction[:3, 1]
        columns = bool(along[0] < -NEARLY)
        if columns and down[1] < -NEARLY:
            return False, False
        # Down the film is towards the back of an axial header, towards the feet of an upright one.
        return bool(down[1] < -NEARLY or (len(down) > 2 and down[2] > NEARLY)), columns


def read_whole_numbers(path: Path) -> NDArray[np.integer]:
    """Return the whole numbers ``(H, W)`` of a mask in a volume file of one slice.

    Raises:
        DataError: if the file is damaged, more than one slice, or holds fractions.
    """
    return whole_numbers_of(path, FlatVolume(path).read())


def whole_numbers_of(path: Path, values: NDArray[Any]) -> NDArray[np.integer]:
    """Return values of any type as whole numbers.

    Raises:
        DataError: if there are fractions among them.
    """
    if np.issubdtype(values.dtype, np.integer):
        return np.asarray(values)
    whole = np.empty(values.shape, np.int32)
    for top in range(0, len(values), ROWS_AT_ONCE):
        some = values[top : top + ROWS_AT_ONCE]
        numbers = np.rint(np.nan_to_num(some, nan=0.5, posinf=0.5, neginf=0.5))
        whole[top : top + ROWS_AT_ONCE] = np.clip(numbers, -(1 << 31), (1 << 31) - 1)
        if (whole[top : top + ROWS_AT_ONCE] != some).any():
            raise DataError(path, "fractions", "whole numbers", "save hard masks, no probabilities")
    return whole

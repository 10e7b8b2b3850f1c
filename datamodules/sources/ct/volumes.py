"""A CT scan in one file (NIfTI, MetaImage, NRRD): placed by its header, slices from below."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.arrays import Spacing
from contract.errors import DataError
from datamodules.sources.ct.slices import AIR, ScanSlices
from datamodules.sources.files import MAX_PIXELS
from datamodules.sources.volume_files import VolumeFile

ORDER = "LPS"
"""Columns to the patient's left, rows to the back, slices to the head, as axial DICOM series."""

LOWEST_AIR, LEAST_TISSUE = -500, 0
"""A chest scan in HU holds lower and higher values than these; stored values or greys do not."""

OBLIQUE = 0.5
"""Largest sine of the angle between a scan's axes and the patient's: beyond it no one order of
axes is meant."""


class VolumeSlices(ScanSlices):
    """A volume file as slices; however its axes lie, they are read as ``ORDER``.

    The header is read when it is first needed, the values each time that ``read`` is called: a
    compressed file has no slices that could be read alone.

    Args:
        path: a file that SimpleITK reads.
        uid: what masks and messages call the scan.
    """

    def __init__(self, path: Path, uid: str) -> None:
        self.path, self.uid = path, uid

    @cached_property
    def _header(self) -> tuple[tuple[int, ...], NDArray[np.float64]]:
        """Voxels along x, y, z and the affine, both in ``ORDER``.

        Raises:
            DataError: if the file is damaged, or no volume of a scan.
        """
        file = VolumeFile(self.path)
        size, spacing = file.size, file.spacing
        if len(size) == 4 and size[3] == 1:
            size, spacing = size[:3], spacing[:3]
        if len(size) != 3 or file.components != 1:
            voxels = " × ".join(map(str, size))
            found = f"{voxels} voxels of {file.components} values"
            raise DataError(self.path, found, "one scan: three axes, one value a voxel")
        return _turned(self.path, size, _affine(file, spacing))

    def __len__(self) -> int:
        return self._header[0][2]

    @property
    def shape(self) -> tuple[int, int]:
        """A slice's rows and columns."""
        return self._header[0][1], self._header[0][0]

    @property
    def spacing(self) -> Spacing:
        """Millimetres from one pixel to the next: down a column, along a row."""
        along, down, _ = self._millimetres
        return (down, along)

    @property
    def slice_mm(self) -> float:
        """The distance between slices in mm; 0 for a single slice."""
        return self._millimetres[2] if len(self) > 1 else 0.0

    @property
    def _millimetres(self) -> tuple[float, float, float]:
        along, down, across = np.linalg.norm(self._header[1][:3, :3], axis=0)
        return (_shortest(along), _shortest(down), _shortest(across))

    @property
    def affine(self) -> NDArray[np.float64]:
        """``(4, 4)``: (column, row, slice, 1) to mm in the patient's system (left, back, head)."""
        return self._header[1]

    @property
    def stored_order(self) -> str:
        """How the file's axes lie: ``RAS`` where they point to the right, the front and the head.

        Raises:
            DataError: if the file is damaged.
        """
        import SimpleITK

        library: Any = SimpleITK  # which has no types for these
        direction = VolumeFile(self.path).direction[:3, :3]
        orient = library.DICOMOrientImageFilter
        return str(orient.GetOrientationFromDirectionCosines(direction.ravel().tolist()))

    def read(self) -> NDArray[np.int16]:
        """Return the scan in HU ``(slices, H, W)``, everything below -1024 at -1024.

        Raises:
            DataError: if the file is damaged or its values are no HU.
        """
        import SimpleITK

        library: Any = SimpleITK  # which has no types for these
        image = VolumeFile(self.path).image()
        image = image[..., 0] if image.GetDimension() == 4 else image
        values = np.asarray(library.GetArrayFromImage(library.DICOMOrient(image, ORDER)))
        if values.shape != (len(self), *self.shape):
            raise DataError(self.path, f"an array of {values.shape}", "what its header states")
        if not np.issubdtype(values.dtype, np.integer) and not np.isfinite(values).all():
            raise DataError(self.path, "values that are no numbers", "HU", "export the scan again")
        low, high = float(values.min()), float(values.max())
        if low > LOWEST_AIR or high <= LEAST_TISSUE:
            raise DataError(
                self.path,
                f"values from {low:g} to {high:g}",
                f"HU of a chest: air below {LOWEST_AIR}, tissue above {LEAST_TISSUE}",
                "export the scan with its rescale slope and intercept, without a window",
            )
        np.clip(values, AIR, np.iinfo(np.int16).max, out=values)
        kept = values if np.issubdtype(values.dtype, np.integer) else np.rint(values, out=values)
        return np.asarray(kept, np.int16)

    def read_slice(self, index: int) -> NDArray[np.int16]:
        """Return a slice in HU ``(H, W)``; the whole file is read for it.

        Raises:
            DataError: if the file is damaged or its values are no HU.
        """
        return np.asarray(self.read()[index], np.int16)

    def each(self) -> Iterator[NDArray[np.int16]]:
        """Yield every slice as ``read_slice`` returns it; the file is read once, as a whole.

        Raises:
            DataError: if the file is damaged or its values are no HU.
        """
        yield from self.read()


def _affine(file: VolumeFile, spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Return what takes (x, y, z, 1) to mm in the patient's system."""
    affine = np.eye(4)
    affine[:3, :3] = file.direction[:3, :3] * spacing
    affine[:3, 3] = file.origin[:3]
    return affine


def _turned(
    path: Path, size: tuple[int, ...], affine: NDArray[np.float64]
) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Return size and affine once axes are in ``ORDER``, as ``DICOMOrient`` puts the values."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or min(lengths) <= 0:
        raise DataError(path, f"a spacing of {lengths.tolist()} mm", "positive mm along each axis")
    if size[0] * size[1] > MAX_PIXELS:
        raise DataError(path, f"{' × '.join(map(str, size))} voxels", "a CT scan")
    cosines = affine[:3, :3] / lengths
    axes = np.abs(cosines).argmax(axis=1)
    if len(set(axes.tolist())) < 3 or np.abs(cosines).max(axis=0).min() ** 2 < 1 - OBLIQUE**2:
        raise DataError(
            path, f"axes along {np.round(cosines.T, 2).tolist()}",
            "axes within 30° of the patient's left, back and head",
            "resample the scan onto axial slices",
        )  # fmt: skip
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for new, old in enumerate(axes.tolist()):
        forward = cosines[new, old] > 0
        turn[old, new] = 1 if forward else -1
        turn[old, 3] = 0 if forward else size[old] - 1
    return tuple(size[old] for old in axes.tolist()), np.asarray(affine @ turn, np.float64)


def _shortest(millimetres: float) -> float:
    """Return the shortest decimal that is the same in 32 bits, in which NIfTI states a spacing."""
    return float(str(np.float32(millimetres)))

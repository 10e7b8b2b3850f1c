"""Volume files (NIfTI, MetaImage, NRRD), opened strictly: half a file is an error, never air.

SimpleITK fills what a truncated NIfTI file lacks with whatever memory holds, and says nothing.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from contract.errors import DataError
from datamodules.sources.files import VOLUME_ENDINGS

MOST_VOXELS = 1 << 30
"""More than the largest CT scan has: 1024 slices of 1024 × 1024."""

NIFTI_HEADER = 352
BYTES_AT_ONCE = 1 << 20
MOST_EXTENSIONS = 64 << 20
"""Bytes that a NIfTI file may hold beside header and values."""

Result = TypeVar("Result")


class VolumeFile:
    """A volume file: its header at once, its values when they are asked for.

    Args:
        path: a file that SimpleITK reads.

    Attributes:
        path: the file.
        size: voxels along x, y, z …
        spacing: millimetres along the same axes.
        direction: ``(D, D)``, a column for the direction of each axis.
        origin: where the first voxel lies, in mm.
        components: values a voxel.
        bytes_a_voxel: bytes that all of them take in memory.

    Raises:
        DataError: if the file is damaged or states more voxels than a scan has.
    """

    def __init__(self, path: Path) -> None:
        import SimpleITK

        library: Any = SimpleITK  # which has no types for these
        self.path, self._reader = path, library.ImageFileReader()
        self._reader.SetFileName(str(path))
        self._guarded(self._reader.ReadImageInformation)
        self.size: tuple[int, ...] = self._reader.GetSize()
        self.spacing: tuple[float, ...] = self._reader.GetSpacing()
        self.origin: tuple[float, ...] = self._reader.GetOrigin()
        dimension = self._reader.GetDimension()
        self.direction = np.reshape(self._reader.GetDirection(), (dimension, dimension))
        self.components: int = self._reader.GetNumberOfComponents()
        one = library.Image([1] * dimension, self._reader.GetPixelID(), self.components)
        self.bytes_a_voxel: int = one.GetSizeOfPixelComponent() * self.components
        if np.prod(self.size, dtype=np.float64) * self.components > MOST_VOXELS:
            found = f"{' × '.join(map(str, self.size))} voxels"
            raise DataError(path, found, f"at most {MOST_VOXELS} in all", "check the file")

    def image(self) -> Any:
        """Return the whole volume as a SimpleITK image.

        Raises:
            DataError: if the file is damaged.
        """
        if volume_ending(self.path.name) in (".nii", ".nii.gz"):
            self._require_whole()
        return self._guarded(self._reader.Execute)

    def values(self) -> NDArray[Any]:
        """Return the values as they are stored, ``(…, z, y, x)``, of the file's own type.

        Raises:
            DataError: if the file is damaged.
        """
        import SimpleITK

        library: Any = SimpleITK
        return np.asarray(library.GetArrayFromImage(self.image()))

    def _require_whole(self) -> None:
        needed = NIFTI_HEADER + int(np.prod(self.size, dtype=np.int64)) * self.bytes_a_voxel
        found = self._guarded(lambda: _unpacked_bytes(self.path, needed + MOST_EXTENSIONS))
        if found < needed:
            raise self._unreadable(f"truncated: {found} bytes of the {needed} that it states")

    def _guarded(self, read: Callable[[], Result]) -> Result:
        try:
            return read()
        except Exception as error:  # SimpleITK raises RuntimeError for whatever is wrong
            told = [line for line in str(error).splitlines() if line.strip()]
            raise self._unreadable(told[-1].strip() if told else type(error).__name__) from None

    def _unreadable(self, reason: str) -> DataError:
        return DataError(
            self.path,
            f"no readable volume ({reason})",
            "a whole NIfTI, MetaImage or NRRD file",
            "export or download it again",
        )


def _unpacked_bytes(path: Path, most: int) -> int:
    """Return the bytes of a file, unpacked where it is packed; counting ends beyond ``most``."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if not packed:
        return path.stat().st_size
    total = 0
    with gzip.open(path) as content:  # which checks the sum at the end
        while total <= most and (chunk := content.read(BYTES_AT_ONCE)):
            total += len(chunk)
    return total


def is_volume_file(path: Path) -> bool:
    """Tell by its name whether a file is a volume."""
    return bool(volume_ending(path.name))


def volume_ending(name: str) -> str:
    """Return what a volume file's name ends with, in small letters; nothing for other names."""
    return next((ending for ending in VOLUME_ENDINGS if name.lower().endswith(ending)), "")

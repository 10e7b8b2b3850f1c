"""Masks of a CT scan as a NIfTI file, on the grid of the scan's own files."""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import polar

from contract.arrays import Mask
from contract.errors import DataError
from datamodules.sources.ct.lung_masks import HALF_A_VOXEL
from datamodules.sources.ct.slices import ScanSlices

ENDING = ".nii.gz"


def as_nifti(mask: Mask, scan: ScanSlices) -> bytes:
    """Return a mask as a compressed NIfTI file of 0 and 1 in 8 bits, placed as its scan is.

    Voxels lie as in the scan's volume file; those of a DICOM series along rows, columns and
    slices, the lowest slice first. The file holds nothing that tells who the patient is.

    Args:
        mask: ``(slices, H, W)``.
        scan: the scan that it lies on.

    Raises:
        DataError: if the slices are not stacked at right angles, which the format cannot say.
    """
    import SimpleITK

    library: Any = SimpleITK  # which has no types for these
    origin, spacing, direction = placed(scan)
    image = library.GetImageFromArray(mask.view(np.uint8))
    image.SetOrigin(origin.tolist())
    image.SetSpacing(spacing.tolist())
    image.SetDirection(direction.ravel().tolist())
    if scan.stored_order is not None:
        image = library.DICOMOrient(image, scan.stored_order)
    with tempfile.TemporaryDirectory() as folder:  # the library writes by names alone
        path = Path(folder) / f"mask{ENDING}"
        library.WriteImage(image, str(path), useCompression=True)
        return path.read_bytes()


def placed(
    scan: ScanSlices,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return a scan's origin, spacing and directions (columns), in mm in the patient's system.

    Headers round, so that axes stand a little off right angles; those returned stand at them.

    Raises:
        DataError: if that moves a corner of the scan by more than half a voxel.
    """
    affine = scan.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction, _ = polar(affine[:3, :3] / spacing)
    ends = product(*((0, count - 1) for count in (scan.shape[1], scan.shape[0], len(scan))))
    corners = np.array(list(ends), np.float64)
    moved = corners @ (direction * spacing - affine[:3, :3]).T
    apart = float((np.abs(moved @ direction) / spacing).max())
    if apart > HALF_A_VOXEL:
        raise DataError(
            f"scan {scan.uid}", f"slices that shift sideways, by {apart:.1f} voxels in all",
            "slices stacked at right angles to their plane: a NIfTI file cannot say otherwise",
            "resample the scan, which was taken with a tilted gantry",
        )  # fmt: skip
    return affine[:3, 3], spacing, direction

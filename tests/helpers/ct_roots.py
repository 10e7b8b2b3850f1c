"""CT data roots for tests: phantoms to damage, and the real series with a mask made for it."""

import os
import shutil
from pathlib import Path

import numpy as np
import SimpleITK
from pydicom import DataElement, dcmread

REAL = Path(os.environ.get("LUNGBENCH_REAL_DATA", "no data root is named"))
"""A data root that holds the real series below; tests on it are skipped elsewhere."""

REAL_SERIES = "1.3.6.1.4.1.14519.5.2.1.6279.6001.170706757615202213033480003264"


def lidc_series(root, patient):
    """Return the folder of a LIDC phantom's CT series, by the patient's number."""
    home = root / "LIDC-IDRI" / f"LIDC-IDRI-{patient:04d}"
    return next(p.parent for p in sorted(home.rglob("*.dcm")) if dcmread(p).Modality == "CT")


def in_order(folder):
    """Return a series' files from below, by the position that they state."""
    files = [path for path in folder.iterdir() if path.suffix == ".dcm"]
    return sorted(files, key=lambda p: float(dcmread(p).ImagePositionPatient[2]))


def rewrite(path, **changes):
    """Change elements of a DICOM file by keyword; a whole element states its own kind."""
    read = dcmread(path)
    for key, value in changes.items():
        if isinstance(value, DataElement):
            read[key] = value
        else:
            setattr(read, key, value)
    read.save_as(path)


def write_mask(path, series, mask):
    """Write a mask on a series' own grid."""
    affine = series.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    image.SetOrigin(affine[:3, 3])
    image.SetSpacing(spacing)
    image.SetDirection((affine[:3, :3] / spacing).ravel())
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path), useCompression=True)


def copy_of(root, target):
    """Copy a data root so that a test may damage it."""
    return Path(shutil.copytree(root, target))


def write_scan(path, series, values, order="LPS"):
    """Write a volume on a series' own grid, its axes stored in another order and direction."""
    affine = series.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(values)
    image.SetOrigin(affine[:3, 3])
    image.SetSpacing(spacing)
    image.SetDirection((affine[:3, :3] / spacing).ravel())
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(image, order), str(path), useCompression=True)


ORDERS = ("LPS", "RAS", "PIR", "SAL", "IPR")
"""Axes of volumes in five of the 48 ways that they may lie."""


def write_own_scans(home, scans, masks, endings=(".nii.gz",)):
    """Write scans and their masks as a user's own data set, each in another order of axes."""
    for number, scan in enumerate(scans):
        series = scan.series
        values = np.stack([series.read_slice(index) for index in range(len(series))])
        orders = ORDERS[number % len(ORDERS)], ORDERS[(2 * number + 1) % len(ORDERS)]
        ending = endings[number % len(endings)]
        write_scan(home / "scans" / f"{scan.case_id}{ending}", series, values, orders[0])
        mask = masks[scan.case_id].astype(np.uint8)
        write_scan(home / "masks" / f"{scan.case_id}.nii.gz", series, mask, orders[1])
    lines = [f"{scan.case_id},{scan.patient_id}" for scan in scans]
    (home / "patients.csv").write_text("\n".join(["case_id,patient_id", *lines]) + "\n")
    file = home / "our_ct.yaml"
    file.write_text("unit: scan\nimages: scans\nmasks: masks\ntable: patients.csv\n")
    return file

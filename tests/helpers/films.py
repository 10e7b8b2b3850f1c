"""A film in the formats that a user may have."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

SPACING = (0.5, 0.4)


def save_dicom(path: Path, values: NDArray[np.uint16], **tags: Any) -> None:
    """Write 12-bit MONOCHROME2, or what ``tags`` make of it."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    for key, value in tags.items():
        setattr(data, key, value)
    data.PixelData = np.ascontiguousarray(values, "<u2").tobytes()
    data.save_as(path, enforce_file_format=True)


def write_dicom(path: Path, grey: NDArray[np.uint8], **tags: Any) -> None:
    """Write 12-bit MONOCHROME1 (zero is white) with a window, of ``SPACING``.

    Grey values lie from 1000 to 1255, which LINEAR shows as 0 to 255.
    """
    shown = {"PhotometricInterpretation": "MONOCHROME1", "PixelSpacing": list(SPACING)}
    shown |= {"WindowCenter": 1128, "WindowWidth": 256}
    save_dicom(path, 1000 + 255 - grey.astype(np.uint16), **shown | tags)


def write_16_bit(path: Path, grey: NDArray[np.uint8]) -> None:
    """Write a 16-bit PNG of the same brightness."""
    Image.fromarray(grey.astype(np.uint16) * np.uint16(257)).save(path)


def write_12_bit(path: Path, grey: NDArray[np.uint8]) -> None:
    """Write a PNG of 12 significant bits among 16, of about the same brightness."""
    Image.fromarray(np.rint(grey * (4095 / 255)).astype(np.uint16)).save(path)


def write_bad(folder: Path, whole: Path) -> None:
    """Write ``truncated.png``, half of another file, and ``text.png``."""
    content = whole.read_bytes()
    (folder / "truncated.png").write_bytes(content[: len(content) // 2])
    (folder / "text.png").write_text("not a picture\n")

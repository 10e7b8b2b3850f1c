"""What the headers below a folder tell: DICOM files found by content, whatever they are called."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract.errors import DataError
from datamodules.sources.clinical import years
from datamodules.sources.dicom.objects import open_dicom
from datamodules.sources.files import DICOM_ENDINGS

if TYPE_CHECKING:
    from pydicom import Dataset

PREAMBLE = 128
"""Bytes before the four letters that mark a DICOM file (PS3.10, 7.1)."""

READ = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "PatientID", "PatientSex",
    "PatientAge", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows",
    "Columns",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """What the header of one DICOM file tells.

    Attributes:
        path: the file.
        modality: ``CT``, ``SEG``, ``DX`` …
        series: its SeriesInstanceUID.
        instance: its SOPInstanceUID.
        patient: its PatientID, empty where there is none.
        position: the first pixel's centre, mm in the patient's system (to the left, the back, the
            head); empty where it is not stated.
        orientation: directions of a row and of a column, six cosines; empty where not stated.
        spacing: mm from one pixel to the next, down and along; empty where not stated.
        shape: rows and columns.
        attributes: ``sex`` and ``age`` in years, where they are given.
    """

    path: Path
    modality: str
    series: str
    instance: str
    patient: str
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    shape: tuple[int, int]
    attributes: dict[str, str] = field(default_factory=dict)


def walk(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Give each folder at or below one with its plain files, all sorted by name, none hidden.

    Raises:
        DataError: if a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise DataError(
            error.filename or folder,
            f"no readable folder ({error.strerror})",
            "a folder of files",
            "check its permissions",
        )

    for place, inner, names in os.walk(folder, onerror=refuse, followlinks=True):
        inner.sort()
        shown = sorted(name for name in names if not name.startswith("."))
        yield Path(place), [Path(place) / name for name in shown]


def is_dicom_image(path: Path) -> bool:
    """Tell by its content whether a file is a DICOM file of an image.

    A table of contents (``DICOMDIR``; PS3.10, 8.6) and hidden files, such as those that macOS
    leaves beside each copied file (``._1-001.dcm``), are none.

    Raises:
        DataError: if it is called one and is none, or cannot be read.
    """
    if path.name.upper() == "DICOMDIR" or path.name.startswith("."):
        return False
    try:
        with path.open("rb") as file:
            start = file.read(PREAMBLE + 4)
    except OSError as error:
        raise DataError(
            path, f"an unreadable file ({error.strerror})", todo="check its permissions"
        ) from None
    marked = start[PREAMBLE:] == b"DICM"
    if not marked and path.suffix.lower() in DICOM_ENDINGS:
        found = "an empty file" if not start else "a file that is no DICOM, whatever its name"
        raise DataError(path, found, "a whole DICOM file", "download the series again")
    return marked


def read_slice_header(path: Path) -> SliceHeader:
    """Return a DICOM file's header; its pixels are not read.

    Raises:
        DataError: if the file is truncated within its header or states impossible values.
    """
    try:
        return _header(path)
    except DataError:
        raise
    except Exception as error:  # pydicom raises many kinds for damaged files
        raise DataError(
            path,
            f"a damaged DICOM header ({type(error).__name__}: {error})",
            "a whole DICOM file",
            "download the series again",
        ) from None


def _header(path: Path) -> SliceHeader:
    read = open_dicom(path, pixels=False, only=READ)
    modality, series = (str(read.get(key) or "") for key in ("Modality", "SeriesInstanceUID"))
    if not modality or not series:
        raise DataError(
            path,
            "a DICOM header without modality or series",
            "a whole DICOM file",
            "download the series again: this file is cut off",
        )
    return SliceHeader(
        path=path,
        modality=modality,
        series=series,
        instance=str(read.get("SOPInstanceUID") or ""),
        patient=str(read.get("PatientID") or "").strip(),
        position=_numbers(path, read, "ImagePositionPatient", 3),
        orientation=_numbers(path, read, "ImageOrientationPatient", 6),
        spacing=_numbers(path, read, "PixelSpacing", 2),
        shape=(int(read.get("Rows") or 0), int(read.get("Columns") or 0)),
        attributes=_attributes(read),
    )


def _numbers(path: Path, read: Dataset, key: str, count: int) -> tuple[float, ...]:
    stated: Sequence[Any] | None = read.get(key)
    if stated is None:
        return ()
    values = tuple(float(value) for value in stated)
    if len(values) != count or not all(map(math.isfinite, values)):
        raise DataError(path, f"{key} {list(values)}", f"{count} finite numbers")
    return values


def _attributes(read: Dataset) -> dict[str, str]:
    age = str(read.get("PatientAge") or "").strip().lower()
    stated = years(int(age[:-1]), age[-1]) if age[:-1].isdecimal() and age[-1] in "ymwd" else None
    found = {
        "sex": str(read.get("PatientSex") or "").strip().upper(),
        "age": "" if stated is None else str(stated),
    }
    return {key: value for key, value in found.items() if value}

"""A CT series: its slices in order along the normal, its grid in the patient, its HU values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.arrays import Spacing
from contract.errors import DataError
from datamodules.sources.ct.headers import SliceHeader, is_dicom_image, read_slice_header
from datamodules.sources.ct.slices import AIR, ScanSlices
from datamodules.sources.dicom.objects import open_dicom
from datamodules.sources.files import MAX_PIXELS, list_files

SAME_DIRECTION = 1e-3
"""Largest difference of direction cosines within a series; scanners write four digits or more."""

UNEVEN = 0.25
"""Largest deviation of a gap from the median gap, as its share: scanners round positions, so that
slices 1.25 mm apart may stand 1.2 and 1.3 mm apart, while a missing slice doubles a gap."""


LEAVE_OUT = (
    "download the series again; where the official files are so, leave the scan out: remove its "
    "folder or its lung mask"
)


@dataclass(frozen=True)
class Series(ScanSlices):
    """One CT scan, its slices from the lowest to the highest.

    Attributes:
        uid: its SeriesInstanceUID.
        patient: its PatientID, empty where the files state none.
        headers: one a slice, in ascending order along the normal, which points to the head
            (index 0 is the lowest z in axial scans).
        positions: each slice's place along the normal in mm, ascending.
    """

    uid: str
    patient: str
    headers: tuple[SliceHeader, ...]
    positions: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.headers)

    @property
    def shape(self) -> tuple[int, int]:
        """A slice's rows and columns."""
        return self.headers[0].shape

    @property
    def spacing(self) -> Spacing:
        """Millimetres from one pixel to the next: down a column, along a row."""
        down, along = self.headers[0].spacing
        return (down, along)

    @property
    def slice_mm(self) -> float:
        """The distance between slices in mm, averaged; 0 for a single slice."""
        steps = max(1, len(self) - 1)
        return (self.positions[-1] - self.positions[0]) / steps

    @property
    def files(self) -> tuple[Path, ...]:
        """The slices' files, in the slices' order."""
        return tuple(header.path for header in self.headers)

    @cached_property
    def slice_of(self) -> dict[str, int]:
        """The slice's index by its SOPInstanceUID."""
        return {header.instance: index for index, header in enumerate(self.headers)}

    @property
    def affine(self) -> NDArray[np.float64]:
        """``(4, 4)``: (column, row, slice, 1) to mm in the patient's system (left, back, head)."""
        first, last = (np.array(self.headers[i].position) for i in (0, -1))
        row, column = np.reshape(self.headers[0].orientation, (2, 3))
        normal = _normal(self.headers[0].orientation)
        step = (last - first) / (len(self) - 1) if len(self) > 1 else normal
        matrix = np.eye(4)
        down, along = self.spacing
        matrix[:3] = np.column_stack([row * along, column * down, step, first])
        return matrix

    def read_slice(self, index: int) -> NDArray[np.int16]:
        """Return a slice in HU ``(H, W)``, padding and everything below -1024 at -1024.

        Raises:
            DataError: if the file is damaged or has no plain grey pixels.
        """
        return read_hu(self.headers[index], self.uid)


def assemble(headers: Sequence[SliceHeader]) -> Series:
    """Return the series that some files of one SeriesInstanceUID make up.

    Slices are sorted by their position along the normal; file names and instance numbers are
    often wrong and are not looked at.

    Raises:
        DataError: if files contradict one another, a slice is missing inside or stands twice.
    """
    uid, first = headers[0].series, headers[0]
    if not all(first.spacing) or any(side <= 0 for side in first.spacing):
        raise _fault(uid, first, f"a pixel spacing of {list(first.spacing)}", "two positive mm")
    for header in headers:
        _require_alike(uid, first, header)
    normal = _normal(first.orientation)
    placed = sorted(
        ((float(normal @ np.array(header.position)), header) for header in headers),
        key=lambda item: (item[0], str(item[1].path)),
    )
    positions = tuple(position for position, _ in placed)
    ordered = tuple(header for _, header in placed)
    _require_even(uid, positions, ordered)
    return Series(uid, first.patient, ordered, positions)


def read_series(folder: Path) -> Series:
    """Return the one CT series that a folder holds, files of other names and kinds left aside.

    Raises:
        DataError: if it holds none, two, or something else than a CT.
    """
    files = [path for path in list_files(folder).values() if is_dicom_image(path)]
    headers = [read_slice_header(path) for path in files]
    if not headers:
        raise DataError(folder, "no DICOM file", "the slices of one CT series")
    require_one_series(folder, headers)
    return assemble(headers)


def require_one_series(folder: Path, headers: Sequence[SliceHeader]) -> None:
    """Require the DICOM files of a folder to be one CT series.

    Raises:
        DataError: naming the folder, both series and a file.
    """
    first = headers[0]
    for header in headers:
        if header.modality != "CT":
            what = "a DICOM-SEG" if header.modality == "SEG" else f"modality {header.modality}"
            raise DataError(
                header.path,
                f"{what} of series {header.series}",
                "slices of a CT",
                "name the folder of the CT series",
            )
        if header.series != first.series:
            raise DataError(
                folder,
                f"two series in one folder: {first.series} ({first.path.name}) and "
                f"{header.series} ({header.path.name})",
                "one CT series a folder",
                "download both series again, each into a folder of its own",
            )


def read_hu(header: SliceHeader, uid: str) -> NDArray[np.int16]:
    """Return one slice in HU ``(H, W)``, at least -1024.

    RescaleSlope and RescaleIntercept are applied; pixels at the padding value (or between it and
    the padding limit) become air.

    Args:
        header: the slice.
        uid: the series that an error names.

    Raises:
        DataError: if the file is damaged, coloured or of several frames.
    """
    try:
        read = open_dicom(header.path)
        if int(read.get("NumberOfFrames") or 1) != 1 or int(read.get("SamplesPerPixel") or 1) != 1:
            raise _fault(uid, header, "several frames or colours", "one grey slice a file")
        stored = read.pixel_array
        slope, intercept = (
            float(read.get("RescaleSlope", 1)),
            float(read.get("RescaleIntercept", 0)),
        )
        values = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
        padding = read.get("PixelPaddingValue")
        if padding is not None:
            limit = read.get("PixelPaddingRangeLimit")
            ends = sorted((int(padding), int(padding if limit is None else limit)))
            values[(stored >= ends[0]) & (stored <= ends[1])] = AIR
    except DataError:
        raise
    except Exception as error:  # pydicom and its decoders raise many kinds for damaged files
        raise _fault(
            uid, header, f"no readable slice ({type(error).__name__}: {error})", "a whole file"
        ) from None
    kept = np.rint(np.clip(values, AIR, np.iinfo(np.int16).max))
    return np.asarray(kept, np.int16)


def _normal(orientation: Sequence[float]) -> NDArray[np.float64]:
    """Return the slices' normal, turned to the patient's head (or left, or back, if it lies so)."""
    row, column = np.reshape(np.asarray(orientation, np.float64), (2, 3))
    normal = np.cross(row, column)
    return np.asarray(normal * np.sign(normal[np.argmax(np.abs(normal))]), np.float64)


def _require_alike(uid: str, first: SliceHeader, header: SliceHeader) -> None:
    if not header.position or not header.orientation or len(header.spacing) != 2:
        raise _fault(
            uid, header, "no position, orientation or pixel spacing", "a slice's place in the body"
        )
    if not header.instance:
        raise _fault(uid, header, "no SOPInstanceUID", "one")
    if header.shape != first.shape or min(header.shape) < 1:
        raise _fault(
            uid, header, f"{header.shape[1]}×{header.shape[0]} pixels",
            f"{first.shape[1]}×{first.shape[0]} as in {first.path.name}",
        )  # fmt: skip
    if header.shape[0] * header.shape[1] > MAX_PIXELS:
        raise _fault(uid, header, f"{header.shape[1]}×{header.shape[0]} pixels", "a CT slice")
    row, column = np.reshape(header.orientation, (2, 3))
    lengths = [abs(np.linalg.norm(side) - 1) for side in (row, column)]
    if max(*lengths, abs(row @ column)) > SAME_DIRECTION * 10:
        raise _fault(uid, header, f"orientation {list(header.orientation)}", "two unit vectors")
    for what, one, other in (
        ("orientation", first.orientation, header.orientation),
        ("pixel spacing", first.spacing, header.spacing),
    ):
        if np.abs(np.subtract(one, other)).max() > SAME_DIRECTION:
            raise _fault(
                uid, header, f"{what} {list(other)}", f"{list(one)} as in {first.path.name}"
            )


def _require_even(uid: str, positions: Sequence[float], headers: Sequence[SliceHeader]) -> None:
    gaps = np.diff(positions)
    typical = float(np.median(gaps)) if len(gaps) else 1.0
    at = [f"{mm:.2f} mm ({h.path.name})" for mm, h in zip(positions, headers, strict=True)]
    for index, gap in enumerate(gaps):
        if gap <= max(0.01, 0.1 * typical):
            raise _fault(
                uid, headers[index + 1], f"a second slice at {at[index]}", "each position once",
                f"remove one of the two files, or {LEAVE_OUT}",
            )  # fmt: skip
    for index, gap in enumerate(gaps):
        if abs(gap - typical) > UNEVEN * typical:
            what = "a missing slice" if gap > typical else "an uneven position"
            raise _fault(
                uid,
                headers[index + 1],
                f"{what}: {gap:.2f} mm after {at[index]}",
                f"{typical:.2f} mm as elsewhere",
            )


def _fault(
    uid: str,
    header: SliceHeader,
    found: str,
    expected: str = "",
    todo: str = LEAVE_OUT,
) -> DataError:
    return DataError(header.path, f"{found} in series {uid}", expected, todo)

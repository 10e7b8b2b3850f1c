"""DICOM radiographs: pixels as a display would show them, spacing and what the header tells."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contract.arrays import Spacing
from contract.errors import DataError
from datamodules.sources.clinical import years
from datamodules.sources.files import MAX_PIXELS

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class FilmHeader:
    """What a DICOM header tells of a film.

    Attributes:
        spacing: ``PixelSpacing``, else ``ImagerPixelSpacing``, in mm down and along; or None.
        patient: a digest of ``PatientID`` (tables of results need no name), or None.
        attributes: ``sex``, ``age`` in years and ``view`` where they are given.
    """

    spacing: Spacing | None = None
    patient: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)


def read_film_header(path: Path) -> FilmHeader:
    """Return what a file's header tells.

    Raises:
        DataError: if the file is no DICOM file or states an impossible spacing.
    """
    with _explained(path):
        header = _open(path, stop_before_pixels=True)
        spacing = header.get("PixelSpacing") or header.get("ImagerPixelSpacing")
        patient = str(header.get("PatientID") or "").strip()
        found = {
            "sex": str(header.get("PatientSex") or "").strip().upper(),
            "view": str(header.get("ViewPosition") or "").strip().upper(),
            "age": _age(str(header.get("PatientAge") or "")),
        }
        return FilmHeader(
            spacing=_spacing(path, spacing) if spacing else None,
            patient=_digest(patient) if patient else None,
            attributes={key: value for key, value in found.items() if value},
        )


def read_dicom(path: Path) -> NDArray[np.uint8]:
    """Return a single grey frame as grey values ``(H, W)`` in 0..255, bone bright.

    The modality's rescaling is applied, then the file's VOI lookup table or its first window
    (LINEAR, LINEAR_EXACT or SIGMOID; DICOM PS3.3 C.11.2); a file without either is scaled by the
    full range of its stored bits. MONOCHROME1 is inverted.

    Raises:
        DataError: if the file is damaged, coloured, of several frames or too large.
    """
    with _explained(path):
        film = _open(path)
        frame = (int(film.Rows), int(film.Columns))
        if frame[0] * frame[1] > MAX_PIXELS:
            found = f"{frame[1]}×{frame[0]} pixels"
            raise DataError(path, found, f"at most {MAX_PIXELS} in all", "check the file")
        kind = str(film.get("PhotometricInterpretation") or "")
        if kind not in ("MONOCHROME1", "MONOCHROME2"):
            raise DataError(path, f"{kind or 'no'} pixels", "MONOCHROME1 or MONOCHROME2")
        if int(film.get("NumberOfFrames") or 1) != 1:
            raise DataError(path, f"{film.NumberOfFrames} frames", "a single film")
        shown = _shown(film, film.pixel_array)
        grey = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)
        return 255 - grey if kind == "MONOCHROME1" else grey


def _shown(film: Dataset, stored: NDArray[Any]) -> NDArray[np.float32]:
    """Return the brightness that the file's own rules give, 0 to 1 before clipping."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    if "VOILUTSequence" in film:
        values = apply_voi(apply_modality_lut(stored, film), film)
        top = (1 << int(film.VOILUTSequence[0].LUTDescriptor[2])) - 1
        return np.asarray(values, np.float32) / np.float32(top)
    values = np.asarray(apply_modality_lut(stored, film), np.float32)
    if film.get("WindowCenter") is not None and film.get("WindowWidth") is not None:
        return _windowed(film, values)
    if "ModalityLUTSequence" in film:
        top = (1 << int(film.ModalityLUTSequence[0].LUTDescriptor[2])) - 1
        return np.asarray(values / top, np.float32)
    bits, signed = int(film.BitsStored), bool(film.PixelRepresentation)
    ends = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    slope, intercept = (
        float(film.get("RescaleSlope", 1)),
        float(film.get("RescaleIntercept", 0)),
    )
    low, high = sorted(end * slope + intercept for end in ends)
    return np.asarray((values - low) / (high - low), np.float32)


def _windowed(film: Dataset, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Window to 0…1 before clipping, in 32 bits: pydicom takes four times as long in 64 bits.

    Grey values are those of its ``apply_windowing`` but for one step in a few pixels of a million.
    """
    centre, width = (_first(film.get(key)) for key in ("WindowCenter", "WindowWidth"))
    function = str(film.get("VOILUTFunction") or "LINEAR").upper()
    if function == "SIGMOID" and width > 0:
        exponent = np.clip(-4 * (values - centre) / width, -80, 80)
        return np.asarray(1 / (1 + np.exp(exponent)), np.float32)
    if function == "LINEAR_EXACT" and width > 0:
        return np.asarray((values - centre) / width + 0.5, np.float32)
    if function == "LINEAR" and width > 1:
        return np.asarray((values - (centre - 0.5)) / (width - 1) + 0.5, np.float32)
    if function == "LINEAR" and width == 1:
        return np.asarray(values > centre - 0.5, np.float32)
    raise ValueError(f"window {function} of centre {centre:g} and width {width:g}")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _first(value: Any) -> float:
    return float(
        value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value
    )


def _spacing(path: Path, stated: Any) -> Spacing:
    down, along = (float(part) for part in stated)
    if not all(math.isfinite(side) and side > 0 for side in (down, along)):
        raise DataError(path, f"a pixel spacing of {down} × {along} mm", "two positive lengths")
    return (down, along)


def _age(stated: str) -> str:
    text = stated.strip().lower()
    if not text[:-1].isdecimal() or text[-1:] not in ("y", "m", "w", "d"):
        return ""
    age = years(int(text[:-1]), text[-1])
    return "" if age is None else str(age)


def _open(path: Path, stop_before_pixels: bool = False) -> Dataset:
    from pydicom import dcmread

    return dcmread(path, stop_before_pixels=stop_before_pixels)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # pydicom and its decoders raise many kinds for damaged files
        raise DataError(
            path,
            f"no readable DICOM radiograph ({type(error).__name__}: {error})",
            "a whole file with a single grey frame",
            "export it again",
        ) from None

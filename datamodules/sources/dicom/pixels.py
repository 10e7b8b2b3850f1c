"""A DICOM film's stored pixels, decoded after its sizes have been checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.errors import DataError
from datamodules.sources.dicom.codestreams import check_codestream
from datamodules.sources.dicom.objects import NoFilmError, integer_of, number_of, text_of
from datamodules.sources.files import MAX_PIXELS, MAX_SIDE

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420")
COLOURED = 24
"""Grey values between the channels of one pixel that compression does not make of grey."""

COLOURED_SHARE = 0.001

OBJECTS = {
    "1.2.840.10008.1.3.10": "a DICOMDIR, the index of a disc",
    "1.2.840.10008.5.1.4.1.1.88": "a report",
    "1.2.840.10008.5.1.4.1.1.11": "a presentation state",
    "1.2.840.10008.5.1.4.1.1.104": "an encapsulated document",
    "1.2.840.10008.5.1.4.1.1.9": "a recorded curve",
    "1.2.840.10008.5.1.4.1.1.481": "an object of radiotherapy",
}
"""What objects without pixels are, by the beginning of their SOP class."""


@dataclass(frozen=True)
class Stored:
    """A film as it is stored.

    Attributes:
        patterns: ``(H, W)`` of the stored bits, not yet masked, shifted or extended by their sign.
        signed: whether the values are signed.
        allocated: bits that each value takes up, 8 or 16.
        bits: significant bits that the header states.
        high_bit: the highest of them.
        inverted: whether low values are bright (MONOCHROME1).
    """

    patterns: NDArray[np.uint16]
    signed: bool
    allocated: int
    bits: int
    high_bit: int
    inverted: bool


def require_pixels(path: Path, film: Dataset) -> None:
    """Refuse an object that holds no picture.

    Raises:
        NoFilmError: saying what it is.
        DataError: if it should hold one, or is no DICOM object.
    """
    if "PixelData" in film or "FloatPixelData" in film or "DoubleFloatPixelData" in film:
        return
    kind = _object_class(film)
    name = _name(kind) if kind else ""
    told = next((told for start, told in OBJECTS.items() if kind.startswith(start)), "")
    if not told and ("Image" in name or name == kind):
        found = "a DICOM file without pixels" if kind else "no readable DICOM file"
        raise DataError(path, f"{found}: it is damaged or cut off", "a film", "export it again")
    raise NoFilmError(path, told or f"a DICOM object without pixels ({name})", "a film")


def _object_class(film: Dataset) -> str:
    about = getattr(film, "file_meta", None)
    stated = text_of(film, "SOPClassUID")
    return stated or ("" if about is None else text_of(about, "MediaStorageSOPClassUID"))


def _name(uid: str) -> str:
    from pydicom.uid import UID

    return str(UID(uid).name)


def read_stored(path: Path, film: Dataset) -> Stored:
    """Decode a film's only frame.

    Raises:
        DataError: if it is too large, of several frames, coloured, or of a compression that is not
            installed.
        Exception: the decoders', of many kinds, if the pixels are damaged.
    """
    rows, columns = integer_of(film, "Rows", 0), integer_of(film, "Columns", 0)
    if rows * columns > MAX_PIXELS or max(rows, columns) > MAX_SIDE:
        raise DataError(
            path,
            f"{columns}×{rows} pixels",
            f"sides of at most {MAX_SIDE} and at most {MAX_PIXELS} pixels in all",
            "check the file",
        )
    frames = number_of(film, "NumberOfFrames", 1)
    if frames > 1:
        raise DataError(path, f"{frames:g} frames", "a single film", "export the film alone")
    kind, samples = (
        text_of(film, "PhotometricInterpretation"),
        integer_of(film, "SamplesPerPixel", 1),
    )
    if not (kind in GREY and samples == 1) and not (kind in COLOUR and samples == 3):
        raise DataError(path, f"{kind or 'unnamed'} pixels", "MONOCHROME1 or MONOCHROME2",
                        "export it as a grey film")  # fmt: skip
    allocated = integer_of(film, "BitsAllocated", 16)
    if allocated not in (8, 16) or "PixelData" not in film or (samples == 3 and allocated != 8):
        told = f"{allocated} bits" if "PixelData" in film else "fractions"
        expected = "8 or 16 bits" if samples == 1 else "colours of 8 bits"
        raise DataError(path, f"pixels of {told}", expected, "export it again")
    stated = integer_of(film, "BitsStored", allocated)
    bits = stated if 1 <= stated <= allocated else allocated
    syntax = _syntax(film)
    pixels = _decoded(
        path, film, syntax,
        rows=rows, columns=columns, number_of_frames=1, samples_per_pixel=samples,
        photometric_interpretation=kind, bits_allocated=allocated, bits_stored=bits,
        pixel_representation=integer_of(film, "PixelRepresentation", 0) & 1,
        planar_configuration=integer_of(film, "PlanarConfiguration", 0) & 1,
    )  # fmt: skip
    if pixels.shape[:2] != (rows, columns):
        raise ValueError(f"decoded to {pixels.shape}")
    if samples == 3:
        return Stored(_grey(path, pixels).astype(np.uint16), False, 8, 8, 7, False)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    patterns = pixels.view(f"u{pixels.dtype.itemsize}").astype(np.uint16, copy=False)
    if _has_embedded_overlay(film):
        patterns = patterns & np.uint16((1 << bits) - 1)
    return Stored(
        patterns=patterns,
        allocated=allocated,
        signed=bool(integer_of(film, "PixelRepresentation", 0) & 1),
        bits=bits,
        high_bit=integer_of(film, "HighBit", bits - 1),
        inverted=kind == "MONOCHROME1",
    )


def _has_embedded_overlay(film: Dataset) -> bool:
    """Tell whether unused bits hold a drawing (retired, DICOM PS3.3-2004 C.9.2)."""
    tags = [(group << 16) + 0x0102 for group in range(0x6000, 0x6020, 2)]
    return any(tag in film and integer_of(film, tag, 0) for tag in tags)


def _syntax(film: Dataset) -> UID:
    from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    about = getattr(film, "file_meta", None)
    stated = "" if about is None else text_of(about, "TransferSyntaxUID")
    if stated:
        return UID(stated)
    implicit, little = film.original_encoding
    if not little:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian


def _decoded(path: Path, film: Dataset, syntax: UID, **about: Any) -> NDArray[Any]:
    from pydicom.encaps import generate_frames
    from pydicom.pixels.decoders.base import get_decoder

    decoder: Any
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    if decoder is None or not decoder.is_available:
        name = syntax.name if syntax.name != syntax else "an unknown method"
        found = f"pixels compressed by {name} ({syntax})"
        expected = "uncompressed pixels, or JPEG, JPEG-LS, JPEG 2000 or RLE"
        raise DataError(path, found, expected, "export it uncompressed")
    item = film.get_item("PixelData")
    content = b"" if item is None else item.value
    if syntax.is_compressed and syntax.is_encapsulated:
        frame = next(generate_frames(content, number_of_frames=1))
        check_codestream(path, frame, syntax, **about)
    swapped = not syntax.is_little_endian and str(item.VR) == "OW"
    pixels, _ = decoder.as_array(
        content, pixel_keyword="PixelData", pixel_vr=str(item.VR or "OW"),
        correct_unused_bits=False, be_swap_ow=swapped and about["bits_allocated"] == 8, **about,
    )  # fmt: skip
    return np.asarray(pixels)


def _grey(path: Path, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the grey of a picture ``(H, W, 3)`` that is grey but for compression."""
    low, high = (np.minimum, np.maximum)
    red, green, blue = (colours[..., channel] for channel in range(3))
    spread = high(high(red, green), blue) - low(low(red, green), blue)
    if (spread > COLOURED).mean() > COLOURED_SHARE:
        raise DataError(path, "a colour picture", "a grey film", "export it as a grey film")
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(colours), cv2.COLOR_RGB2GRAY))

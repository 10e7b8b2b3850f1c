"""A user's chest film from any file: PNG, JPEG, TIFF, BMP, DICOM (told by content) or NIfTI.

Training, scoring, ``predict`` and ``serve`` read films here, so all see the same pixels.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.arrays import Spacing
from contract.errors import DataError
from datamodules.sources.dicom.film import read_dicom_film
from datamodules.sources.dicom.header import Turn
from datamodules.sources.dicom.objects import (
    DICOM_MARK,
    explained,
    integer_of,
    looks_like_dicom,
    open_dicom,
)
from datamodules.sources.files import DICOM_ENDINGS, open_image
from datamodules.sources.flat_volumes import FlatVolume
from datamodules.sources.pictures import grey_of, read_picture
from datamodules.sources.volume_files import is_volume_file

SMALLEST_SIDE = 32
"""A side of fewer pixels shows no chest."""

FORMATS = "PNG, JPEG, TIFF, BMP, DICOM or NIfTI"
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"BM")
_OTHERS = {
    b"PK": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"%PDF": "a PDF document",
    b"%!PS": "a PostScript file",
    b"GIF8": "a GIF picture",
    b"RIFF": "a WebP picture or another RIFF file",
}


@dataclass(frozen=True)
class Film:
    """A film as it is shown.

    Attributes:
        pixels: grey values ``(H, W)`` in 0..255, bone bright, turned as viewers turn it.
        spacing: mm from one pixel to the next, down and along, where the file states it (only
            headers of DICOM and NIfTI are believed: a PNG's or JPEG's resolution is for printing).
        bits: significant bits of deeper pixels, where the file's values alone tell them.
        remarks: what a user should know of how it was read.
        doubts: why a user should look at it, whatever its mask.
        turn: how the pixels that a DICOM file stores became these; None for other files.
    """

    pixels: NDArray[np.uint8]
    spacing: Spacing | None
    bits: int | None = None
    remarks: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    turn: Turn | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return (self.pixels.shape[0], self.pixels.shape[1])


def is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM, by its content or else its name.

    Raises:
        DataError: if the file cannot be read.
    """
    head = _head(path)
    if head.startswith(_PICTURES) and head[128:] != DICOM_MARK:  # a file may begin as both do
        return False
    return looks_like_dicom(head) or path.suffix.lower() in DICOM_ENDINGS


def read_film(path: Path, bits: int | None = None, force: bool = False) -> Film:
    """Read a film, whatever its file is called, but volume files by their endings.

    Args:
        path: the file.
        bits: significant bits of PNG and TIFF files of more than 8 bits; unless told, the first of
            8, 10, 12, 14 and 16 that holds nearly all values.
        force: read DICOM files too that are no frontal film of a chest by their header.

    Raises:
        NoFilmError: if the file is a DICOM object without pixels.
        DataError: if the file is empty, damaged, too small, too large or of another kind.
    """
    head = _head(path)
    other = next((name for start, name in _OTHERS.items() if head.startswith(start)), None)
    if not head:
        raise DataError(path, "an empty file", f"a film as {FORMATS}", "export it again")
    if is_volume_file(path):
        return _large_enough(path, _from_volume(path, bits))
    if other is not None:
        raise DataError(path, other, f"a film as {FORMATS}", "unpack or convert it")
    if is_dicom(path):
        film = _from_dicom(path, force)
    elif head.startswith(_PICTURES):
        pixels, found = read_picture(path, bits)
        film = Film(pixels, None, found if bits is None else None)
    else:
        found_kind = f"a file of another kind (it begins with {head[:8]!r})"
        raise DataError(path, found_kind, f"a film as {FORMATS}", "export or convert it")
    return _large_enough(path, film)


def _large_enough(path: Path, film: Film) -> Film:
    if min(film.shape) < SMALLEST_SIDE:
        found_size = f"{film.shape[1]}×{film.shape[0]} pixels"
        expected = f"sides of at least {SMALLEST_SIDE}"
        raise DataError(path, found_size, expected, "choose a chest film")
    return film


def stated_pixels(path: Path) -> int:
    """Return how many pixels a film has by its header; 0 where that cannot be read."""
    try:
        if is_volume_file(path):
            height, width = FlatVolume(path).shape
            return height * width
        if is_dicom(path):
            with explained(path):
                header = open_dicom(path, pixels=False, force=True, only=("Rows", "Columns"))
                return integer_of(header, "Rows", 0) * integer_of(header, "Columns", 0)
        with open_image(path) as image:
            return image.width * image.height
    except DataError:
        return 0


def _from_dicom(path: Path, force: bool) -> Film:
    read = read_dicom_film(path, force)
    remarks, doubts = ((text,) if text else () for text in (read.turned, read.doubt))
    return Film(read.pixels, read.header.spacing, read.bits, remarks, doubts, read.turn)


def _from_volume(path: Path, bits: int | None) -> Film:
    volume = FlatVolume(path)
    values = volume.read()
    if values.dtype == np.uint8:
        return Film(values, volume.spacing)
    pixels, found = grey_of(path, values, bits)
    return Film(pixels, volume.spacing, found if bits is None else None)


def _head(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for its writer for ever
            raise DataError(path, "no plain file", f"a film as {FORMATS}", "remove it")
        with path.open("rb") as file:
            return file.read(132)
    except OSError as error:
        raise DataError(
            path, f"an unreadable file ({error.strerror})", todo="check its permissions"
        ) from None

"""A user's chest film from any file: PNG, JPEG, TIFF, BMP or DICOM, told apart by content."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.arrays import Spacing
from contract.errors import DataError
from datamodules.sources.dicom import read_dicom, read_film_header
from datamodules.sources.files import DICOM_ENDINGS, read_deep_pixels

SMALLEST_SIDE = 32
"""A side of fewer pixels shows no chest."""

FORMATS = "PNG, JPEG, TIFF, BMP or DICOM"
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
            DICOM headers are believed: a PNG's or JPEG's resolution is that of printing).
    """

    pixels: NDArray[np.uint8]
    spacing: Spacing | None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return (self.pixels.shape[0], self.pixels.shape[1])


def has_dicom_mark(path: Path) -> bool:
    """Tell whether a file has DICOM's mark.

    Raises:
        DataError: if the file cannot be read.
    """
    return _head(path)[128:] == b"DICM"


def read_film(path: Path, bits: int | None = None) -> Film:
    """Read a film, whatever its file is called.

    Args:
        path: the file.
        bits: significant bits of 16-bit PNG and TIFF files; unless told, 12 for a file that stays
            below 4096 and 16 for others.

    Raises:
        DataError: if the file is empty, damaged, too small, too large or of another kind.
    """
    head = _head(path)
    other = next((name for start, name in _OTHERS.items() if head.startswith(start)), None)
    if not head:
        raise DataError(path, "an empty file", f"a film as {FORMATS}", "export it again")
    if other is not None:
        raise DataError(path, other, f"a film as {FORMATS}", "unpack or convert it")
    if head[128:] == b"DICM" or path.suffix.lower() in DICOM_ENDINGS:
        film = Film(read_dicom(path), read_film_header(path).spacing)
    elif head.startswith(_PICTURES):
        pixels = read_deep_pixels(path, twelve_bits=bits is None, bits=bits, upright=True)
        film = Film(pixels, None)
    else:
        found = f"a file of another kind (it begins with {head[:8]!r})"
        raise DataError(path, found, f"a film as {FORMATS}", "export or convert it")
    if min(film.shape) < SMALLEST_SIDE:
        found = f"{film.shape[1]}×{film.shape[0]} pixels"
        raise DataError(path, found, f"sides of at least {SMALLEST_SIDE}", "choose a chest film")
    return film


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

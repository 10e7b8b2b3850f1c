"""DICOM radiographs: pixels as a display would show them, turned upright."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.errors import DataError
from datamodules.sources.dicom.display import show
from datamodules.sources.dicom.header import FilmHeader, Turn, film_header
from datamodules.sources.dicom.objects import explained, open_dicom
from datamodules.sources.dicom.pixels import read_stored, require_pixels

HEAD_DOWN = -10.0
"""Grey values by which a chest's lower half, with heart and liver, is darker than its upper one
where a film lies head down; 2 % of 400 upright films of Montgomery and Shenzhen are below."""


@dataclass(frozen=True)
class DicomFilm:
    """A DICOM film.

    Attributes:
        pixels: grey values ``(H, W)`` in 0..255, bone bright, upright.
        header: what the header tells.
        bits: bits taken for significant where the file does not say how it is to be shown.
        turn: how the stored pixels became these.
        turned: the same in words; ``""`` where it lay upright.
        doubt: what a user should look at, in words; ``""`` for nothing.
    """

    pixels: NDArray[np.uint8]
    header: FilmHeader
    bits: int | None
    turn: Turn
    turned: str
    doubt: str


def read_dicom_film(path: Path, force: bool = False) -> DicomFilm:
    """Read a film as other viewers show it, turned as ``PatientOrientation`` says.

    Args:
        path: the file, with or without preamble and transfer syntax.
        force: read it too where its header says that it is no frontal film of a chest.

    Raises:
        NoFilmError: if it is a DICOM object without pixels.
        DataError: if it is damaged, coloured, of several frames, too large, or no frontal film of
            a chest.
    """
    with explained(path):
        film = open_dicom(path, force=True)
        require_pixels(path, film)
        header = film_header(film)
        if header.doubt and not force:
            raise DataError(path, header.doubt, "a frontal film of a chest",
                            "leave it out, or go on with --force")  # fmt: skip
        stored = read_stored(path, film)
        del film.PixelData  # as large as the film
        pixels, bits = show(film, stored)
        turn, turned, doubt = _upright(pixels, header)
        upright = turn(pixels) if turn else pixels
        return DicomFilm(upright, header, bits, turn, turned, header.doubt or doubt)


def _upright(pixels: NDArray[np.uint8], header: FilmHeader) -> tuple[Turn, str, str]:
    """Return how to turn a film, by its header; head and feet are exchanged where it lies so."""
    if not header.turn:
        return header.turn, "", ""
    stated = f"PatientOrientation {header.orientation}"
    ends = header.turn.transposed or header.turn.upended
    if ends and _lower_half_brightness(header.turn(pixels)) < HEAD_DOWN:
        doubt = f"{stated} would show it head down, so that it was turned the other way"
        return header.turn.headlong(), f"turned against {stated}", doubt
    return header.turn, f"turned upright, as {stated} says", ""


def _lower_half_brightness(pixels: NDArray[np.uint8]) -> float:
    """Return by how much the middle columns are brighter in the lower half than in the upper."""
    small = cv2.resize(pixels, (128, 128), interpolation=cv2.INTER_AREA)[:, 26:102]
    return float(small[64:].mean() - small[:64].mean())


def read_dicom(path: Path) -> NDArray[np.uint8]:
    """Return a film's grey values ``(H, W)`` in 0..255, bone bright; see ``read_dicom_film``.

    Raises:
        DataError: if it cannot be read.
    """
    return read_dicom_film(path, force=True).pixels

"""What a DICOM header tells of a film: spacing, patient, which way up, and whether it is one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from contract.arrays import Mask, Spacing
from datamodules.sources.clinical import years
from datamodules.sources.dicom.objects import explained, numbers_of, open_dicom, text_of, texts_of

if TYPE_CHECKING:
    from pydicom import Dataset

SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
"""In this order; the second is that of the detector, which the chest's shadow is larger on."""

FILMS = ("", "CR", "DX", "DR", "RG", "RF", "OT", "SC")
"""Modalities of radiographs, of screen shots, and none."""

CHEST = ("CHEST", "THORAX", "TORAX", "LUNG", "RIB", "HEART", "CARD", "TRUNK", "WHOLEBODY")
OTHER_PARTS = (
    "ABDOMEN", "ANKLE", "ARM", "BLADDER", "BRAIN", "BREAST", "CALCANEUS", "ELBOW", "EXTREMITY",
    "EYE", "FACE", "FEMUR", "FINGER", "FOOT", "HAND", "HEAD", "HIP", "HUMERUS", "JAW", "KIDNEY",
    "KNEE", "LEG", "LIVER", "MANDIBLE", "MAXILLA", "NECK", "NOSE", "PELVIS", "SCAPULA", "SHOULDER",
    "SINUS", "SKULL", "SPINE", "TEETH", "TIBIA", "TOE", "TOOTH", "WRIST", "ZYGOMA",
)  # fmt: skip
OTHER_VIEWS = ("LL", "RL", "LAT", "LATERAL", "LAO", "RAO", "LPO", "RPO", "LLO", "RLO", "AXIAL",
               "OBLIQUE", "OBL")  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """How stored pixels become upright: transposed, then mirrored, then upside down."""

    transposed: bool = False
    mirrored: bool = False
    upended: bool = False

    def __bool__(self) -> bool:
        """Tell whether anything is to be turned."""
        return self.transposed or self.mirrored or self.upended

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the pixels ``(H, W)`` upright."""
        turned = pixels.T if self.transposed else pixels
        turned = turned[:, ::-1] if self.mirrored else turned
        return np.ascontiguousarray(turned[::-1] if self.upended else turned)

    def back(self, mask: Mask) -> Mask:
        """Return a mask ``(H, W)`` of the upright film on the pixels as they are stored."""
        turned = mask[::-1] if self.upended else mask
        turned = turned[:, ::-1] if self.mirrored else turned
        return np.ascontiguousarray(turned.T if self.transposed else turned)

    def headlong(self) -> Turn:
        """Return the same turn and then another half."""
        return replace(self, mirrored=not self.mirrored, upended=not self.upended)


@dataclass(frozen=True)
class FilmHeader:
    """What a DICOM header tells of a film.

    Attributes:
        spacing: mm down and along the upright film, from the first of ``SPACINGS`` that states two
            positive lengths; or None.
        patient: a digest of ``PatientID`` (tables of results need no name), or None.
        attributes: ``sex``, ``age`` in years and ``view`` where they are given.
        turn: how the stored pixels become upright.
        orientation: ``PatientOrientation`` as it is written, ``""`` where there is none.
        doubt: why this is no frontal film of a chest, ``""`` where nothing says so.
    """

    spacing: Spacing | None = None
    patient: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    turn: Turn = Turn()
    orientation: str = ""
    doubt: str = ""


def read_film_header(path: Path) -> FilmHeader:
    """Return what a file's header tells.

    Raises:
        DataError: if the file is no DICOM file.
    """
    with explained(path):
        header = open_dicom(path, pixels=False, force=True)
        if not len(header):
            raise ValueError("no elements")
        return film_header(header)


def film_header(header: Dataset) -> FilmHeader:
    """Return what a header tells."""
    patient = text_of(header, "PatientID")
    found = {
        "sex": text_of(header, "PatientSex").upper(),
        "view": text_of(header, "ViewPosition").upper(),
        "age": _age(text_of(header, "PatientAge")),
    }
    directions = [part.upper() for part in texts_of(header, "PatientOrientation")]
    turn = _turn(directions)
    spacing = next(filter(None, (_spacing(header, key) for key in SPACINGS)), None)
    if spacing is not None and turn.transposed:
        spacing = (spacing[1], spacing[0])
    return FilmHeader(
        spacing=spacing,
        patient=hashlib.blake2b(patient.encode(), digest_size=6).hexdigest() if patient else None,
        attributes={key: value for key, value in found.items() if value},
        turn=turn,
        orientation="\\".join(directions),
        doubt=_doubt(header, directions),
    )


def _spacing(header: Dataset, key: str) -> Spacing | None:
    stated = numbers_of(header, key)
    if len(stated) != 2 or min(stated) <= 0:
        return None
    return (stated[0], stated[1])


def _turn(directions: list[str]) -> Turn:
    """Return the turn to rows that run to the patient's left, columns to the feet.

    DICOM PS3.3 C.7.6.1.1.1: the first value is where rows run to, the second columns.
    """
    row, column = [part[:1] for part in (*directions, "", "")][:2]
    if row in ("H", "F") and column in ("L", "R"):
        return Turn(transposed=True, mirrored=column == "R", upended=row == "H")
    if row in ("L", "R") and column in ("H", "F"):
        return Turn(mirrored=row == "R", upended=column == "H")
    return Turn()


def _doubt(header: Dataset, directions: list[str]) -> str:
    modality = text_of(header, "Modality").upper()
    if modality not in FILMS:
        return f"Modality {modality}, no radiograph"
    part = text_of(header, "BodyPartExamined").upper().replace(" ", "")
    if any(other in part for other in OTHER_PARTS) and not any(word in part for word in CHEST):
        return f"BodyPartExamined {part}, no chest"
    view = text_of(header, "ViewPosition").upper()
    if view in OTHER_VIEWS:
        return f"ViewPosition {view}, no frontal view"
    if directions and directions[0][:1] in ("A", "P"):
        return f"PatientOrientation {chr(92).join(directions)}, no frontal view"
    return ""


def _age(stated: str) -> str:
    lower = stated.lower()
    if not lower[:-1].isdecimal() or lower[-1:] not in ("y", "m", "w", "d"):
        return ""
    age = years(int(lower[:-1]), lower[-1])
    return "" if age is None else str(age)

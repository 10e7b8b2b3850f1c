"""JSRT chest X-rays with SCR's masks of the lungs and the heart.

Images: Shiraishi et al., "Development of a digital image database for chest radiographs with and
without a lung nodule", American Journal of Roentgenology 174(1), 2000. Masks: van Ginneken et
al., "Segmentation of anatomical structures in chest radiographs using supervised methods",
Medical Image Analysis 10(1), 2006.

**Images.** ``JPCLN001.IMG`` has no header: 2048×2048 big-endian ``uint16`` of 12 bits, bone low.
It is read as ``grey = 255 · (1 − v/4095)``, rounded, with values above 4095 taken as 4095.
Conversions to PNG, TIFF or JPEG circulate; a folder of one of these kinds is accepted, a folder of
several kinds is not. A conversion is taken to show bone bright, as displays do, and this is
checked: a heart darker than the lungs is an error. 8-bit files are taken as they are; 16-bit files
that stay below 4096 hold 12 bits, all others 16.

**Masks.** SCR's ``.gif`` files have half the side, 1024×1024, and keep that grid: it is the
reference's. Fold 1 holds the odd numbers, fold 2 the even ones. ``left lung`` is the patient's,
at the image's right. The heart and the lungs overlap a little; ``lungs`` is the raw union.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.arrays import Spacing
from contract.errors import DataError
from datamodules.sources.base import Case, check_sides
from datamodules.sources.clinical import merge_attributes, parse_jsrt_table, read_text
from datamodules.sources.files import list_files, list_folders, read_deep_pixels
from datamodules.sources.official_source import OfficialSource

FILM_SIDE = 2048
FILM_MM = 2048 * 0.175
"""Side of a film: 0.175 mm from one pixel to the next (Shiraishi 2000)."""
WHITE = 4095
RAW = ".img"
CONVERSIONS = {".png": "png", ".tif": "tiff", ".tiff": "tiff", ".jpg": "jpeg", ".jpeg": "jpeg"}
CLINICAL_FILES = ("clndat_en.txt", "cnndat_en.txt")
SCR_FOLDERS = {"left_lung": "left lung", "right_lung": "right lung", "heart": "heart"}


class JSRTSource(OfficialSource):
    """``All247images/`` and ``scratch/``: 247 films (154 with a nodule, 93 without)."""

    name = "jsrt"
    folder_name = "All247images"
    structures = ("lungs", "left_lung", "right_lung", "heart")
    ids_file = "jsrt.txt"
    same_patient = (("JPCNN012", "JPCNN036"),)
    download = (
        "images: db.jsrt.or.jp (free after registration, no redistribution, cite Shiraishi 2000); "
        "masks: the SCR database, scratch.zip (free for research and education, no "
        "redistribution, cite van Ginneken 2006)"
    )

    @classmethod
    def stratum(cls, case_id: str) -> str:
        """Return ``nodule`` for JPCLN, ``normal`` for JPCNN."""
        return "nodule" if case_id.startswith("JPCLN") else "normal"

    @cached_property
    def folder(self) -> Path:
        """The folder of films: ``All247images/``, possibly inside ``JSRT/`` or twice nested."""
        homes = [self.root, *_named(self.root, "jsrt")]
        places = [place for home in homes for place in _named(home, "all247images")]
        places += [inner for place in places for inner in _named(place, "all247images")]
        places += homes[1:]
        filled = [place for place in places if _films(place)]
        if len(filled) > 1:
            raise DataError(
                self.root,
                f"JSRT's films in {' and '.join(map(str, filled))}",
                "one folder of them",
                "remove the other copies",
            )
        return (filled or places or [self.root / self.folder_name])[0]

    @cached_property
    def side(self) -> int:
        """The side of a raw film in pixels: 2048, or what a phantom's marker states."""
        stated = FILM_SIDE if self.phantom is None else self.phantom.get("size")
        if not isinstance(stated, int) or stated <= 0:
            raise DataError(self.folder, f"a marker that states the size {stated!r}", "pixels")
        return stated

    def _images(self) -> Mapping[str, Path]:
        films = _films(self.folder)
        kinds = sorted({_kind(path) for path in films})
        if len(kinds) > 1:
            raise DataError(
                self.folder,
                f"films of the kinds {', '.join(kinds)}",
                "one kind only",
                "keep the official .IMG files and move the conversions away",
            )
        images: dict[str, Path] = {}
        for path in films:
            other = images.setdefault(path.stem.upper(), path)
            if other != path:
                raise DataError(path, f"the same film as {other.name}", "each film once")
        return images

    def _mask_folders(self) -> Sequence[tuple[str, Path]]:
        folders = []
        for fold in (0, 1):
            (place,) = self._only(self._scr, f"fold{fold + 1}")
            masks = _named(place, "masks")
            place = masks[0] if len(masks) == 1 else place
            for structure, name in SCR_FOLDERS.items():
                (folder,) = self._only(place, name)
                _check_fold(folder, fold)
                folders.append((f"{structure}/{fold}", folder))
        return folders

    @cached_property
    def _scr(self) -> Path:
        """The folder that holds SCR's folds."""
        homes = dict.fromkeys((self.root, self.folder.parent, self.folder))
        bases = [
            base for home in homes for name in ("scratch", "scr") for base in _named(home, name)
        ]
        bases += [
            inner for base in bases for name in ("scratch", "scr") for inner in _named(base, name)
        ]
        places = [
            place
            for place in dict.fromkeys((*homes, *bases))
            if _named(place, "fold1") or _named(place, "fold2")
        ]
        if not places:
            raise DataError(
                self.folder,
                "films without masks",
                "SCR's scratch/fold1 and scratch/fold2 beside them",
                f"download the masks: {self.download}",
            )
        if len(places) > 1:
            raise DataError(
                self.root,
                f"SCR's folds in {' and '.join(map(str, places))}",
                "one copy of them",
                "remove the others",
            )
        return places[0]

    @staticmethod
    def _only(home: Path, name: str) -> list[Path]:
        found = _named(home, name)
        if len(found) != 1:
            listed = f"{len(found)} folders called {name!r}" if found else f"no folder {name!r}"
            raise DataError(home, listed, "SCR's official folders", "unpack scratch.zip again")
        return found

    def _mask_names(self, case_id: str) -> Mapping[str, Sequence[tuple[str, str]]]:
        fold = scr_fold(case_id)
        left, right, heart = (
            (f"{structure}/{fold}", self._mask_files[structure].get(case_id, f"{case_id}.gif"))
            for structure in SCR_FOLDERS
        )
        return {
            "lungs": (left, right),
            "left_lung": (left,),
            "right_lung": (right,),
            "heart": (heart,),
        }

    @cached_property
    def _mask_files(self) -> Mapping[str, Mapping[str, str]]:
        """The mask's file name, as it is spelt, of each structure and case."""
        names: dict[str, dict[str, str]] = {structure: {} for structure in SCR_FOLDERS}
        for key, folder in self._mask_folders():
            for name in list_files(folder):
                if Path(name).suffix.lower() == ".gif":
                    masks = names[key.partition("/")[0]]
                    other = masks.setdefault(Path(name).stem.upper(), name)
                    if other != name:
                        raise DataError(folder / name, f"the same mask as {other}", "each once")
        return names

    def _attributes(self) -> Mapping[str, Mapping[str, str]]:
        homes = dict.fromkeys((self.folder, self.folder.parent, self.root))
        places = [
            *homes,
            *(p for home in homes for p in list_folders(home) if "clinical" in p.name.lower()),
        ]
        found = dict.fromkeys(path for place in places for path in place.glob("*"))
        files = [path for path in found if path.name.lower() in CLINICAL_FILES]
        return merge_attributes(*(parse_jsrt_table(read_text(path)) for path in files))

    def read_image(self, case: Case) -> NDArray[np.uint8]:
        """Return the film as grey values ``(H, W)`` in 0..255, bone bright; see the module.

        Raises:
            DataError: if the file has another length, does not decode, is not square, or is a
                conversion with bone dark.
        """
        if _kind(case.image) == "img":
            return raw_to_grey(_read_raw(case.image, self.side))
        film = read_deep_pixels(case.image, twelve_bits=True)
        if film.shape[0] != film.shape[1]:
            raise DataError(
                case.image,
                f"{film.shape[1]}×{film.shape[0]} pixels",
                "a square film, as SCR's masks are",
                "convert the official .IMG file without cropping",
            )
        self._require_bone_bright(case, film)
        return film

    def _require_bone_bright(self, case: Case, film: NDArray[np.uint8]) -> None:
        masks = self.read_masks(case, (film.shape[0], film.shape[1]))
        side = masks["heart"].shape[0]
        small = np.asarray(cv2.resize(film, (side, side), interpolation=cv2.INTER_AREA))
        heart = float(small[masks["heart"]].mean())
        lungs = float(small[masks["lungs"] & ~masks["heart"]].mean())
        if heart <= lungs:
            raise DataError(
                case.image,
                f"a heart of grey {heart:.0f}, darker than the lungs' {lungs:.0f}",
                "a conversion with bone bright",
                "invert the converted images, or use the official .IMG files",
            )

    def read_masks(self, case: Case, shape: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
        """Return each structure's mask ``(1024, 1024)``, whatever the film's shape.

        Raises:
            DataError: if a mask is unreadable, empty, of another size than SCR's, or if the left
                lung is not at the image's right.
        """
        masks = super().read_masks(case, shape)
        check_sides(case.masks["left_lung"][0], masks)
        return masks

    def _check_mask_shape(self, path: Path, found: tuple[int, ...], image: tuple[int, int]) -> None:
        side = self.side // 2
        if found != (side, side):
            raise DataError(
                path,
                f"a mask of {found[1]}×{found[0]} pixels",
                f"SCR's {side}×{side}",
                "unpack scratch.zip again",
            )

    def spacing(self, shape: tuple[int, int]) -> Spacing | None:
        """Return 0.175 mm for films of 2048×2048 pixels, None for resized copies.

        A phantom of another size shows the whole film, and its pixels grow accordingly.
        """
        if tuple(shape) != (self.side, self.side):
            return None
        return (FILM_MM / self.side, FILM_MM / self.side)


def scr_fold(case_id: str) -> int:
    """Return SCR's fold of a film: 0 (``fold1``) for odd numbers, 1 (``fold2``) for even ones."""
    return 1 - int(case_id[-3:]) % 2


def raw_to_grey(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return ``round(255 · (1 − v/4095))``, values above 4095 taken as 4095."""
    capped = np.minimum(values, WHITE)
    grey = cv2.convertScaleAbs(capped, alpha=-255 / WHITE, beta=255)
    return cast("NDArray[np.uint8]", grey)


def _read_raw(path: Path, side: int) -> NDArray[np.uint16]:
    expected = 2 * side * side
    try:
        length = path.stat().st_size
        if length != expected:
            raise DataError(
                path,
                f"{length} bytes",
                f"{expected} ({side}×{side} pixels of 16 bits, no header)",
                "download the official .IMG file again",
            )
        raw = np.fromfile(path, ">u2")
    except OSError as error:
        raise DataError(
            path, f"an unreadable file ({error.strerror})", todo="check its permissions"
        ) from None
    _require_byte_order(path, raw)
    return raw.astype(np.uint16).reshape(side, side)


def _require_byte_order(path: Path, raw: NDArray[np.uint16]) -> None:
    """Refuse a film whose bytes are exchanged: all low bytes are then high bytes of 12 bits."""
    if int(raw.max()) > WHITE and int((raw & 0xFF).max()) <= WHITE >> 8:
        raise DataError(
            path,
            f"values up to {int(raw.max())}, each with a low byte below 16: the bytes of 12-bit "
            "values, exchanged",
            "big-endian values up to 4095, as in the release",
            "exchange the two bytes of each value back, or download the .IMG files again",
            kind="bytes_exchanged",
        )


def _named(home: Path, name: str) -> list[Path]:
    """Return the folders of that name, upper or lower case alike; none where home is absent."""
    return [place for place in list_folders(home) if place.name.lower() == name]


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return "img" if suffix == RAW else CONVERSIONS.get(suffix, "")


def _films(folder: Path) -> list[Path]:
    known = frozenset(JSRTSource.released_ids())
    return [
        path for path in list_files(folder).values() if path.stem.upper() in known and _kind(path)
    ]


def _check_fold(folder: Path, fold: int) -> None:
    """Require that a fold's folder holds no film of the other fold."""
    known = frozenset(JSRTSource.released_ids())
    for name in list_files(folder):
        case_id = Path(name).stem.upper()
        if case_id in known and scr_fold(case_id) != fold:
            raise DataError(
                folder / name,
                f"{case_id} in fold {fold + 1}",
                "odd numbers in fold 1, even numbers in fold 2",
                "unpack scratch.zip again",
            )

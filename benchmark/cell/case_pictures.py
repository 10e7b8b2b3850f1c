"""What a gallery holds, whoever predicted: which cases it shows, their pictures and outlines."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.progress import say
from contract.arrays import Mask
from contract.files import write_atomically
from contract.words import GALLERY_FORMAT
from datamodules.datasets import CaseList
from datamodules.preprocessing import Preprocessing, resize
from datamodules.sources import Case, Source
from datamodules.sources.ct.scan import ScanCase

EACH = 5
"""Cases of a kind."""
PICTURE_SIDE = 256
WEBP_QUALITY = 65
STRUCTURE = "lungs"
MOST_CONTOURS = 40
"""Contours drawn of a mask, the longest first; the file counts those left out."""
TOLERANCE = 0.5
"""Pixels of the picture by which a simplified contour may stray."""

ScoredRow = Mapping[str, Any]
Contours = list[list[float]]
"""Polygons, each ``[x0, y0, x1, y1, …]`` in pixels of the picture, from its top left corner."""

Masks = tuple[Mask, Mask]
"""The reference and the prediction of the structure, ``(H, W)`` each, on the reference's grid."""
Gallery = tuple[Mapping[str, Any], Mapping[str, bytes]]
"""The content of ``gallery.json``, and each picture by the name of its file."""


def choose_cases(rows: Sequence[ScoredRow], each: int = EACH) -> list[tuple[str, ScoredRow]]:
    """Return the worst, best and median cases by the lungs' Dice, with their kind.

    No case stands twice: with fewer than three times ``each``, every kind gets a third. Of CT
    scans the slices are chosen from whose reference holds the structure. Cases of equal Dice
    come in the order of their names.
    """
    found = [row for row in rows if row["structure"] == STRUCTURE and row["unit"] != "scan"]
    found = [row for row in found if row["unit"] == "image" or not row["empty_reference"]]
    found.sort(key=lambda row: (round(row["dice"], 12), str(row["test_on"]), str(row["case_id"])))
    count = min(each, max(1, len(found) // 3))
    worst = found[:count]
    rest = found[count:]
    best = rest[-count:][::-1]
    middle = rest[: -count or None] if best else []
    start = max(0, min((len(found) - count) // 2 - count, len(middle) - count))
    median = middle[start : start + count]
    return [
        *(("worst", row) for row in worst),
        *(("median", row) for row in median),
        *(("best", row) for row in best),
    ]


class GalleryMaker:
    """Gathers the pictures and outlines of chosen cases, test set after test set.

    Args:
        chosen: rows with their kind, as ``choose_cases`` returned them.
    """

    def __init__(self, chosen: Sequence[tuple[str, ScoredRow]]) -> None:
        self._chosen = chosen
        self._cases: dict[int, dict[str, Any]] = {}
        self._pictures: dict[str, bytes] = {}
        self._terms: dict[str, str] = {}

    def add(
        self, tested: CaseList, sources: Mapping[str, Source], masks_at: Callable[[int], Masks]
    ) -> None:
        """Draw the chosen cases that lie in a test set.

        Args:
            tested: the films or slices of the test set.
            sources: the readers of its data sets, by name.
            masks_at: returns the masks of one of them, by its place in the list.
        """
        places = _places(tested)
        for number, (kind, row) in enumerate(self._chosen):
            place = places.get(_key(row))
            if place is None:
                continue
            case = tested.cases[place]
            source = sources[case.dataset]
            if source.phantom is None:
                self._terms[case.dataset] = source.download
            name, picture, size = small_picture(_film(source, case, row.get("slice_index")))
            self._pictures[name] = picture
            self._cases[number] = _entry(kind, row, name, size, *masks_at(place))

    def gallery(self) -> Gallery:
        """Return all of it, in the order in which the cases were chosen.

        Raises:
            RuntimeError: if a chosen case lay in no test set.
        """
        missing = len(self._chosen) - len(self._cases)
        if missing:
            raise RuntimeError(f"{missing} chosen cases are in no test set")
        head = {"format": GALLERY_FORMAT, "structure": STRUCTURE, "terms": self._terms}
        cases = [self._cases[number] for number in range(len(self._chosen))]
        return {**head, "cases": cases}, self._pictures


def _key(row: ScoredRow) -> tuple[str, str, int | None]:
    """A film's or slice's data set, film or scan, and place in the scan."""
    within = row.get("slice_index")
    return row["test_on"], row["case_id"] if within is None else row["scan_id"], within


def _places(cases: CaseList) -> dict[tuple[str, str, int | None], int]:
    """Where each film or slice stands in a test set."""
    found = {}
    for place, case in enumerate(cases.cases):
        at = cases.slice_of(place)
        found[case.dataset, case.case_id, None if at is None else at[0]] = place
    return found


def _film(source: Source, case: Case, slice_index: int | None) -> NDArray[np.uint8]:
    """Return grey values ``(H, W)`` that no system's preprocessing has touched."""
    if isinstance(case, ScanCase) and slice_index is not None:
        return Preprocessing().window(case.series.read_slice(slice_index))
    return source.read_image(case)


def _entry(
    kind: str,
    row: ScoredRow,
    picture: str,
    size: tuple[int, int],
    reference: Mask,
    prediction: Mask,
) -> dict[str, Any]:
    lines = {"reference": reference, "prediction": prediction}
    drawn = {side: contours(mask, size) for side, mask in lines.items()}
    return {
        "kind": kind,
        **{name: row.get(name) for name in ("test_on", "case_id", "scan_id", "slice_index")},
        **{name: row.get(name) for name in ("dice", "hausdorff_px", "hausdorff_mm", "reference")},
        "picture": picture,
        "height": size[0],
        "width": size[1],
        **{f"{side}_contours": polygons for side, (polygons, _) in drawn.items()},
        "contours_left_out": sum(left for _, left in drawn.values()),
    }


def small_picture(film: NDArray[np.uint8]) -> tuple[str, bytes, tuple[int, int]]:
    """Return a film's small picture.

    It depends on the film alone, so that all systems share it.

    Args:
        film: grey values ``(H, W)``, 0 to 255.

    Returns:
        the file's name, its content (WebP), and its height and width in pixels.
    """
    scale = min(1.0, PICTURE_SIDE / max(film.shape))
    size = (max(1, round(film.shape[0] * scale)), max(1, round(film.shape[1] * scale)))
    done, encoded = cv2.imencode(
        ".webp", resize(film, size), [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY]
    )
    if not done:
        raise OSError("OpenCV cannot write WebP")
    content = encoded.tobytes()
    return f"{hashlib.blake2b(content, digest_size=16).hexdigest()}.webp", content, size


def contours(mask: Mask, size: tuple[int, int]) -> tuple[Contours, int]:
    """Return a mask's simplified outlines, holes among them, and how many were left out.

    Args:
        mask: ``(H, W)``.
        size: height and width of the picture that they are drawn on.
    """
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    scale = np.array([size[1] / mask.shape[1], size[0] / mask.shape[0]], np.float32)
    polygons = []
    for line in sorted(found, key=len, reverse=True)[:MOST_CONTOURS]:
        placed = (line[:, 0].astype(np.float32) + np.float32(0.5)) * scale
        simple = cv2.approxPolyDP(placed[:, None], TOLERANCE, True)[:, 0]
        rounded = np.round(np.asarray(simple, np.float64) * 2) / 2
        polygons.append(rounded.ravel().tolist())
    return polygons, max(0, len(found) - MOST_CONTOURS)


def keep_pictures(folder: Path, draw: Callable[[], Gallery]) -> None:
    """Write a cell's gallery; a fault is told, and costs nothing but the pictures.

    Args:
        folder: ``<cell>/gallery``.
        draw: makes it.
    """
    try:
        write_gallery(folder, draw())
    except Exception as error:  # whatever it is, the rows stand
        shutil.rmtree(folder, ignore_errors=True)
        say(f"no gallery ({type(error).__name__}: {error}); the cell's rows are complete")


def write_gallery(folder: Path, gallery: Gallery) -> None:
    """Write a gallery so that a reader at any moment finds a whole one, the old or the new.

    Args:
        folder: ``<cell>/gallery``; made where absent.
        gallery: what ``GalleryMaker.gallery`` returned.
    """
    content, pictures = gallery
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        write_atomically(folder / name, picture)
    write_atomically(folder / "gallery.json", json.dumps(content, allow_nan=False))
    for old in folder.glob("*.webp"):
        if old.name not in pictures:
            old.unlink()

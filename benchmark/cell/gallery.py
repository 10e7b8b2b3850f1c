"""Pictures of a cell's best, median and worst cases, for the leaderboard's page.

``<cell>/gallery/gallery.json`` names the cases, their contours and their pictures, which lie beside
it, named by their content. All is small: 15 cases, pictures of 256 pixels.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from benchmark.cell.checkpoints import load_weights
from benchmark.progress import say
from contract.cell_folder import CellFolder
from contract.files import write_atomically
from contract.words import GALLERY_FORMAT
from datamodules.base import ProtocolDataModule
from datamodules.datasets import CaseList
from datamodules.preprocessing import Preprocessing, resize
from datamodules.sources import Case, Source
from datamodules.sources.ct.scan import ScanCase
from lightning_modules.metrics.scoring import structure_masks, to_reference_grid
from lightning_modules.segmenter import Segmenter

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


@dataclass(frozen=True)
class Tested:
    """One fold's test: the weights that were tested, and the data."""

    checkpoint: Path
    data: ProtocolDataModule


def keep_gallery(
    out: Path,
    trainer: pl.Trainer,
    module: pl.LightningModule,
    folds: Sequence[Tested],
    rows: Sequence[ScoredRow],
) -> None:
    """Write a finished test's gallery; a fault is told, and costs nothing but the pictures.

    Args:
        out: the cell's folder.
        trainer: whose device and precision the test ran in.
        module: the network; it comes back with the weights of the last fold drawn.
        folds: every fold that was tested.
        rows: the rows of all folds.
    """
    folder = CellFolder(out).gallery
    try:
        assert isinstance(module, Segmenter)
        write_gallery(folder, draw(trainer, module, folds, choose_cases(rows)))
    except Exception as error:  # whatever it is, the rows stand
        shutil.rmtree(folder, ignore_errors=True)
        say(f"no gallery ({type(error).__name__}: {error}); the cell's rows are complete")


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


def draw(
    trainer: pl.Trainer,
    module: Segmenter,
    folds: Sequence[Tested],
    chosen: Sequence[tuple[str, ScoredRow]],
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Predict the chosen cases anew, on this process alone.

    Returns:
        the content of ``gallery.json``, and each picture by the name of its file.
    """
    cases: list[dict[str, Any]] = []
    pictures: dict[str, bytes] = {}
    terms: dict[str, str] = {}
    module = module.to(trainer.strategy.root_device).eval()
    for fold in folds:
        places = _places(fold.data.test_cases)
        here = [(kind, row, places[_key(row)]) for kind, row in chosen if _key(row) in places]
        if here and len(folds) > 1:
            load_weights(module, fold.checkpoint)
        items = fold.data.test_dataloader().dataset
        for kind, row, place in here:
            case = fold.data.test_cases.cases[place]
            source = fold.data.sources[case.dataset]
            if source.phantom is None:
                terms[case.dataset] = source.download
            name, picture, size = small_picture(_film(source, case, row.get("slice_index")))
            pictures[name] = picture
            reference, prediction = _masks(trainer, module, items[place])
            cases.append(_entry(kind, row, name, size, reference, prediction))
    order = {(kind, row["test_on"], row["case_id"]): k for k, (kind, row) in enumerate(chosen)}
    cases.sort(key=lambda case: order[case["kind"], case["test_on"], case["case_id"]])
    if len(cases) != len(chosen):
        raise RuntimeError(f"{len(chosen) - len(cases)} chosen cases are in no fold's test set")
    head = {"format": GALLERY_FORMAT, "structure": STRUCTURE, "terms": terms}
    return {**head, "cases": cases}, pictures


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


def _masks(
    trainer: pl.Trainer, module: Segmenter, item: Mapping[str, Any]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the reference and the prediction of the structure, on the reference's grid."""
    reference = item["references"][STRUCTURE]
    image = item["image"][None].to(trainer.strategy.root_device)
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        probabilities = module(image)[0].float()
    scored = to_reference_grid(probabilities, item["box"], reference.shape)
    mask = structure_masks(scored, module.structures, module.activation)[STRUCTURE][0]
    return reference, mask.cpu().numpy()


def _entry(
    kind: str,
    row: ScoredRow,
    picture: str,
    size: tuple[int, int],
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
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


def contours(mask: NDArray[np.bool_], size: tuple[int, int]) -> tuple[Contours, int]:
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


def write_gallery(folder: Path, gallery: tuple[Mapping[str, Any], Mapping[str, bytes]]) -> None:
    """Write a gallery so that a reader at any moment finds a whole one, the old or the new.

    Args:
        folder: ``<cell>/gallery``; made where absent.
        gallery: what ``draw`` returned.
    """
    content, pictures = gallery
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        write_atomically(folder / name, picture)
    write_atomically(folder / "gallery.json", json.dumps(content, allow_nan=False))
    for old in folder.glob("*.webp"):
        if old.name not in pictures:
            old.unlink()

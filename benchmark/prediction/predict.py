"""Segment a folder of a user's own films: masks, overlays and a table of measurements."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from pathlib import Path

from benchmark.prediction.dicom_seg import NoSegmentationError, as_dicom_seg
from benchmark.prediction.finding import Job, find_films, readable, require_films
from benchmark.prediction.outcome import (
    PREDICTIONS_TABLE,
    TableRow,
    introduction,
    structures_of,
    sum_up,
    tell_of,
    without_place,
    write_table,
)
from benchmark.prediction.pictures import as_jpeg, as_png, paint_structures
from benchmark.prediction.predictor import Model, Predictor
from benchmark.prediction.segmentation import MANY_PIXELS, Segmentation, segment
from benchmark.progress import say, shown
from contract.errors import DataError, UserError
from contract.files import write_atomically
from contract.machine import cores, give_back_memory
from datamodules.sources.dicom.objects import NoFilmError
from datamodules.sources.films import FORMATS, Film, read_film, stated_pixels

AT_ONCE = 4
"""Films that are read, mapped back and written at a time; networks take one at a time."""

PASSED_OVER = "passed over"
"""The key of a row that stands for no film, with what the file is."""


@dataclass(frozen=True)
class FilmReading:
    """How films are read: see ``read_film``."""

    bits: int | None
    force: bool


def predict(
    model: Model,
    images: Path,
    out: Path,
    device: str = "auto",
    bits: int | None = None,
    force: bool = False,
    dicom_seg: bool = False,
) -> int:
    """Segment every film below a folder and write what was found.

    ``out/masks/<structure>/<name>.png`` are masks of 0 and 255 at the film's resolution,
    ``out/overlays/<name>.jpg`` pictures to look at, ``out/predictions.csv`` a line for each film.
    A film that cannot be read is reported in the table and the others go on. DICOM objects that
    hold no picture (reports, a DICOMDIR) are passed over.

    Args:
        model: the trained cells, or the exported model, that predict.
        images: the folder of films; its subfolders are kept in the results.
        out: the folder to write.
        device: a torch device, or ``auto``.
        bits: significant bits of 16-bit pictures, see ``datamodules.sources.films``.
        force: segment DICOM files too that are no frontal film of a chest by their header.
        dicom_seg: write ``out/segmentations/<name>.dcm`` too for DICOM films, which carry the
            patient's identity as the film does.

    Returns:
        How many films failed.

    Raises:
        UserError: if there is no film, or CT alone, the folders are one, or the model cannot be
            loaded.
    """
    jobs = find_films(images, out)
    if not force:
        require_films(images, jobs)
    networks = model.load(device)
    say(introduction(model, networks))
    rows: list[TableRow] = []
    pool = ThreadPoolExecutor(min(AT_ONCE, cores()))
    try:
        reading = FilmReading(bits, force)
        named = model.name if dicom_seg else None
        one = partial(_one, networks=networks, system=model.system, out=out, reading=reading,
                      in_segmentations=named)  # fmt: skip
        # A large film has the memory for itself.
        groups = groupby(jobs, key=lambda job: stated_pixels(job.path) > MANY_PIXELS)
        done = chain.from_iterable(
            map(_alone(one), group) if large else pool.map(one, group) for large, group in groups
        )
        for row in shown(done, len(jobs), "segmenting"):
            assert isinstance(row, dict)
            if PASSED_OVER in row:
                say(f"passed over {row['file']}: {row[PASSED_OVER]}")
                continue
            rows.append(row)
            tell_of(row)
    finally:
        pool.shutdown(cancel_futures=True)
        write_table(out / PREDICTIONS_TABLE, rows, _columns(networks))
    if not rows:
        raise UserError(images, "no film", f"files of {FORMATS}", "check --images")
    return sum_up(rows, "films", out)


def _one(
    job: Job,
    networks: Predictor,
    system: str,
    out: Path,
    reading: FilmReading,
    in_segmentations: str | None,
) -> TableRow:
    """Segment one film, write its files and return its line of the table.

    ``in_segmentations`` is what DICOM segmentations call the model; none are written without.
    """
    row: TableRow = {"file": readable(job.file), "system": system, "error": ""}
    try:
        film = read_film(job.path, reading.bits, reading.force)
        found = segment(networks, film)
    except NoFilmError as error:
        _remove_results(job, out)
        return row | {PASSED_OVER: error.found}
    except DataError as error:
        _remove_results(job, out)  # of an earlier call, which would belie the table
        return row | {"error": without_place(error)}
    for name, mask in found.masks.items():
        write_atomically(_mask_file(out, name, job), as_png(mask))
    picture = as_jpeg(paint_structures(film.pixels, found.masks))
    write_atomically(_overlay_file(out, job), picture)
    row |= {"output": readable(job.output)} | table_row(film, found)
    if in_segmentations is None or film.turn is None:
        return row
    try:
        content = as_dicom_seg(job.path, film.turn, found.masks, in_segmentations)
        write_atomically(_segmentation_file(out, job), content)
    except NoSegmentationError as error:
        _segmentation_file(out, job).unlink(missing_ok=True)
        row["remarks"] = "; ".join(filter(None, [row["remarks"], f"no DICOM-SEG: {error}"]))
    return row


def _alone(one: Callable[[Job], TableRow]) -> Callable[[Job], TableRow]:
    """Have a large film segmented with all the memory that those before it took."""

    def with_memory(job: Job) -> TableRow:
        give_back_memory()
        return one(job)

    return with_memory


def _mask_file(out: Path, structure: str, job: Job) -> Path:
    return out / "masks" / structure / f"{job.output}.png"


def _overlay_file(out: Path, job: Job) -> Path:
    return out / "overlays" / f"{job.output}.jpg"


def _segmentation_file(out: Path, job: Job) -> Path:
    return out / "segmentations" / f"{job.output}.dcm"


def _remove_results(job: Job, out: Path) -> None:
    _segmentation_file(out, job).unlink(missing_ok=True)
    _overlay_file(out, job).unlink(missing_ok=True)
    for folder in out.glob("masks/*"):
        _mask_file(out, folder.name, job).unlink(missing_ok=True)


def table_row(film: Film, found: Segmentation) -> TableRow:
    """Return the columns that describe a segmented film."""
    down, along = film.spacing or (None, None)
    row: TableRow = {
        "height": film.shape[0],
        "width": film.shape[1],
        "spacing_row": down,
        "spacing_col": along,
    }
    for structure, measured in found.measured.items():
        row[f"{structure}_area_px"] = int(measured["area_px"] or 0)
        row[f"{structure}_area_mm2"] = measured["area_mm2"]
    if "heart" in found.measured:
        row["cardiothoracic_ratio"] = found.measured["heart"]["cardiothoracic_ratio"]
    return row | {
        "disagreement": found.mirrored,
        "disagreement_networks": found.networks,
        "components": found.quality.components,
        "flagged": found.quality.flagged or bool(film.doubts),
        "reasons": "; ".join((*film.doubts, *found.quality.reasons)),
        "remarks": "; ".join(film.remarks),
    }


def _columns(networks: Predictor) -> list[str]:
    structures = structures_of(networks)
    columns = ["file", "system", "output", "height", "width", "spacing_row", "spacing_col"]
    columns += [f"{name}_area_{unit}" for name in structures for unit in ("px", "mm2")]
    columns += ["cardiothoracic_ratio"] if "heart" in structures else []
    columns += ["disagreement", "disagreement_networks", "components"]
    columns += ["flagged", "reasons", "remarks", "error"]
    return columns

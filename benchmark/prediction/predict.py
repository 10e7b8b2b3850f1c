"""Segment a folder of a user's own films: masks, overlays and a table of measurements."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from benchmark.prediction.dicom_seg import NoSegmentationError, as_dicom_seg
from benchmark.prediction.pictures import as_jpeg, as_png, paint_structures
from benchmark.prediction.predictor import Model, Predictor
from benchmark.prediction.segmentation import MANY_PIXELS, Segmentation, segment
from benchmark.progress import say, shown
from contract.errors import DataError, UserError
from contract.files import write_atomically
from contract.machine import cores, give_back_memory
from contract.spreadsheets import in_a_cell
from datamodules.sources.dicom.objects import NoFilmError
from datamodules.sources.files import DICOM_ENDINGS, VOLUME_ENDINGS
from datamodules.sources.films import FORMATS, Film, is_dicom, read_film, stated_pixels
from datamodules.sources.own_data import PICTURE_ENDINGS

PREDICTIONS_TABLE = "predictions.csv"
AT_ONCE = 4
"""Films that are read, mapped back and written at a time; networks take one at a time."""

TableRow = dict[str, Any]
ENDINGS_OF_FILMS = (*PICTURE_ENDINGS, *DICOM_ENDINGS, *VOLUME_ENDINGS)
PASSED_OVER = "passed over"
"""The key of a row that stands for no film, with what the file is."""


@dataclass(frozen=True)
class FilmReading:
    """How films are read: see ``read_film``."""

    bits: int | None
    force: bool


@dataclass(frozen=True)
class Job:
    """One file and what its results are called.

    Attributes:
        path: the film.
        file: its place below the folder of films.
        output: the place of its results below each folder of results, without an ending.
    """

    path: Path
    file: PurePosixPath
    output: PurePosixPath


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
        UserError: if there is no film, the folders are one, or the model cannot be loaded.
    """
    jobs = find_films(images, out)
    networks = model.load(device)
    told = f"{model.name}: {len(networks)} network{'s' if len(networks) > 1 else ''}"
    say(f"{told}, trained on PHANTOM DATA: synthetic films" if model.phantom else told)
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
            if row["error"]:
                say(f"FAILED {row['file']}: {row['error']}")
            elif row["remarks"]:
                say(f"{row['file']}: {row['remarks']}")
    finally:
        pool.shutdown(cancel_futures=True)
        write_predictions(out / PREDICTIONS_TABLE, rows, networks)
    if not rows:
        raise UserError(images, "no film", f"files of {FORMATS}", "check --images")
    failed = sum(bool(row["error"]) for row in rows)
    flagged = sum(row.get("flagged") is True for row in rows)
    say(
        f"{len(rows) - failed} of {len(rows)} films segmented, {flagged} of them flagged, "
        f"{failed} failed; masks, overlays and {PREDICTIONS_TABLE} are in {out}"
    )
    return failed


def find_films(images: Path, out: Path) -> list[Job]:
    """Return the films below a folder, sorted, hidden ones and results left out.

    Files count whose names end like pictures or DICOM, and those without ending that have DICOM's
    mark. Results are called as their films; films that differ in the ending alone keep it:
    ``a.dcm`` and ``a.png`` become ``a_dcm`` and ``a_png``.

    Raises:
        UserError: if the folder is missing, holds no film, or two films' results would have one
            name.
    """
    if not images.is_dir():
        raise UserError(images, "no such folder", "a folder of films", "check --images")
    if images.resolve() == out.resolve():
        raise UserError(out, "the folder of films", "a folder of its own", "choose another --out")
    found = sorted(_files(images, out.resolve()))
    films = [path for path in found if _may_be_film(path)]
    if others := [path.name for path in found if not _may_be_film(path)]:
        say(f"{len(others)} other file(s) passed over, such as {readable(others[0])}")
    if not films:
        raise UserError(images, "no film", f"files of {FORMATS}", "check --images")
    names = [PurePosixPath(path.relative_to(images).as_posix()) for path in films]
    jobs = [Job(*job) for job in zip(films, names, _output_names(names), strict=True)]
    twice = Counter(str(job.output).casefold() for job in jobs)
    for job in jobs:
        if twice[str(job.output).casefold()] > 1:
            clash = f"results called {job.output}, as another film's"
            raise UserError(job.path, clash, "one name a film", "rename it")
    return jobs


def _output_names(names: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """Return names without ending; with it as ``_png`` where they would be alike."""
    bare = [name.with_name(name.name[: -len(_film_ending(name)) or None]) for name in names]
    shared = Counter(str(name).casefold() for name in bare)
    return [
        short if shared[str(short).casefold()] == 1 else name.with_name(name.name.replace(".", "_"))
        for short, name in zip(bare, names, strict=True)
    ]


def _film_ending(path: PurePath) -> str:
    """Return what a film's name ends with, ``.nii.gz`` whole; nothing for other names."""
    name = path.name.lower()
    return next((ending for ending in ENDINGS_OF_FILMS if name.endswith(ending)), "")


def _files(folder: Path, out: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = [f for f in folders if f[0] != "." and (here / f).resolve() != out]
        for linked in [f for f in folders if (here / f).is_symlink()]:
            say(f"{here / linked}: a link to a folder is not entered; name it as --images")
        yield from (here / name for name in names if name[0] != ".")


def _may_be_film(path: Path) -> bool:
    if _film_ending(path):
        return True
    # Names that scanners give, such as IM0001 or 1.2.840.113, have no ending to go by.
    try:
        return path.is_file() and is_dicom(path)
    except DataError:
        return False


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


def readable(name: PurePath | str) -> str:
    """Return a file's name as text; bytes that are no UTF-8 as escapes."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def without_place(error: UserError) -> str:
    """Return an error's text without the file that it names."""
    return str(error).removeprefix(f"{error.where}: ")


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


def write_predictions(path: Path, rows: Sequence[TableRow], networks: Predictor) -> None:
    """Write the table: a line a film, an empty field for what is undefined."""
    structures = [name for name in networks.structures if name != "background"]
    structures += [] if "lungs" in structures else ["lungs"]
    columns = ["file", "system", "output", "height", "width", "spacing_row", "spacing_col"]
    columns += [f"{name}_area_{unit}" for name in structures for unit in ("px", "mm2")]
    columns += ["cardiothoracic_ratio"] if "heart" in structures else []
    columns += [
        "disagreement",
        "disagreement_networks",
        "components",
        "flagged",
        "reasons",
        "remarks",
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, "error"], restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _shown(value) for key, value in row.items()})
    write_atomically(path, text.getvalue())


def _shown(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else in_a_cell(value)

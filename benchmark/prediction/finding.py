"""What a user's folder holds: films or CT scans, and what their results are called."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath, PurePosixPath

from benchmark.prediction.outcome import PREDICTIONS_TABLE
from benchmark.progress import say
from contract.errors import DataError, UserError
from datamodules.sources.ct.headers import is_dicom_image, read_slice_header
from datamodules.sources.ct.index import HeaderIndex
from datamodules.sources.ct.series import assemble
from datamodules.sources.ct.slices import ScanSlices
from datamodules.sources.ct.survey import survey_headers
from datamodules.sources.ct.volumes import VolumeSlices
from datamodules.sources.files import DICOM_ENDINGS, VOLUME_ENDINGS
from datamodules.sources.films import FORMATS, is_dicom
from datamodules.sources.own_data import PICTURE_ENDINGS
from datamodules.sources.volume_files import VolumeFile, is_volume_file

ENDINGS_OF_FILMS = (*PICTURE_ENDINGS, *DICOM_ENDINGS, *VOLUME_ENDINGS)
SCAN_FORMATS = "CT series in DICOM files, or volumes (" + ", ".join(VOLUME_ENDINGS) + ")"
_PIXELS_BESIDE = (".raw", ".zraw")
"""Endings of files that hold the pixels of a volume file."""
_RESULTS = ("masks", "overlays", "segmentations")
"""The folders that stand beside a table of predictions."""
_TABLE_BEGINS = b"file,system,output,"
_ENDINGS_TOLD = 8
"""Endings of files passed over that are counted each for itself, the most frequent ones."""


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


@dataclass(frozen=True)
class ScanJob(Job):
    """One CT scan, a folder of slices or a file, and what its results are called.

    Attributes:
        open: returns the scan, or raises the ``DataError`` that says why it cannot be used.
    """

    open: Callable[[], ScanSlices]


def find_films(images: Path, out: Path) -> list[Job]:
    """Return the films below a folder, sorted, hidden ones and results left out.

    Files count whose names end like pictures or DICOM, and those without ending that have DICOM's
    mark; the others are counted by their endings. Results are called as their films; films that
    differ in the ending alone keep it: ``a.dcm`` and ``a.png`` become ``a_dcm`` and ``a_png``.

    Raises:
        UserError: if the folder is missing, holds no film, or two films' results would have one
            name.
    """
    _require_folder(images, out, "films")
    found = sorted(_files(images, out.resolve()))
    films = [path for path in found if _may_be_film(path)]
    _say_passed_over(
        [path for path in found if not _may_be_film(path)],
        f"a film's file ends in {', '.join(ENDINGS_OF_FILMS)}, or is DICOM",
    )
    if not films:
        raise UserError(images, "no film", f"files of {FORMATS}", "check --images")
    names = [PurePosixPath(path.relative_to(images).as_posix()) for path in films]
    jobs = [Job(*job) for job in zip(films, names, _output_names(names), strict=True)]
    _require_own_names(jobs, "film")
    return jobs


def require_films(images: Path, jobs: Sequence[Job]) -> None:
    """Refuse a folder that holds CT scans and nothing else; a network for films sees none of them.

    Raises:
        UserError: if every file is a slice of a CT or a volume of several slices.
    """
    if all(_is_of_scan(job.path) for job in jobs):
        found = f"CT alone ({len(jobs)} file(s), such as {readable(jobs[0].file)})"
        raise UserError(
            images, found, "chest films, for a network that was trained on films",
            "name a cell that was trained on CT with --cell, or segment slices as if they were "
            "films with --force",
        )  # fmt: skip


def find_scans(images: Path, out: Path) -> list[ScanJob]:
    """Return the CT scans below a folder, sorted, hidden files and results left out.

    A scan is a CT series in DICOM files, whose results are called as their folder, or a volume
    file, whose results are called as films' are. A folder that the readers of CT data sets would
    refuse is a job that raises their error.

    Raises:
        UserError: if the folder is missing, holds no scan, or two scans' results would have one
            name.
    """
    _require_folder(images, out, "CT scans")
    files = [path for path in sorted(_files(images, out.resolve())) if path.is_file()]
    places: dict[Path, Callable[[], ScanSlices]] = {}
    by_folder: dict[Path, list[Path]] = {}
    for path in files:
        if is_volume_file(path):
            places[path] = partial(VolumeSlices, path, readable(path.name))
        else:
            by_folder.setdefault(path.parent, []).append(path)
    survey = survey_headers(by_folder.items(), HeaderIndex(None))
    used = set(places)
    for folder, error in survey.faults:
        places[folder] = partial(_refuse, error)
        used |= set(by_folder[folder])
    for uid, headers in survey.series.items():
        folder = Path(os.path.commonpath([header.path.parent for header in headers]))
        if folder in places:
            raise UserError(
                folder, f"parts of several CT series, one of them {uid}",
                "each series in a folder of its own", "move them apart",
            )  # fmt: skip
        places[folder] = partial(assemble, headers)
        used |= {header.path for header in headers}
    others = [p for p in files if p not in used and p.suffix.lower() not in _PIXELS_BESIDE]
    if not places:
        found = f"no CT scan ({len(others)} other file(s)"
        found += f", such as {readable(others[0].name)})" if others else ")"
        raise UserError(
            images, found, f"{SCAN_FORMATS}, for a network that was trained on CT",
            "check --images, or name a cell that was trained on films",
        )  # fmt: skip
    _say_passed_over(others, f"scans are {SCAN_FORMATS}")
    names = [PurePosixPath(path.relative_to(images).as_posix()) for path in sorted(places)]
    # The folder of scans itself may be a series: its results are called as the folder is.
    called = [name if name.name else PurePosixPath(images.resolve().name) for name in names]
    jobs = [
        ScanJob(images / name, name, output, places[images / name])
        for name, output in zip(names, _output_names(called), strict=True)
    ]
    _require_own_names(jobs, "scan")
    return jobs


def _refuse(error: DataError) -> ScanSlices:
    raise error


def _is_of_scan(path: Path) -> bool:
    """Tell whether a file is a slice of a CT, or a volume of several slices."""
    try:
        if not path.is_file():
            return False
        if is_volume_file(path):
            return math.prod(VolumeFile(path).size[2:]) > 1
        return is_dicom_image(path) and read_slice_header(path).modality == "CT"
    except DataError:  # which is told when it is read as a film
        return False


def _require_folder(images: Path, out: Path, items: str) -> None:
    if not images.is_dir():
        raise UserError(images, "no such folder", f"a folder of {items}", "check --images")
    if images.resolve() == out.resolve():
        raise UserError(
            out, f"the folder of {items}", "a folder of its own", "choose another --out"
        )


def _say_passed_over(others: Sequence[Path], expected: str) -> None:
    if not others:
        return
    counts = Counter(sorted(_told_ending(path) for path in others)).most_common()
    told = [f"{number} {ending}" for ending, number in counts[:_ENDINGS_TOLD]]
    if rest := sum(number for _, number in counts[_ENDINGS_TOLD:]):
        told.append(f"{rest} with other endings")
    files = "file" if len(others) == 1 else "files"
    say(f"{len(others)} other {files} passed over: {', '.join(told)} ({expected})")


def _told_ending(path: Path) -> str:
    """Return what a name ends with; numbers as in 1.2.840.113, and long words, are no endings."""
    ending = readable(path.suffix.lower())
    word = ending[1:]
    named = word.isalnum() and not word.isdecimal() and len(word) <= 8
    return ending if named else "without an ending"


def _require_own_names(jobs: Sequence[Job], item: str) -> None:
    first: dict[str, Job] = {}
    for job in jobs:
        other = first.setdefault(str(job.output).casefold(), job)
        if other is not job:
            clash = f"results called {readable(job.output)}, as those of {readable(other.file)}"
            clash += " but for capitals" if other.output != job.output else ""
            raise UserError(job.path, clash, f"one name a {item}", "rename one of the two")


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
    """Give the files below a folder, but for hidden ones, ``out`` and results of earlier calls."""
    for place, folders, names in os.walk(folder):
        here = Path(place)
        if PREDICTIONS_TABLE in names and _is_table(here / PREDICTIONS_TABLE):
            say(f"{readable(here)}: results of an earlier call lie here and are not looked at")
            folders[:] = [name for name in folders if name not in _RESULTS]
            names.remove(PREDICTIONS_TABLE)
        folders[:] = [f for f in folders if f[0] != "." and (here / f).resolve() != out]
        for linked in [f for f in folders if (here / f).is_symlink()]:
            say(f"{here / linked}: a link to a folder is not entered; name it as --images")
        yield from (here / name for name in names if name[0] != ".")


def _is_table(path: Path) -> bool:
    """Tell whether a file is a table of predictions, by how its first line begins."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(_TABLE_BEGINS)) == _TABLE_BEGINS
    except OSError:
        return False


def _may_be_film(path: Path) -> bool:
    if _film_ending(path):
        return True
    # Names that scanners give, such as IM0001 or 1.2.840.113, have no ending to go by.
    try:
        return path.is_file() and is_dicom(path)
    except DataError:
        return False


def readable(name: PurePath | str) -> str:
    """Return a file's name as text; bytes that are no UTF-8 as escapes."""
    return str(name).encode("utf-8", "backslashreplace").decode()

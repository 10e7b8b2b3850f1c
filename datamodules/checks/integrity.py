"""Is the data below a root what the benchmark takes it for? Every file is decoded to tell.

A problem either makes a benchmark on the data wrong, and a run stops at it, or is only worth
knowing (an absent data set, files that no reader will touch).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import cast

from contract.errors import DataError, MissingDataError, UserError
from contract.machine import cores
from datamodules.checks.ct_integrity import check_scans
from datamodules.checks.problems import Problem, Report
from datamodules.checks.readings import tell_readings
from datamodules.checks.twins import pixel_digest, sides_of, twins
from datamodules.digests import Progress, no_progress
from datamodules.division import DividedProtocol, OpenedSet
from datamodules.mask_survey import survey_masks
from datamodules.protocol import Protocol
from datamodules.sources import (
    CT_SOURCES,
    SOURCES,
    Case,
    OfficialSource,
    OwnData,
    Source,
    open_source,
    require_own_name,
)
from datamodules.sources.ct.scan import ScanSource
from datamodules.sources.files import list_files
from datamodules.sources.films import Film
from datamodules.sources.masks import read_mask
from datamodules.splits import Key

__all__ = ["Problem", "Report", "check"]

FILM_ENDINGS = (".png", ".gif", ".img", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm")


@dataclass
class _Examined:
    """What decoding one case told; ``digest`` is of the film's pixels, if it could be read."""

    problems: list[Problem]
    digest: str | None
    film: Film | None = None


def check(
    root: Path,
    datasets: Sequence[str] | None = None,
    protocols: Mapping[str, Protocol] | None = None,
    progress: Progress = no_progress,
) -> list[Report]:
    """Read every file of some data sets and report all faults.

    Args:
        root: the data root.
        datasets: names, or YAML files of a user's own data; all official sets if not given.
        protocols: protocols whose splits are looked through for leaks, by name.
        progress: shows the reading of files.

    Raises:
        UserError: if a data set's name is unknown or its YAML file is wrong.
    """
    reports: dict[str, Report] = {}
    opened: dict[str, OpenedSet] = {}
    digests: list[tuple[Key, str]] = []
    asked: dict[str, str] = {}
    for name in (*SOURCES, *CT_SOURCES) if datasets is None else datasets:
        source = open_source(name, root)
        require_own_name(source, name, asked)
        examine = check_scans if isinstance(source, ScanSource) else _check_source
        reports[source.name], cases, seen = examine(source, progress)
        digests += seen
        if cases:
            opened[name] = OpenedSet(source, cases)
    groups = twins(digests)
    images = {
        (case.dataset, case.case_id): case.image.resolve()
        for data in opened.values()
        for case in data.cases
    }
    for group in groups:
        for first, second in ((group[0], other) for other in group[1:]):
            if first in images and images[first] == images.get(second):
                continue  # one folder that two descriptions name; a protocol with both leaks
            reports[second[0]].problems.append(
                Problem(
                    "duplicated",
                    " ".join(second),
                    f"the same image as {' '.join(first)}",
                    "each image under one name",
                    "download the data again, or remove one of them from your own data",
                )
            )
    for name, protocol in (protocols or {}).items():
        if set(protocol.datasets) <= set(opened):
            divided = DividedProtocol(protocol, {s: opened[s] for s in protocol.datasets})
            for problem, dataset in _leaks(name, divided, groups):
                reports[dataset].problems.append(problem)
    return list(reports.values())


def _check_source(
    source: Source, progress: Progress
) -> tuple[Report, list[Case], list[tuple[Key, str]]]:
    report = Report(source.name, True, False, str(source.folder), source.download)
    try:
        source.require_folder()
        report.phantom = source.phantom is not None
        image_ids = _image_ids(source)
        report.images_expected, report.masks_expected = len(image_ids), len(source.official_ids)
        cases, gaps = source.survey()
    except MissingDataError as error:
        report.present = False
        if isinstance(source, OfficialSource):
            report.images_expected = len(_released_images(source))
            report.masks_expected = len(source.released_ids())
        report.problems.append(Problem.of("absent", error, breaks=False))
        return report, [], []
    except DataError as error:
        report.problems.append(Problem.of(error.kind or "folder", error))
        return report, [], []
    for gap in gaps:
        report.problems.append(
            Problem(
                "missing",
                f"{source.folder} {gap.case_id}",
                f"no {gap.lacks}",
                "every case of the official release",
                "download the data set again",
            )
        )
    unmasked = image_ids - set(source.official_ids)
    files = [list_files(folder) for folder in {case.image.parent for case in cases}]
    present = unmasked & {Path(name).stem for names in files for name in names}
    report.images = len(cases) + sum(not gap.image for gap in gaps) + len(present)
    report.masks = len(cases) + sum(not gap.masks for gap in gaps)
    if present != unmasked:
        absent = sorted(unmasked - present)
        report.problems.append(
            Problem(
                "missing",
                str(source.folder),
                f"no image of {len(absent)} films that have no mask: {', '.join(absent[:5])}",
                "every image of the official release",
                "nothing: no protocol uses them",
                breaks=False,
            )
        )
    with ThreadPoolExecutor(cores()) as pool:
        done = pool.map(partial(_examine, source), cases)
        shown = progress(done, len(cases), f"checking {source.name}")
        examined = list(cast("Iterable[_Examined]", shown))
    report.problems += [problem for case in examined for problem in case.problems]
    films = [(case.image, seen.film) for case, seen in zip(cases, examined, strict=True)]
    report.problems += tell_readings(source, [(path, film) for path, film in films if film])
    report.problems += _odd_names(source, cases)
    if isinstance(source, OwnData):
        together = survey_masks(source, cases).of_set
        report.problems += [Problem.of(error.kind, error) for error in together]
    digests = [
        ((case.dataset, case.case_id), seen.digest)
        for case, seen in zip(cases, examined, strict=True)
        if seen.digest is not None
    ]
    return report, cases, digests


def _released_images(source: OfficialSource) -> frozenset[str]:
    listed = resources.files("datamodules.sources.official") / f"{source.name}.txt"
    return frozenset(listed.read_text().split())


def _image_ids(source: Source) -> frozenset[str]:
    """Return the ids of all images that the data set should have, with masks or without."""
    if not isinstance(source, OfficialSource):
        return frozenset(source.official_ids)
    released = _released_images(source)
    if source.phantom is None:
        return released
    written = cast("Sequence[object]", source.phantom.get("ids", []))
    return released & {str(case_id) for case_id in written}


def _examine(source: Source, case: Case) -> _Examined:
    film = None
    try:
        if isinstance(source, OwnData):
            film = source.read_film(case)
        pixels = source.read_image(case) if film is None else film.pixels
    except DataError as error:
        return _Examined([Problem.of(_kind(error, case), error), *_unreadable_masks(case)], None)
    problems = []
    try:
        source.read_masks(case, (pixels.shape[0], pixels.shape[1]))
    except DataError as error:
        problems.append(Problem.of(_kind(error, case), error))
    about = None if film is None else replace(film, pixels=film.pixels[:0, :0])
    return _Examined(problems, pixel_digest(pixels), about)


def _unreadable_masks(case: Case) -> list[Problem]:
    problems = []
    for path in case.mask_files:
        try:
            read_mask(path)
        except DataError as error:
            problems.append(Problem.of(error.kind or "unreadable", error))
    return problems


def _kind(error: DataError, case: Case) -> str:
    """Tell which fault a reader met: what it says, or by looking at the file that it names."""
    if error.kind:
        return error.kind
    path = Path(error.where)
    if path not in case.mask_files:
        return "unreadable"
    try:
        return "mismatched" if read_mask(path).any() else "empty_mask"
    except DataError:
        return "unreadable"


def _odd_names(source: Source, cases: Sequence[Case]) -> list[Problem]:
    """Return the pictures beside the official ones that no reader will touch."""
    if not isinstance(source, OfficialSource):
        return []
    used = {path for case in cases for path in case.files}
    known = {case_id.upper() for case_id in _released_images(source)}
    problems = []
    for folder in sorted({path.parent for path in used}):
        for name, path in list_files(folder).items():
            case_id = path.stem.upper().removesuffix("_MASK")
            if path not in used and path.suffix.lower() in FILM_ENDINGS and case_id not in known:
                problems.append(
                    Problem(
                        "odd_name",
                        str(path),
                        f"a picture called {name!r}",
                        "official names only; this one is ignored",
                        "remove it, or give it back its official name",
                        breaks=False,
                    )
                )
    return problems


def _leaks(
    name: str, protocol: DividedProtocol, groups: Sequence[tuple[Key, ...]]
) -> list[tuple[Problem, str]]:
    """Return what stands on two sides of a protocol's split, with the data set to be told."""
    problems = []
    for fold in range(protocol.rules.fold_count):
        try:
            split = protocol.split(seed=0, fold=fold)
        except DataError as error:
            dataset = protocol.data[protocol.rules.datasets[0]].source.name
            problems.append((Problem.of("leaking", error), dataset))
            continue
        except UserError:
            continue  # a rule that does not fit so few cases: ``plan`` tells it
        sides = sides_of(split)
        for group in groups:
            places = {key: sides[key] for key in group if key in sides}
            if len(set(places.values())) > 1:
                told = ", ".join(f"{' '.join(key)} in {side}" for key, side in places.items())
                problems.append(
                    (
                        Problem(
                            "leaking",
                            f"protocol {name}",
                            f"one image on two sides of the split: {told}",
                            "each image on one side",
                            "remove one of them",
                        ),
                        group[-1][0],
                    )
                )
    return problems

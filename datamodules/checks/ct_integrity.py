"""Are the CT scans below a root what the benchmark takes them for? Every slice is decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np

from contract.errors import DataError, MissingDataError
from contract.machine import cores
from datamodules.checks.problems import Problem, Report
from datamodules.digests import Progress, combined
from datamodules.sources import Case, CTSource, Source
from datamodules.sources.ct.scan import ScanCase, ScanSource
from datamodules.sources.ct.volumes import VolumeSlices
from datamodules.splits import Key

Found = tuple[Report, list[Case], list[tuple[Key, str]]]
"""The report, the cases that a protocol may use, and a digest of each scan's HU values."""


def check_scans(source: Source, progress: Progress) -> Found:
    """Read every slice, mask and reading of a CT data set and report all faults.

    Scans without a lung mask cannot train or test, but nothing is wrong with them: what is found
    of them is told and breaks nothing.

    Args:
        source: the reader.
        progress: shows the reading of scans.
    """
    assert isinstance(source, ScanSource)
    report = Report(source.name, True, False, str(source.folder), source.download)
    if isinstance(source, CTSource):
        report.images_expected, report.masks_expected = source.released, source.released_masks
    try:
        report.phantom = source.phantom is not None
        scans, faults = source.survey_scans()
    except MissingDataError as error:
        report.present = False
        report.problems.append(Problem.of("absent", error, breaks=False))
        return report, [], []
    except DataError as error:
        report.problems.append(Problem.of("folder", error))
        return report, [], []
    report.problems += [Problem.of("unreadable", error) for error in faults]
    report.images, report.masks = len(scans), sum(bool(scan.masks) for scan in scans)
    if isinstance(source, CTSource):
        report.problems += _absent(source, scans, report)
    else:
        report.images_expected = report.masks_expected = len(scans)
    digests: list[tuple[Key, str]] = []
    whole: list[Case] = []
    with ThreadPoolExecutor(cores()) as pool:
        shown = progress(scans, len(scans), f"checking {source.name}")
        for scan in cast("Iterable[ScanCase]", shown):
            problems, digest = _examine(source, scan, pool)
            report.problems += problems
            if digest is not None:
                digests.append(((scan.dataset, scan.case_id), digest))
            if scan.masks and not any(problem.breaks for problem in problems):
                whole.append(scan)
    return report, whole, digests


def _absent(source: CTSource, scans: Sequence[ScanCase], report: Report) -> list[Problem]:
    """Tell what is not there: of a phantom every scan must be, of a release any part may be."""
    if source.phantom is None:
        problems = []
    else:
        report.images_expected = report.masks_expected = len(source.official_ids)
        gone = sorted(set(source.official_ids) - {scan.case_id for scan in scans})
        problems = [
            Problem(
                "missing", str(source.folder), f"no series {uid}", "every scan written",
                "write the phantoms anew",
            )
            for uid in gone
        ]  # fmt: skip
    unmasked = [scan for scan in scans if not scan.masks]
    for scan in unmasked:
        problems.append(
            Problem(
                "missing", str(scan.image.parent), f"no lung mask of series {scan.case_id}",
                "one, to train or test on the scan", source.where_masks, breaks=False,
            )
        )  # fmt: skip
    return problems


def _examine(
    source: ScanSource, scan: ScanCase, pool: ThreadPoolExecutor
) -> tuple[list[Problem], str | None]:
    needed = bool(scan.masks)
    try:
        series = scan.series
    except DataError as error:
        return [Problem.of("mismatched", error, needed)], None
    problems = []
    volume = None
    try:
        if needed:
            volume = source.open(scan).volume
        else:
            source.require_readings(scan)
    except DataError as error:
        problems.append(Problem.of(_kind(error, scan), error, needed))

    if volume is None and isinstance(series, VolumeSlices):  # it would be read whole a slice
        return problems, None

    def digest(index: int) -> str | DataError:
        try:
            values = series.read_slice(index) if volume is None else volume[index]
        except DataError as error:
            return error
        return hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).hexdigest()

    digests = list(pool.map(digest, range(len(series))))
    unreadable = [Problem.of("unreadable", e, needed) for e in digests if isinstance(e, DataError)]
    if unreadable:
        known = {problem.path for problem in problems}
        return problems + [fault for fault in unreadable if fault.path not in known], None
    return problems, combined([*map(str, digests), str(series.shape)])


def _kind(error: DataError, scan: ScanCase) -> str:
    """Tell which fault a reader met, by the file it names and what it says of it."""
    if "empty mask" in error.found:
        return "empty_mask"
    if "no readable" in error.found or "no whole" in error.found or "unreadable" in error.found:
        return "unreadable"
    return "mismatched" if Path(error.where) != scan.image else "unreadable"

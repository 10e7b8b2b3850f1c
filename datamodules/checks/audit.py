"""Suspect reference masks, found by the masks' geometry alone.

A finding is a lead to look at, not a verdict. The two that change what a score means,
``side_ratio`` and ``heart_shadow``, make a case *suspect*: leaderboards show means without these
cases too.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import cast

import numpy as np

from contract.machine import cores
from contract.spreadsheets import in_a_cell
from datamodules.checks.mask_geometry import MaskMeasures, measure_shape
from datamodules.digests import Digests, Progress, combined, no_progress
from datamodules.remembered import recall, remember
from datamodules.sources import Case, Source

AUDIT_FORMAT = 1
"""Raised whenever the same masks would give other measures."""

FINDINGS = ("specks", "holes", "border", "side_ratio", "heart_shadow", "scalloped")
SUSPECT = ("side_ratio", "heart_shadow")
"""Findings whose cases are left out of ``clean`` means; the others move a Dice by thousandths."""

OUTLIER = 3.5
"""Largest modified z-score that is no outlier: Iglewicz and Hoaglin, "How to detect and handle
outliers", ASQC Quality Press 1993."""

RIPPLE_OUTLIER = 2.0
"""Scalloped outlines are a habit, so that they widen the very spread they are compared with."""

HEART_SHADOW_FLARE = 0.045
"""A left lung whose medial border lies no farther out beside the heart than this share of the
lungs' width holds the heart's shadow: in plainly drawn masks the heart pushes it out by 0.16 on
average and hardly ever by less than 0.07; where its shadow is included, by 0 on average."""

FEWEST_TO_COMPARE = 10
"""Fewer masks have no distribution to be outliers of."""


@dataclass(frozen=True)
class AuditRow:
    """What the audit says of one case.

    Attributes:
        dataset: the data set's name.
        case_id: the case.
        findings: names out of ``FINDINGS``.
        measures: what they rest on.
    """

    dataset: str
    case_id: str
    findings: tuple[str, ...]
    measures: MaskMeasures

    @property
    def suspect(self) -> bool:
        """Whether ``clean`` means leave the case out."""
        return any(finding in SUSPECT for finding in self.findings)


def audit(
    sources: Iterable[Source], cache: Path | None = None, progress: Progress = no_progress
) -> list[AuditRow]:
    """Audit every reference mask of some chest X-ray data sets.

    Args:
        sources: readers of data sets that are present.
        cache: a folder that remembers measures by the files' digests, or none.
        progress: shows the reading of masks.

    Raises:
        DataError: if a data set is absent, incomplete or damaged.
    """
    rows: list[AuditRow] = []
    for source in sources:
        if "lungs" not in source.structures or source.unit != "image":
            continue
        cases = source.cases()
        measures = _measures(source, cases, cache, progress)
        rows += [
            AuditRow(case.dataset, case.case_id, found, measured)
            for case, found, measured in zip(cases, judge(measures), measures, strict=True)
        ]
    return rows


def suspects(
    sources: Iterable[Source], cache: Path | None = None, progress: Progress = no_progress
) -> set[tuple[str, str]]:
    """Return the (data set, case id) pairs that ``clean`` means leave out; see ``audit``."""
    return {(row.dataset, row.case_id) for row in audit(sources, cache, progress) if row.suspect}


def judge(measures: Sequence[MaskMeasures]) -> list[tuple[str, ...]]:
    """Return each mask's findings, judged by thresholds and by its own data set's distribution.

    Args:
        measures: all masks of one data set.
    """
    uneven = np.abs(modified_z([math.log(max(m.side_ratio, 1e-6)) for m in measures])) > OUTLIER
    rippled = modified_z([math.log(m.ripple + 1e-6) for m in measures]) > RIPPLE_OUTLIER
    found = []
    for index, mask in enumerate(measures):
        verdicts = {
            "specks": mask.specks > 0,
            "holes": mask.holes > 0,
            "border": mask.border_px > 0,
            "side_ratio": bool(uneven[index]),
            "heart_shadow": mask.flare < HEART_SHADOW_FLARE,
            "scalloped": bool(rippled[index]),
        }
        found.append(tuple(name for name in FINDINGS if verdicts[name]))
    return found


def modified_z(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return each value's distance from the median in robust standard deviations, ``(N,)``.

    The spread is 1.4826 times the median absolute deviation (Iglewicz and Hoaglin 1993). With
    fewer than ``FEWEST_TO_COMPARE`` values, or without spread, all distances are 0.
    """
    data = np.asarray(values, np.float64)
    if len(data) < FEWEST_TO_COMPARE:
        return np.zeros(len(data))
    capped = np.nan_to_num(data, posinf=1e6, neginf=-1e6)
    away = capped - np.median(capped)
    spread = 1.4826 * float(np.median(np.abs(away)))
    return away / spread if spread > 0 else np.zeros(len(data))


def _measures(
    source: Source, cases: Sequence[Case], cache: Path | None, progress: Progress
) -> list[MaskMeasures]:
    if cache is None:
        return _measure_all(source, cases, progress)
    digests = Digests(cache / "digests.json")
    contents = digests.of_cases(cases, progress)
    digests.save()
    ids = json.dumps([AUDIT_FORMAT, source.name, [case.case_id for case in cases]])
    stored = cache / f"audit-{source.name}-{combined([ids, *contents])[:16]}.json"
    remembered = recall(stored)
    if remembered is not None:
        return [MaskMeasures(**entry) for entry in remembered]
    measured = _measure_all(source, cases, progress)
    remember(stored, [asdict(m) for m in measured])
    return measured


def _measure_all(source: Source, cases: Sequence[Case], progress: Progress) -> list[MaskMeasures]:
    def measure_case(case: Case) -> MaskMeasures:
        film = source.read_image(case)
        return measure_shape(source.read_masks(case, (film.shape[0], film.shape[1])))

    with ThreadPoolExecutor(cores()) as pool:
        done = pool.map(measure_case, cases)
        shown = progress(done, len(cases), f"auditing {source.name}")
        return list(cast("Iterable[MaskMeasures]", shown))


def write_audit(rows: Sequence[AuditRow], path: Path) -> None:
    """Write one CSV line a case.

    Columns: ``dataset case_id suspect findings`` (names apart by blanks), a 0/1 column
    ``finding_…`` for each of ``FINDINGS``, then the measures (see ``MaskMeasures``).
    """
    measures = [field.name for field in fields(MaskMeasures)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        named = [f"finding_{name}" for name in FINDINGS]
        table.writerow(["dataset", "case_id", "suspect", "findings", *named, *measures])
        for row in rows:
            flags = [int(name in row.findings) for name in FINDINGS]
            values = [
                round(value, 5) if isinstance(value, float) else value
                for value in asdict(row.measures).values()
            ]
            told = [row.dataset, in_a_cell(row.case_id), int(row.suspect), " ".join(row.findings)]
            table.writerow([*told, *flags, *values])

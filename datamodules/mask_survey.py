"""A look at all masks of a user's own data set, before anything trains on them.

What was seen of a case is remembered by the size and time of change of its files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from contract.errors import DataError
from contract.machine import cores
from datamodules.digests import Progress, file_signature, no_progress
from datamodules.remembered import recall, remember
from datamodules.sources import Case, OwnData
from datamodules.sources.masks import LabelValue

SURVEY_FORMAT = 1
"""Raised whenever the same files would be judged otherwise."""

WHITES = (1, 255, 65535)
"""The white of 1, 8 and 16 bits: one level, however it was saved."""
ALIKE = 8
"""Bright levels that lie no farther apart are one."""


@dataclass(frozen=True)
class Seen:
    """What reading one case's masks told.

    Attributes:
        fault: the parts of the error, empty where there was none.
        levels: the foreground of each binary file, by structure.
        present: the structures that are not empty.
    """

    fault: Sequence[str] = ()
    levels: Mapping[str, LabelValue] = field(default_factory=dict)
    present: Sequence[str] = ()


@dataclass(frozen=True)
class MaskSurvey:
    """What all masks of a data set told.

    Attributes:
        cases: how many cases there are.
        of_cases: the faults of single cases.
        of_set: faults that only the files together show.
    """

    cases: int
    of_cases: Sequence[DataError]
    of_set: Sequence[DataError]

    def require_clear(self) -> None:
        """Raise what was found: the fault of most cases, with their number.

        Raises:
            DataError: if there is any.
        """
        if self.of_set and not self.of_cases:
            raise self.of_set[0]
        if not self.of_cases:
            return
        kinds = Counter(error.kind for error in self.of_cases)
        kind, number = kinds.most_common(1)[0]
        error = next(error for error in self.of_cases if error.kind == kind)
        found = f"{error.found} (so in {number} of {self.cases} cases)"
        if len(kinds) > 1:
            found += f", and other faults in {len(self.of_cases) - number} more"
        raise DataError(error.where, found, error.expected, error.todo, error.kind)


def survey_masks(
    source: OwnData,
    cases: Sequence[Case],
    memory: Path | None = None,
    progress: Progress = no_progress,
) -> MaskSurvey:
    """Read all masks of a data set.

    Args:
        source: its reader.
        cases: its cases.
        memory: a file in which what was seen is remembered, or none.
        progress: shows the reading.
    """
    known: dict[str, Any] = (recall(memory) if memory else None) or {}
    signatures = {case.case_id: _signature(case) for case in cases}
    fresh = [case for case in cases if known.get(_key(case), [None])[0] != signatures[case.case_id]]
    if fresh:
        with ThreadPoolExecutor(cores()) as pool:
            done = progress(pool.map(partial(_look, source), fresh), len(fresh), "reading masks")
            for case, seen in zip(fresh, cast("Any", done), strict=True):
                known[_key(case)] = [signatures[case.case_id], asdict(seen)]
        if memory is not None:
            with suppress(OSError):  # it only saves time
                remember(memory, known)
    found = [Seen(**known[_key(case)][1]) for case in cases]
    faults = [DataError(*seen.fault) for seen in found if seen.fault]
    return MaskSurvey(len(cases), faults, [] if faults else _together(source, cases, found))


def _key(case: Case) -> str:
    described = case.described_by[0] if case.described_by else case.image.parent
    return f"{described}#{case.case_id}"


def _signature(case: Case) -> list[object]:
    return [SURVEY_FORMAT, *(file_signature(path) for path in case.files)]


def _look(source: OwnData, case: Case) -> Seen:
    try:
        masks, levels = source.masks_and_levels(case, source.film_shape(case))
    except DataError as error:
        return Seen((error.where, error.found, error.expected, error.todo, error.kind))
    return Seen((), levels, [name for name, mask in masks.items() if mask.any()])


def _together(source: OwnData, cases: Sequence[Case], found: Sequence[Seen]) -> list[DataError]:
    faults = []
    for structure in dict.fromkeys(name for seen in found for name in seen.levels):
        levels: dict[LabelValue, list[Case]] = {}
        for case, seen in zip(cases, found, strict=True):
            if structure in seen.levels:
                levels.setdefault(seen.levels[structure], []).append(case)
        if not _one_level(levels):
            told = ", ".join(
                f"{value} in {len(own)} (such as {own[0].masks[structure][0].name})"
                for value, own in sorted(levels.items(), key=lambda item: -len(item[1]))[:5]
            )
            folder = next(iter(levels.values()))[0].masks[structure][0].parent
            values = ", ".join(f'"{v}"' if isinstance(v, str) else str(v) for v in levels)
            faults.append(
                DataError(
                    folder,
                    f"masks of {len(levels)} levels: {told}",
                    "one value of foreground in all of them",
                    f"state what each means, e.g. labels: {{lungs: [{values}]}} where all are lung",
                    kind="colours" if isinstance(next(iter(levels)), str) else "several_greys",
                )
            )
    present = {name for seen in found for name in seen.present}
    for structure in source.structures:
        if structure not in present and structure != "heart":
            faults.append(
                DataError(
                    source.folder,
                    f"no {structure} in any of {len(cases)} masks",
                    "the structures that the description names",
                    "mend labels, or the folder of these masks",
                    kind="empty_mask",
                )
            )
    return faults


def _one_level(levels: Mapping[LabelValue, object]) -> bool:
    """Tell whether the foreground values of several files are one level."""
    numbers = [value for value in levels if isinstance(value, int)]
    if len(numbers) < len(levels):
        return len(levels) == 1
    others = [value for value in numbers if value not in WHITES]
    if not others:
        return True
    bright = max(numbers) if max(numbers) <= 255 else 0
    return len(numbers) == 1 or all(value > 127 and bright - value <= ALIKE for value in numbers)

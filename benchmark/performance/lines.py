"""What a line of the table is: a goal, how it is measured, and what came of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark.performance.timing import Sample

Topic = Literal["scoring", "training", "data", "processes", "gpu"]
TOPICS: tuple[Topic, ...] = ("scoring", "training", "data", "processes", "gpu")
LEFT_OUT = "left out by --only"
"""Why a line of another topic than the chosen ones was not measured."""


class NotMeasuredError(Exception):
    """A line cannot be measured here and now; the message says why and what to do."""


class DifferentValuesError(Exception):
    """Two ways that compute the same came to different values, so their times say nothing."""


@dataclass(frozen=True)
class Setting:
    """What one run of ``perf`` was given.

    Attributes:
        folder: an empty folder for what is written.
        rounds: how often a pair is timed.
        device: ``cpu`` or ``gpu``.
        long: whether lines that take longer than minutes are measured.
        data_root: real data, or none.
    """

    folder: Path
    rounds: int = 5
    device: str = "cpu"
    long: bool = False
    data_root: Path | None = None

    def place(self, name: str) -> Path:
        """Return a folder of that name, made if it is not there."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def require_long(self) -> None:
        """Leave a line out that takes long, unless it was asked for.

        Raises:
            NotMeasuredError: without ``--long``.
        """
        if not self.long:
            raise NotMeasuredError("takes long; ARGS=--long measures it")

    def real_data(self) -> Path:
        """Return the data root.

        Raises:
            NotMeasuredError: if none was given.
        """
        if self.data_root is None:
            raise NotMeasuredError('needs real films; ARGS="--data-root /your/data" measures it')
        return self.data_root


@dataclass(frozen=True)
class Goal:
    """A limit that a line's median keeps or misses.

    Attributes:
        limit: the number.
        sense: on which side of it the median should lie.
    """

    limit: float
    sense: Literal["at least", "at most"]

    def is_met(self, value: float) -> bool:
        """Tell whether a value keeps the limit."""
        return value >= self.limit if self.sense == "at least" else value <= self.limit


@dataclass(frozen=True)
class Measured:
    """What a line came to.

    Attributes:
        sample: the numbers that the goal is about, in the line's unit.
        note: what they cannot tell: the times behind a ratio, a second number.
        bound: ``<`` or ``>`` where the true number is not known, only that it lies below or above.
    """

    sample: Sample
    note: str = ""
    bound: Literal["", "<", ">"] = ""

    def verdict(self, goal: Goal) -> Literal["met", "missed", "open"]:
        """Tell whether the median keeps a goal; ``open`` where a bound does not decide that."""
        met = goal.is_met(self.sample.middle)
        good_side = "<" if goal.sense == "at most" else ">"
        if self.bound and met != (self.bound == good_side):
            return "open"
        return "met" if met else "missed"


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        key: the goal's number, and a letter where it has several lines.
        topic: what it is about, as in ``--only``.
        what: what is done here.
        beside: what stands beside it.
        unit: of the number: ``× as fast``, ``× the time``, ``ms`` …
        measure: measures it.
        goal: what it should come to, or none where the number is for information.
    """

    key: str
    topic: Topic
    what: str
    beside: str
    unit: str
    measure: Callable[[Setting], Measured]
    goal: Goal | None = None

    @property
    def place(self) -> tuple[int, str]:
        """Where it stands in the table: the goal's number, then the letter."""
        number = self.key.rstrip("abcdefgh")
        return int(number), self.key.removeprefix(number)


@dataclass(frozen=True)
class Outcome:
    """A line with what came of it.

    Attributes:
        line: the line.
        measured: what it came to; None where it was not measured.
        reason: why it was not measured.
    """

    line: Line
    measured: Measured | None
    reason: str = ""

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, ``open``, ``not measured``, or a dash where there is no goal."""
        if self.measured is None:
            return "not measured"
        if self.line.goal is None:
            return "–"
        return self.measured.verdict(self.line.goal)


def outcome_of(line: Line, setting: Setting) -> Outcome:
    """Measure a line, or say why that cannot be.

    Raises:
        DifferentValuesError: if two ways came to different values.
    """
    try:
        return Outcome(line, line.measure(setting))
    except NotMeasuredError as error:
        return Outcome(line, None, str(error))


def require_peer(module: str) -> None:
    """Leave a line out whose peer is absent.

    Raises:
        NotMeasuredError: if the module cannot be found.
    """
    if importlib.util.find_spec(module) is None:
        raise NotMeasuredError(f"{module} is not installed; `make perf` installs it")


def require_equal(what: str, here: float, beside: float, within: float) -> None:
    """Compare a number that two ways came to.

    Args:
        what: the number's name and the other way.
        here: the project's.
        beside: the other's.
        within: how far they may lie apart.

    Raises:
        DifferentValuesError: if they lie further apart.
    """
    if not abs(here - beside) <= within:  # NaN is no equal
        raise DifferentValuesError(f"{what}: {here!r} here, {beside!r} there")

"""Two ways of doing the same, timed in turn: machines drift, and a ratio of neighbours drifts less.

An act is called and returns the seconds that it took, by a clock of its own choice.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

TimedAct = Callable[[], float]


@dataclass(frozen=True)
class Sample:
    """Numbers of one kind, one a round.

    Attributes:
        values: the numbers, in the order of their rounds.
    """

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def low(self) -> float:
        """The lowest."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The highest."""
        return max(self.values)


@dataclass(frozen=True)
class Pairs:
    """What two ways took, round by round.

    Attributes:
        here: seconds of the project's way.
        beside: seconds of the other.
    """

    here: Sample
    beside: Sample

    @property
    def cost(self) -> Sample:
        """Seconds here over seconds beside, of each round."""
        both = zip(self.here.values, self.beside.values, strict=True)
        return Sample(tuple(here / beside for here, beside in both))

    @property
    def speed(self) -> Sample:
        """Seconds beside over seconds here, of each round."""
        return Sample(tuple(1 / cost for cost in self.cost.values))


def wall(act: Callable[[], object]) -> TimedAct:
    """Return an act that takes what another one takes, by the clock on the wall."""

    def timed() -> float:
        began = time.perf_counter()
        act()
        return time.perf_counter() - began

    return timed


def in_turn(here: TimedAct, beside: TimedAct, rounds: int, warm_up: bool = True) -> Pairs:
    """Time two acts in turn; which comes first changes from round to round.

    Args:
        here: the project's way.
        beside: the other.
        rounds: how many pairs count.
        warm_up: whether both are done once before, uncounted.
    """
    if warm_up:
        here(), beside()
    taken: list[tuple[float, float]] = []
    for number in range(rounds):
        if number % 2:
            other = beside()
            taken.append((here(), other))
        else:
            taken.append((here(), beside()))
    mine, theirs = zip(*taken, strict=True)
    return Pairs(Sample(mine), Sample(theirs))


def alone(act: TimedAct, rounds: int) -> Sample:
    """Time an act that nothing stands beside, after doing it once."""
    act()
    return Sample(tuple(act() for _ in range(rounds)))


def cpu_of_process(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> TimedAct:
    """Return an act that runs a process and takes its CPU time, that of its children included.

    Args:
        command: the program and its arguments.
        environment: added to this process's.

    Raises:
        subprocess.CalledProcessError: by the act, if the process fails.
    """

    def timed() -> float:
        before = _children()
        subprocess.run(
            command, check=True, capture_output=True, text=True,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        return _children() - before

    return timed


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Keep this process, and the threads and processes that it starts, on so many cores.

    Libraries keep threads of their own, OpenCV as many as there were cores when it first used
    some: left where they are, they would go on working on the others.
    """
    before = os.sched_getaffinity(0)
    _keep_on(set(sorted(before)[:count]))
    try:
        yield
    finally:
        _keep_on(before)


def _keep_on(cores: set[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(int(thread.name), cores)

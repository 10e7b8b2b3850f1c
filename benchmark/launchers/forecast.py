"""How long cells will take: which to begin first, and when a suite will be through."""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from benchmark.cell.cell import Cell
from benchmark.progress import read_progress


def work(cell: Cell) -> float:
    """Return a cell's size in epochs × training cases × pixels."""
    assert cell.config is not None
    epochs = cell.config["trainer"].get("max_epochs") or 1
    size = cell.config["data"]["init_args"]["preprocessing"].get("size", 512)
    return float(epochs * cell.counts[0] * size**2)


def longest_first(cells: Sequence[Cell]) -> list[Cell]:
    """Order by size: a long cell begun last would be waited for."""
    return sorted(cells, key=work, reverse=True)


class Gauge:
    """How far a running cell is, measured from when this start of it was first heard of.

    Args:
        cell: the cell.
        clock: seconds, ever growing.
    """

    def __init__(self, cell: Cell, clock: Callable[[], float] = time.monotonic) -> None:
        self._cell, self._clock = cell, clock
        self._old = read_progress(cell.files.progress)
        self._began = self._since = clock()
        self._first = 0.0
        self.what, self.done, self.total = "starting", 0.0, 0.0

    def read(self) -> None:
        """Read the progress file."""
        said = read_progress(self._cell.files.progress)
        if said is None or said == self._old:
            return
        self._old = None
        if said.what != self.what:
            self.what = said.what
            self._since, self._first = self._clock(), said.done
        self.done, self.total = said.done, said.total

    @property
    def left_s(self) -> float | None:
        """Seconds left of what the cell is doing, None where that is not known yet."""
        gone, spent = self.done - self._first, self._clock() - self._since
        return spent / gone * max(0.0, self.total - self.done) if gone > 0 else None

    @property
    def age_s(self) -> float:
        """Seconds since the cell began."""
        return self._clock() - self._began

    @property
    def pace(self) -> float | None:
        """Seconds for each unit of work, None where that is not known yet."""
        gone, spent = self.done - self._first, self._clock() - self._since
        if self.what != "training" or gone <= 0 or not self.total or not work(self._cell):
            return None
        return spent / (work(self._cell) * gone / self.total)


class Forecast:
    """Estimates when the last cell will end, from what the cells so far have taken.

    Args:
        slots: cells at a time.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._paces: dict[str, list[float]] = defaultdict(list)

    def learn(self, cell: Cell, seconds: float) -> None:
        """Note what a finished cell took."""
        if cell.config is not None and work(cell):
            self._paces[cell.system].append(seconds / work(cell))

    def left_s(self, running: Mapping[Cell, Gauge], waiting: Iterable[Cell]) -> float | None:
        """Return the seconds until the last cell ends, None where too little is known.

        Args:
            running: the running cells and how far they are.
            waiting: the others, in the order in which they will begin.
        """
        now = {cell.system: gauge.pace for cell, gauge in running.items()}
        ends = []
        for cell, gauge in running.items():
            left = gauge.left_s
            if left is None and (expected := self._expected(cell, now)) is not None:
                left = max(0.0, expected - gauge.age_s)
            ends.append(left)
        following = [self._expected(cell, now) for cell in waiting]
        known_ends = [end for end in ends if end is not None]
        known = [seconds for seconds in following if seconds is not None]
        if len(known_ends) < len(ends) or len(known) < len(following):
            return None
        free = (known_ends + [0.0] * self._slots)[: max(self._slots, len(known_ends))]
        heapq.heapify(free)
        for seconds in known:
            heapq.heapreplace(free, free[0] + seconds)
        return max(free, default=0.0)

    def _expected(self, cell: Cell, now: Mapping[str, float | None]) -> float | None:
        """Return a cell's seconds by its system's pace, or by that of all systems so far."""
        paces = self._paces.get(cell.system) or [p for p in [now.get(cell.system)] if p]
        if not paces:
            paces = [pace for of in self._paces.values() for pace in of]
            paces += [pace for pace in now.values() if pace]
        return sum(paces) / len(paces) * work(cell) if paces else None

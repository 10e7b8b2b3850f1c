"""Shows how far a suite is: bars on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from benchmark.cell.cell import Cell
from benchmark.launchers.forecast import Forecast, Gauge
from benchmark.progress import duration, on_terminal, say

EVERY_S = 30.0


class Board:
    """What runs, what waits, and when all will be through.

    Args:
        cells: the cells in the order in which they will begin.
        slots: cells at a time.
        earlier: finished cells and their seconds, from which the forecast starts.
    """

    def __init__(
        self, cells: Sequence[Cell], slots: int, earlier: Iterable[tuple[Cell, float]] = ()
    ) -> None:
        self._waiting, self._total = list(cells), len(cells)
        self._running: dict[Cell, Gauge] = {}
        self._forecast = Forecast(slots)
        self._lock, self._stop = threading.Lock(), threading.Event()
        for cell, seconds in earlier:
            self._forecast.learn(cell, seconds)

    def begin(self, cell: Cell) -> None:
        """Note that a cell starts."""
        with self._lock:
            self._waiting.remove(cell)
            self._running[cell] = Gauge(cell)

    def end(self, cell: Cell, seconds: float, done: bool) -> None:
        """Note that a cell ended, and what it took if it did all its work."""
        with self._lock:
            self._running.pop(cell)
            if done:
                self._forecast.learn(cell, seconds)

    def close(self) -> None:
        """Show nothing more."""
        self._stop.set()

    def left(self) -> str:
        """Return when all cells will be through, in words; nothing if none is left or known."""
        with self._lock:
            running, waiting = dict(self._running), list(self._waiting)
        if not running and not waiting:
            return ""
        for gauge in running.values():
            gauge.read()
        seconds = self._forecast.left_s(running, waiting)
        return "" if seconds is None else f"about {duration(seconds)} left"

    def show(self) -> None:
        """Show the state until ``close``; meant for a thread of its own."""
        if on_terminal():
            self._show_bars()
            return
        while not self._stop.wait(EVERY_S):
            say(self.line())

    def line(self) -> str:
        """Return the state in one line."""
        left = self.left()
        told = "; ".join(_told(cell, gauge) for cell, gauge in list(self._running.items()))
        waiting = f" | {len(self._waiting)} waiting" if self._waiting else ""
        return f"running: {told}{waiting}{f' | suite: {left}' if left else ''}"

    def _show_bars(self) -> None:
        from benchmark.terminal import bars

        with bars() as progress:
            suite = progress.add_task("suite", total=self._total)
            tasks: dict[Cell, object] = {}
            while not self._stop.wait(0.5):
                left = self.left()
                current = dict(self._running)
                ended = self._total - len(self._waiting) - len(current)
                progress.update(suite, completed=ended, description=f"suite {left}".strip())
                for cell, gauge in current.items():
                    if cell not in tasks:
                        tasks[cell] = progress.add_task(cell.name, total=None)
                    progress.update(
                        tasks[cell],  # type: ignore[arg-type]
                        completed=gauge.done,
                        total=gauge.total or None,
                        description=f"{cell.name} {gauge.what}",
                    )
                for cell in set(tasks) - set(current):
                    progress.remove_task(tasks.pop(cell))  # type: ignore[arg-type]


def _told(cell: Cell, gauge: Gauge) -> str:
    if gauge.what == "starting":
        return f"{cell.name} (starting)"
    left = f", {duration(gauge.left_s)} left" if gauge.left_s is not None else ""
    return f"{cell.name} {gauge.what} {gauge.done:.0f}/{gauge.total:.0f}{left}"

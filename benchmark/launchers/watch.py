"""Time limits of a cell, and its signs of life."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmark.progress import duration
from contract.cell_folder import CellFolder

START_S = 600.0
"""A cell that has not begun to train or test may be silent for so long: libraries load slowly
from a network's disk."""

SECONDS_IN = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Limits:
    """When a cell is given up; None is never.

    Attributes:
        cell_s: seconds that a cell may take in one go.
        silence_s: seconds without a new line in its log or a new word in its progress file.
    """

    cell_s: float | None = None
    silence_s: float | None = 1800.0


class Pulse:
    """Tells when a started cell has gone past its limits.

    Args:
        folder: the cell's folder.
        limits: the limits.
        clock: seconds, ever growing.
    """

    def __init__(
        self, folder: Path, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._files, self._limits, self._clock = CellFolder(folder), limits, clock
        self._before = self._last = self._signs()
        self._started = self._heard = clock()

    def overdue(self) -> str:
        """Return why the cell is to be given up, or nothing."""
        now = self._clock()
        signs = self._signs()
        if signs != self._last:
            self._last, self._heard = signs, now
        if self._limits.cell_s is not None and now - self._started > self._limits.cell_s:
            return f"time limit of {duration(self._limits.cell_s)} reached"
        if self._limits.silence_s is None:
            return ""
        begun = signs[0] != self._before[0]
        allowed = self._limits.silence_s if begun else max(self._limits.silence_s, START_S)
        silent = now - self._heard
        return f"no sign of life for {duration(silent)}" if silent > allowed else ""

    def _signs(self) -> tuple[object, object]:
        return _sign(self._files.progress), _sign(self._files.log)


def _sign(path: Path) -> object:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def seconds(text: str) -> float | None:
    """Read a duration such as ``90s``, ``30m``, ``2h``, ``1.5d`` or ``none``, for argparse.

    Raises:
        argparse.ArgumentTypeError: if it is anything else.
    """
    if text == "none":
        return None
    try:
        value = float(text[:-1]) * SECONDS_IN[text[-1:]]
    except (ValueError, KeyError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration like 90s, 30m, 2h or none")
    return value

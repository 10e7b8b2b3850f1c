"""Progress for people and for the launcher: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import cast

from contract.files import read_object, replacing


def on_terminal() -> bool:
    """Tell whether somebody looks at a terminal, who is shown bars."""
    return sys.stdout.isatty()


def say(text: str) -> None:
    """Print a line for people at once; those of several threads stay apart."""
    print(f"{text}\n", end="", flush=True)


def shown(items: Iterable[object], total: int, title: str) -> Iterator[object]:
    """Yield the items, showing a bar on a terminal and a line every ten seconds elsewhere."""
    if on_terminal():
        from benchmark.terminal import bars

        with bars() as progress:
            yield from progress.track(items, total=total, description=title)
        return
    started = spoken = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - spoken >= 10:
            spoken = now
            left = (now - started) / done * (total - done)
            say(f"{title}: {done}/{total}, {duration(left)} left")


def duration(seconds: float) -> str:
    """Return ``h:mm:ss``, of more than 30 years that many."""
    return str(timedelta(seconds=max(0, round(min(seconds, 1e9)))))


class ProgressFile:
    """A small file in which a cell says how far it is, for the launcher and ``status``.

    Args:
        path: the file, replaced at most every two seconds.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._written = path, 0.0

    def write(self, done: float, total: float, what: str, now: bool = False) -> None:
        """Record progress.

        Args:
            done: units done.
            total: units in all.
            what: one short phrase.
            now: write even if the last time was just before.
        """
        if now or time.monotonic() - self._written >= 2:
            self._written = time.monotonic()
            text = json.dumps({"done": done, "total": total, "what": what})
            with replacing(self._path, durable=False) as file:
                file.write(text.encode())


@dataclass(frozen=True)
class CellProgress:
    """What a cell last said of its progress.

    Attributes:
        done: units done.
        total: units in all.
        what: what it does, in a short phrase.
    """

    done: float
    total: float
    what: str


def read_progress(path: Path) -> CellProgress | None:
    """Return what a cell last said of its progress; None where the file holds anything else."""
    said = read_object(path, largest=1 << 16)
    done, total, what = (said.get(name) for name in ("done", "total", "what"))
    # Letters alone: the display would take brackets for colours.
    worded = isinstance(what, str) and re.fullmatch(r"[\w ,.-]{1,80}", what) is not None
    if not (worded and _is_amount(done) and _is_amount(total)):
        return None
    return CellProgress(float(cast("float", done)), float(cast("float", total)), str(what))


def _is_amount(said: object) -> bool:
    """Tell whether a number counts something: nothing, or a share of one, up to very many."""
    if type(said) not in (int, float):
        return False
    return said == 0 or 1e-6 <= cast("float", said) < 1e12

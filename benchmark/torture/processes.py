"""Starts the command line in forks of this process, and kills whatever belongs to the torture.

Libraries take longer to load than a tiny cell takes to train: a fork has them already, and does
what ``lungbench fit`` or ``run`` does. The cells of a ``run`` and further ranks start as always.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.cell.peers import LEADER
from benchmark.cell.signature import birth, signature_of
from benchmark.start import FILE
from benchmark.torture.scene import ENVIRONMENT

RUN, CELL, RANK = "run", "cell", "rank"
"""What may be killed: a ``run``, the first process of a cell, and a further one."""


@dataclass
class Started:
    """A command that this process started.

    Attributes:
        kind: ``RUN`` or ``CELL``.
        words: its arguments.
        pid: its process.
        log: where it prints.
        code: its exit code, None while it lives.
    """

    kind: str
    words: Sequence[str]
    pid: int
    log: Path
    code: int | None = None


@dataclass
class Stable:
    """The processes of a torture.

    Attributes:
        started: the commands that live.
        ended: those that ended.
    """

    started: list[Started] = field(default_factory=list)
    ended: list[Started] = field(default_factory=list)

    def start(self, kind: str, words: Sequence[str], log: Path, quota: int | None = None) -> None:
        """Start a command of ``lungbench``.

        Args:
            kind: ``RUN`` or ``CELL``.
            words: its arguments.
            log: where it prints, added to what stands there.
            quota: bytes that a file of it may have at most; any, if None.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        pid = os.fork()
        if pid == 0:
            _be(words, log, quota)
        self.started.append(Started(kind, words, pid, log))

    def look(self) -> None:
        """Take note of those that have ended."""
        for one in list(self.started):
            pid, status = os.waitpid(one.pid, os.WNOHANG)
            if pid:
                one.code = os.waitstatus_to_exitcode(status)
                self.started.remove(one)
                self.ended.append(one)

    def wait(self, folders: Iterable[Path], limit_s: float) -> bool:
        """Wait until all have ended, those that a killed ``run`` left in cells too."""
        folders, until = list(folders), time.monotonic() + limit_s
        while time.monotonic() < until:
            self.look()
            if not self.started and not any(owner_of(folder) for folder in folders):
                return True
            time.sleep(0.2)
        return False

    def living(self, folders: Iterable[Path]) -> list[tuple[str, int]]:
        """Return kind and process of all that may be killed.

        Args:
            folders: the cells' folders, whose owners may be children of a ``run``.
        """
        self.look()
        found = {one.pid: one.kind for one in self.started}
        for folder in folders:
            owner = owner_of(folder)
            if owner is not None:
                found.setdefault(owner, CELL)
        cells = [pid for pid, kind in found.items() if kind == CELL]
        found |= {child: RANK for pid in cells for child in _ranks(pid)}
        return [(kind, pid) for pid, kind in found.items()]

    def end_all(self, folders: Iterable[Path]) -> None:
        """Kill everything."""
        for _, pid in self.living(list(folders)):
            kill(pid)
        for one in self.started:
            os.waitpid(one.pid, 0)
        self.started.clear()


def load_libraries() -> None:
    """Load what cells need, once, and keep torch from threads that a fork would lack."""
    import torch

    import benchmark.cell.fit  # noqa: F401

    torch.set_num_threads(1)


def kill(pid: int) -> bool:
    """Kill a process as the system does where memory ends; tell whether it lived."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def owner_of(folder: Path) -> int | None:
    """Return the living process of this machine that works on a cell."""
    signed = signature_of(folder)
    if signed is None or not signed.here or birth(signed.pid) != signed.born:
        return None
    return signed.pid


def _ranks(pid: int) -> list[int]:
    """Return the further processes of a cell; none can be found where there is no ``/proc``."""
    found = []
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(OSError):
                said = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
                if b"LOCAL_RANK=1" in said:
                    found.append(int(child))
    return found


def _be(words: Sequence[str], log: Path, quota: int | None) -> None:
    """Become a command: run it in this process, a fork, and never return."""
    code = 1
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(descriptor, number)
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        os.environ.update(ENVIRONMENT)
        os.environ.pop(LEADER, None)
        # A launcher shares out the cores that it may use: one thread a cell, as undisturbed.
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})
        # Lightning starts further ranks as this process was started, as it believes.
        sys.argv = [str(FILE), "benchmark", *words]
        sys.modules["__main__"].__spec__ = None
        if quota is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (quota, quota))
        from benchmark.__main__ import main

        code = main(words)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)

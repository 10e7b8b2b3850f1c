"""The processes of one cell: they end together, and the fault that came first is the cell's.

Lightning starts one process a device; the first starts the others. A killed one leaves the others
waiting for it, for half an hour or for ever, and all they can say is that a connection broke.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from benchmark.failures import PeerError, explain, explain_exit
from contract.files import read_object, replacing

LEADER = "LUNGBENCH_LEADER"
"""The environment variable that tells further processes who the first one is."""
FAULT = ".fault-"
"""The files in which processes say why they failed begin so; the next owner removes them."""
LOOK_S = 0.5
NOTICE_S = 2.0
"""A process whose connection broke looks for the cause for so long."""
PARTING_S = 10.0
"""What the first process gets to end by itself after it lost another one."""


def follow_leader() -> None:
    """End this process when the first one is gone, also while this one still starts.

    Does nothing in the first process, and where ``srun`` looks after all. Systems that give an
    orphan no new parent (Windows) do not show that the first one is gone.
    """
    leader, rank = os.environ.get(LEADER), os.environ.get("LOCAL_RANK", "0")
    if leader is None or rank == "0":
        return

    def watch() -> None:
        while str(os.getppid()) == leader:
            time.sleep(LOOK_S)
        print(
            f"lungbench: process {rank} ends, since the first process is gone",
            file=sys.stderr, flush=True,
        )  # fmt: skip
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def fault_file(folder: Path, rank: int) -> Path:
    """Return where a process of a cell says why it failed."""
    return folder / f"{FAULT}{rank}"


def first_fault(folder: Path) -> str:
    """Return why the process of a cell failed that was the first to say so, or nothing."""
    found = []
    for path in folder.glob(f"{FAULT}*"):
        reason = read_object(path).get("reason")
        with suppress(OSError):  # removed by the cell's next owner
            if isinstance(reason, str) and reason:
                found.append((path.stat().st_mtime_ns, path.name, reason))
    return min(found)[2] if found else ""


def _told_count() -> int:
    """Return how many processes the cell has; Lightning takes its word back when it ends."""
    under_srun = "LUNGBENCH_SRUN" in os.environ
    return int(os.environ.get("SLURM_NTASKS" if under_srun else "WORLD_SIZE") or 1)


class Peers:
    """This process among those of its cell.

    Args:
        folder: the cell's folder.
        rank: this process's number, 0 for the first.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self._folder, self._rank = folder, rank
        self._children: Sequence[subprocess.Popen[bytes]] = ()
        self._lost: Callable[[BaseException], None] = lambda error: None
        self._count = _told_count()
        if rank == 0:
            os.environ[LEADER] = str(os.getpid())

    def when_lost(self, act: Callable[[BaseException], None]) -> None:
        """Say what is to be done before this process ends because it lost another one."""
        self._lost = act

    def watch(self, children: Sequence[subprocess.Popen[bytes]]) -> None:
        """Look after the processes that this one, the first, has started, in order of rank."""
        self._children, self._count = children, _told_count()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        # One with a fault may wait for the others before it ends, as those wait for it.
        while not any(child.poll() for child in self._children) and not self._others_fault():
            if all(child.returncode == 0 for child in self._children):
                return
            time.sleep(LOOK_S)
        time.sleep(PARTING_S)  # mostly this process hears of it, by a broken connection
        codes = [child.poll() for child in self._children if child.poll()]
        interrupted = codes[:1] in ([-signal.SIGINT], [-signal.SIGTERM], [130])
        error = KeyboardInterrupt() if interrupted else PeerError(self._cause())
        for child in self._children:
            child.kill()
        self._lost(error)
        print(f"lungbench: {explain(error)}", file=sys.stderr, flush=True)
        os._exit(1)

    def _others_fault(self) -> bool:
        ranks = range(1, len(self._children) + 1)
        return any(fault_file(self._folder, rank).exists() for rank in ranks)

    def first_error(self, error: BaseException) -> BaseException:
        """Leave word of an error and return the first one that any process of the cell met.

        Args:
            error: what ended this process; interruptions are their own cause.
        """
        if self._count == 1 or isinstance(error, (KeyboardInterrupt, SystemExit)):
            return error
        own = explain(error)
        own = own if self._rank == 0 else f"process {self._rank} of {self._count}: {own}"
        with (
            suppress(OSError),
            replacing(fault_file(self._folder, self._rank), durable=False) as file,
        ):
            file.write(json.dumps({"reason": own}).encode())
        if self._rank > 0:
            return error
        until = time.monotonic() + NOTICE_S
        while time.monotonic() < until and all(child.poll() is None for child in self._children):
            time.sleep(0.05)
        cause = self._cause() or own
        return error if cause == own else PeerError(cause)

    def _cause(self) -> str:
        """Return why the processes end, as far as it can be told.

        A kill from outside leaves no word, and the words that others leave are its echo. One that
        left its word was killed because it did not end.
        """
        ended = [(rank, child.poll()) for rank, child in enumerate(self._children, 1)]
        silent = [rank for rank, _ in ended if not fault_file(self._folder, rank).exists()]
        kill = -getattr(signal, "SIGKILL", 9)
        told = {
            rank: f"process {rank} of {self._count} {'was' if code < 0 else 'ended with'} "
            f"{explain_exit(code)}"
            for rank, code in ended
            if code
        }
        killed = [told[rank] for rank, code in ended if code == kill and rank in silent]
        return (killed or [first_fault(self._folder)])[0] or next(iter(told.values()), "")

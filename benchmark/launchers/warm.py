"""The launcher's side of the nursery: cells are forked from a process that has loaded everything.

Loading torch and Lightning takes longer than a small cell trains. Where forking does not serve
(a single cell, several devices a cell, another system than Linux) cells start cold, as they do
with ``LUNGBENCH_COLD=1``.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from benchmark.launchers.slots import Slots
from benchmark.progress import say
from benchmark.start import command

COLD = "LUNGBENCH_COLD"
"""The environment variable that has every cell load its libraries anew."""
FORKS_SAFELY = {
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}
"""Has no library start a thread when it is loaded, nor CUDA when torch is asked for GPUs: neither
outlives a fork."""
ANSWER_S = 0.2
"""How often, in seconds, a wait for an answer looks whether the suite was stopped."""
TOLD = "cells load their libraries themselves from here on"
UNKNOWN = -9
"""The exit code of a cell whose nursery is gone: most likely both were killed."""


class StartedProcess(Protocol):
    """A started process, as ``subprocess.Popen`` is one."""

    pid: int
    returncode: Any

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process and return its exit code."""

    def kill(self) -> None:
        """Kill the process."""


class WarmProcess:
    """A cell's process that the nursery forked.

    Args:
        pid: its id, which is its process group's too.

    Attributes:
        pid: its id.
        returncode: its exit code as ``subprocess`` has it, None while it runs.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = threading.Event()

    def end(self, code: int) -> None:
        """Note that the process has ended."""
        self.returncode = code
        self._ended.set()

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process and return its exit code.

        Raises:
            subprocess.TimeoutExpired: if it still runs after ``timeout`` seconds.
        """
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """Kill the process."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, 9)


class WarmStarts:
    """Starts a nursery and has it fork cells; threads may ask at the same time."""

    def __init__(self) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command("benchmark.cell.nursery"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._said, env={**os.environ, **FORKS_SAFELY},
            start_new_session=True,
        )  # fmt: skip
        self._lock = threading.Lock()
        self._answers: dict[int, WarmProcess | None] = {}
        self._answered = threading.Condition()
        self._running: dict[int, WarmProcess] = {}
        self._count, self._over, self._stopped = 0, False, False
        threading.Thread(target=self._listen, daemon=True).start()

    def start(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        stop: threading.Event,
    ) -> WarmProcess | None:
        """Fork a cell once everything is loaded.

        Args:
            words: the command, as ``lungbench`` takes it.
            environment: the cell's, its slot's among it.
            log: what its output is appended to.
            stop: when nothing is to be started any more; the nursery ends then, loading or not.

        Returns:
            The cell's process, or None where the nursery cannot fork it; why has been said.
        """
        with self._lock:
            self._count += 1
            number = self._count
        request = {"number": number, "words": list(words), "environment": dict(environment),
                   "log": str(log)}  # fmt: skip
        if not self._ask(request):
            return None
        with self._answered:
            while not self._over and number not in self._answers:
                if stop.is_set():
                    self._stopped = True
                    self._process.kill()
                self._answered.wait(ANSWER_S)
            return self._answers.pop(number, None)

    def _ask(self, request: Mapping[str, Any]) -> bool:
        with self._lock:
            pipe = self._process.stdin
            assert pipe is not None
            try:
                pipe.write(json.dumps(request).encode() + b"\n")
                pipe.flush()
            except (OSError, ValueError):
                return False
            return not self._over

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):  # or it was killed in the middle of a word
                self._hear(json.loads(line))
        code = self._process.wait()
        with self._answered:
            self._over = True
            self._answered.notify_all()
        if code and not self._stopped:
            told = self._last_line()
            say(f"{TOLD}: the process that had loaded them ended (exit code {code}{told})")
        for cell in list(self._running.values()):
            threading.Thread(target=_see_end, args=(cell,), daemon=True).start()

    def _hear(self, reply: Mapping[str, Any]) -> None:
        number = reply.get("number")
        if number is None:
            return  # it is ready
        if "fault" in reply:
            say(f"a cell loads its libraries itself: {reply['fault']}")
        with self._answered:
            if "code" in reply:
                self._running.pop(number).end(reply["code"])
                return
            process = WarmProcess(reply["pid"]) if "pid" in reply else None
            if process is not None:
                self._running[number] = process
            self._answers[number] = process
            self._answered.notify_all()

    def _last_line(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {last[:200]}" if last else ""

    def close(self) -> None:
        """End the nursery, loading or not; cells that it forked live on."""
        self._stopped = True
        self._process.kill()
        self._process.wait()


@contextmanager
def warm_starts_for(count: int, slots: Slots) -> Iterator[WarmStarts | None]:
    """Give a nursery where it serves.

    Args:
        count: cells to run.
        slots: what each gets of the machine.
    """
    serves = (
        count > 1
        and sys.platform == "linux"
        and all(slot.devices == 1 for slot in slots.all)
        and not os.environ.get(COLD)
    )
    if not serves:
        yield None
        return
    nursery = None
    try:
        with _interrupts_held_back():
            nursery = WarmStarts()
        yield nursery
    finally:
        if nursery is not None:
            nursery.close()


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Have Ctrl-C and its kin wait: between a process's start and its name nobody could end it."""
    if threading.current_thread() is not threading.main_thread():  # which alone is interrupted
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in
                (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}  # fmt: skip
    held = {number: handler for number, handler in handlers.items() if callable(handler)}
    for name in held:
        signal.signal(name, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for name, handler in held.items():
            signal.signal(name, handler)
        if came:
            signal.raise_signal(came[0])


def _see_end(cell: WarmProcess) -> None:
    """Wait for an orphan, whose exit code nobody knows."""
    try:
        watched = os.pidfd_open(cell.pid)
    except OSError:
        cell.end(UNKNOWN)
        return
    try:
        select.select([watched], [], [])
    finally:
        os.close(watched)
    cell.end(UNKNOWN)

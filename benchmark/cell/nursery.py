"""A process that has loaded torch and Lightning once, and forks each cell from there.

    python -P benchmark/start.py benchmark.cell.nursery

The launcher starts it and speaks to it in JSON, a line each way. It asks

    {"number": 1, "words": ["fit", "--config", …], "environment": {…}, "log": "…/log.txt"}

and hears ``{"ready": true}`` once, then ``{"number": 1, "pid": 123}`` (or ``"fault"`` in words) and
at the end ``{"number": 1, "code": 0}``. A cell is a process of its own as if started cold: its own
session, log, environment and exit code. The nursery has one thread and never touches CUDA, since
neither survives a fork: libraries load with one thread each, and a cell gives them as many as its
environment says. It ends when nobody speaks to it any more, and the cells live on.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import selectors
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

LOADED = (
    "wandb", "benchmark.__main__", "benchmark.cell.fit", "datamodules.cross_dataset",
    "lightning_modules.adversarial", "lightning_modules.mean_shape",
)  # fmt: skip
"""What every cell needs; a user's own code is left to the cells that name it.

W&B comes first: it looks its own source up among all modules that are loaded, again and again.
"""
LOADED_IF_THERE = ("sentry_sdk.integrations.aws_lambda", "pyarrow.parquet")
"""What libraries load only when they are used, as every cell does: W&B's reporter of crashes as a
run starts, though it is off, and pandas' reader of rows."""
THREADS = Path("/proc/self/task")
OPENED = Path("/proc/self/fd")
GPU_MEMORY = "nvidia-uvm"
"""The device that CUDA opens when it starts, and nothing that only counts GPUs."""
LOUDEST_LINE = 1 << 20
"""Bytes of a request, at most; an environment is the largest part of it."""


@dataclass(frozen=True)
class CellRequest:
    """A cell that is asked for.

    Attributes:
        number: what the replies are known by.
        words: the command and its arguments, as ``lungbench`` takes them.
        environment: all environment variables of the cell, ``OMP_NUM_THREADS`` among them.
        log: the file that its output is appended to.
    """

    number: int
    words: Sequence[str]
    environment: dict[str, str]
    log: str


class Nursery:
    """Forks cells on request until the requests end."""

    def __init__(self) -> None:
        self._replies = os.dup(1)
        os.set_inheritable(self._replies, False)
        os.dup2(2, 1)  # what a library prints is no reply
        self._selector = selectors.DefaultSelector()
        self._born: dict[int, tuple[int, int]] = {}
        self._heard = b""

    def serve(self) -> CellRequest | None:
        """Fork cells until the requests end.

        Returns:
            None in the nursery itself, and in each forked process the request that it is to obey.
        """
        os.set_blocking(0, False)
        self._selector.register(0, selectors.EVENT_READ)
        self._tell(ready=True)
        while True:
            for key, _ in self._selector.select():
                if key.fd != 0:
                    self._bury(key.fd)
                    continue
                requests = self._requests()
                if requests is None:
                    return None
                for request in requests:
                    if self._fork(request):
                        return request

    def _requests(self) -> list[CellRequest] | None:
        try:
            heard = os.read(0, LOUDEST_LINE)
        except BlockingIOError:
            return []
        if not heard:
            return None
        *lines, self._heard = (self._heard + heard).split(b"\n")
        return [CellRequest(**json.loads(line)) for line in lines]

    def _fork(self, request: CellRequest) -> bool:
        """Fork a process; True in it, once it has a session and a log of its own."""
        if alone := why_not_alone():
            self._tell(number=request.number, fault=alone)
            return False
        here, there = socket.socketpair()
        with here, there:
            try:
                log = os.open(request.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
                try:
                    pid = os.fork()
                    if pid == 0:
                        self._leave_home(log)
                finally:
                    os.close(log)
            except OSError as error:
                self._tell(number=request.number, fault=str(error))
                return False
            if pid == 0:
                here.close()
                there.send(b"!")
                if not there.recv(1):  # nobody knows of this process, and may start another
                    os._exit(1)
                return True
            there.close()
            here.recv(1)  # from here on its process group can be ended
            watched = os.pidfd_open(pid)
            self._born[watched] = request.number, pid
            self._selector.register(watched, selectors.EVENT_READ)
            self._tell(number=request.number, pid=pid)
            with suppress(OSError):  # it was killed already
                here.send(b"!")
            return False

    def _leave_home(self, log: int) -> None:
        """Keep nothing of the nursery's open files, and a session of one's own."""
        os.setsid()
        self._selector.close()
        for descriptor in (*self._born, self._replies):
            os.close(descriptor)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, place in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, place)
        os.close(nothing)

    def _bury(self, watched: int) -> None:
        number, pid = self._born.pop(watched)
        self._selector.unregister(watched)
        os.close(watched)
        _, status = os.waitpid(pid, 0)
        self._tell(number=number, code=os.waitstatus_to_exitcode(status))

    def _tell(self, **reply: Any) -> None:
        os.write(self._replies, json.dumps(reply).encode() + b"\n")


def why_not_alone() -> str:
    """Return why this process cannot fork, nothing where it can."""
    import torch

    if torch.cuda.is_initialized() or _has_gpus_open():  # type: ignore[no-untyped-call]
        return "CUDA was started in the process that cells are forked from"
    count = len(list(THREADS.iterdir()))
    names = ", ".join(thread.name for thread in threading.enumerate()[1:])
    return f"{count} threads where one should be ({names or 'of a library'})" if count > 1 else ""


def _has_gpus_open() -> bool:
    """Tell whether a library started NVIDIA's driver, perhaps behind torch's back."""
    for opened in OPENED.iterdir():
        with suppress(OSError):  # this listing's own, which is closed by now
            if opened.readlink().name == GPU_MEMORY:
                return True
    return False


def obey(request: CellRequest) -> int:
    """Be the cell that was asked for; return its exit code."""
    import benchmark.__main__

    os.environ.clear()
    os.environ.update(request.environment, PYTHONSAFEPATH="1")
    _give_threads(request.environment)
    sys.argv[1:] = ["benchmark", *request.words]
    return benchmark.__main__.main(request.words)


def _give_threads(environment: Mapping[str, str]) -> None:
    """Give libraries the threads that they would have had, had they been loaded here."""
    import torch
    from threadpoolctl import ThreadpoolController

    threads = int(environment["OMP_NUM_THREADS"])
    torch.set_num_threads(threads)
    libraries = ThreadpoolController()
    libraries.limit(limits=threads, user_api="openmp")
    of_blas = environment.get("OPENBLAS_NUM_THREADS", "")
    # OpenBLAS passes over what is no number, as over none.
    own = int(of_blas) if of_blas.isascii() and of_blas.isdigit() else 0
    libraries.limit(limits=own or threads, user_api="blas")


def leave(code: int) -> NoReturn:
    """End a forked process as an interpreter ends, except that its modules are not taken down.

    To take them down is to write to every page shared with the nursery, each of which is copied
    for it first: more CPU time than a small cell trains for. ``multiprocessing`` ends what it
    forks in the same way.

    Args:
        code: the exit code.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as at every end
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Load what cells need, then serve; return the nursery's exit code, and end a cell with its."""
    nursery = Nursery()
    gc.disable()
    for name in LOADED:
        importlib.import_module(name)
    for name in LOADED_IF_THERE:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # cells share these pages for as long as nobody writes to them
    gc.enable()
    request = nursery.serve()
    if request is None:
        return 0
    leave(obey(request))

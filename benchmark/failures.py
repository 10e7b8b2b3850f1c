"""What ended a cell, in one line that says what to do about it."""

from __future__ import annotations

import errno
import gc
import multiprocessing.process
import re
import signal
import sys
from collections.abc import Iterator

from contract.errors import UserError

LESS_MEMORY = (
    "use less of it: a smaller batch (--set batch_size=…) or image (--set preprocessing.size=…), "
    "fewer cells at a time (--jobs 1), or a larger machine"
)
_CUDA_NO_MEMORY = 2
"""CUDA's code for it (``cudaErrorMemoryAllocation``)."""
_ALLOCATORS = re.compile(
    r"\bDefaultCPUAllocator\b|\bCU(BLAS|DNN)_STATUS_ALLOC_FAILED\b|^could not create a primitive$"
)
"""The one place that reads an error's text: for these torch raises a plain ``RuntimeError``, which
nothing but the name of its allocator, or of the status, tells from any other. The last is oneDNN's
whole text where it finds no memory; of what it cannot compute it names the descriptor."""

_DISK = {
    errno.ENOSPC: ("the disk is full", "free some space, or choose another --runs"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another --runs"),
    errno.EFBIG: (
        "a file came to the limit on their size",
        "raise that of the account or the disk (`ulimit -f` tells the account's)",
    ),
    errno.EROFS: ("the folder is read-only", "choose another --runs, or mount it for writing"),
    errno.EACCES: ("no permission", "choose another --runs, or change its permissions"),
    errno.EIO: ("the disk fails", "look after the disk"),
    errno.ESTALE: ("the network disk was lost", "mount it again"),
}


class PeerError(Exception):
    """Another process of the cell failed first; the text says why, in words."""


def explain(error: BaseException) -> str:
    """Return one line on what happened, with advice where the machine is at fault."""
    if isinstance(error, (UserError, PeerError)):
        return _line(error)
    for cause in _causes(error):
        if _is_memory(cause):
            asked = re.search(r"tried to allocate ([\d.]+ \w+)", str(cause), re.IGNORECASE)
            more = f" (it asked for {asked[1]} more)" if asked else ""
            return f"out of memory{more}; {LESS_MEMORY}"
        if isinstance(cause, OSError) and cause.errno in _DISK:
            told, todo = _DISK[cause.errno]
            where = f" ({cause.filename})" if cause.filename else ""
            return f"{told}{where}; {todo}"
    told = f"{type(error).__name__}: {_line(error)}" if _line(error) else type(error).__name__
    notes = "; ".join(getattr(error, "__notes__", ()))
    return f"{told} ({notes})" if notes else told


def is_of_machine(error: BaseException) -> bool:
    """Tell whether disk, memory or another process is at fault: a traceback would not help."""
    return isinstance(error, PeerError) or any(
        _is_memory(cause) or (isinstance(cause, OSError) and cause.errno in _DISK)
        for cause in _causes(error)
    )


def explain_exit(code: int) -> str:
    """Return why a process may have ended that could not say so itself.

    Args:
        code: its exit code, negative for a signal.
    """
    if code >= 0:
        return f"exit code {code} before it could say why; see its log"
    name = signal.Signals(-code).name
    if -code == signal.SIGKILL:
        return f"killed ({name}), most likely out of memory: {LESS_MEMORY}"
    return f"killed ({name}) before it could say why; see its log"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what led to it, the latest first."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")  # what never was imported has raised nothing
    if torch is None or not isinstance(error, RuntimeError):
        return False
    if isinstance(error, torch.OutOfMemoryError):
        return True
    if isinstance(error, torch.AcceleratorError):
        return bool(getattr(error, "error_code", None) == _CUDA_NO_MEMORY)
    if isinstance(error, torch.distributed.DistError):  # a broken exchange (NCCL's abort, too)
        return False
    return _ALLOCATORS.search(str(error)) is not None or _lost_worker()


def _lost_worker() -> bool:
    """Tell whether a data loader's process was killed, as the system does where memory ends.

    Torch raises a plain ``RuntimeError`` then; the process itself, which nobody hands out, knows.
    """
    kill = getattr(signal, "SIGKILL", None)  # Windows has none
    process = multiprocessing.process.BaseProcess
    workers = (found for found in gc.get_objects() if issubclass(type(found), process))
    return kill is not None and any(
        worker.daemon and worker.pid is not None and worker.exitcode == -kill for worker in workers
    )


def _line(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")

"""What ended a cell, in one line that says what to do about it."""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Iterator

from contract.errors import UserError

LESS_MEMORY = (
    "use less of it: a smaller batch (--set batch_size=…) or image (--set preprocessing.size=…), "
    "fewer cells at a time (--jobs 1), or a larger machine"
)
_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "alloc_failed",
              "not enough memory", "is killed by signal: killed")  # fmt: skip
"""What torch says of it on GPUs and CPUs, and of a data loader's worker that the system killed."""

_DISK = {
    errno.ENOSPC: ("the disk is full", "free some space, or choose another --runs"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another --runs"),
    errno.EROFS: ("the folder is read-only", "choose another --runs, or mount it for writing"),
    errno.EACCES: ("no permission", "choose another --runs, or change its permissions"),
    errno.EIO: ("the disk fails", "look after the disk"),
    errno.ESTALE: ("the network disk was lost", "mount it again"),
}


def explain(error: BaseException) -> str:
    """Return one line on what happened, with advice where the machine is at fault."""
    if isinstance(error, UserError):
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
    return f"{type(error).__name__}: {_line(error)}" if _line(error) else type(error).__name__


def is_of_machine(error: BaseException) -> bool:
    """Tell whether disk or memory is at fault, so that a traceback would not help."""
    return any(
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
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    text = str(error).lower()
    told = isinstance(error, (RuntimeError, OSError)) and any(words in text for words in _NO_MEMORY)
    return named or told


def _line(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")

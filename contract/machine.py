"""What this machine offers, on every system that Python runs on."""

from __future__ import annotations

import ctypes
import os
import sys

from contract.errors import UserError

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]


CORES = "LUNGBENCH_CORES"
"""The environment variable in which a launcher, or a user, tells a process how many are its own."""


def cores() -> int:
    """Return how many CPU cores this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):  # Linux alone: what a job or a container was given
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def own_cores(processes: int = 1) -> int:
    """Return how many of those cores are this process's own share, at least 1.

    What ``LUNGBENCH_CORES`` says (the launcher's slot, or a user); otherwise those that it may use
    (of a SLURM task no more than ``--cpus-per-task``), divided.

    Args:
        processes: processes of one kind that have these cores together; a task of SLURM has its
            own.

    Raises:
        UserError: if one of the two variables is no such number.
    """
    told, of_task = _number(CORES), _number("SLURM_CPUS_PER_TASK")
    if told:
        return told
    return max(1, min(cores(), of_task or cores()) // processes)


def _number(variable: str) -> int | None:
    """Return what an environment variable says, None where it is not set or empty.

    Raises:
        UserError: if it is no whole number, at least 1.
    """
    said = os.environ.get(variable, "").strip()
    if not said:
        return None
    if not (said.isascii() and said.isdigit() and int(said)):
        raise UserError(variable, repr(said), "a whole number, at least 1", "correct or unset it")
    return int(said)


def peak_memory_mib() -> float | None:
    """Return the most memory that this process has held, None where the system does not tell."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KiB


def give_back_memory() -> None:
    """Give freed memory back to the system, where its C library would rather keep it (glibc)."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def be_modest(most: int) -> None:
    """Leave most of this machine to its other users, as far as the system lets a process.

    Args:
        most: CPU cores to use.
    """
    if hasattr(os, "nice"):
        os.nice(5)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:most])

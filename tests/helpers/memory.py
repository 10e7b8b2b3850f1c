"""This process's own peak of resident memory.

``ru_maxrss`` is no use here: a started process inherits that of the one that started it.
"""

from pathlib import Path


def peak_mib() -> float:
    """Return the highest resident memory so far, MiB."""
    return _status("VmHWM")


def now_mib() -> float:
    """Return the resident memory, MiB."""
    return _status("VmRSS")


def forget_peak() -> None:
    """Let the peak begin anew at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))

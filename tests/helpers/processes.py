"""The processes that a process started, as the kernel tells."""

from __future__ import annotations

from pathlib import Path


def children_of(pid: int, word: bytes) -> list[int]:
    """Return the children of all of a process's threads whose command line holds a word."""
    found = [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children")
             for child in _told_by(path).split()]  # fmt: skip
    return [one for one in found if word in _told_by(Path(f"/proc/{one}/cmdline"))]


def _told_by(path: Path) -> bytes:
    """What a file of the kernel's says; nothing where its process or thread has just ended."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""

"""Content digests of data files, remembered by path, size and time of change.

Digests identify the data in a cell's identity and in the cache's key; the index only saves
reading unchanged files again, as git's index does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

from contract.errors import DataError
from datamodules.remembered import recall, remember
from datamodules.sources.base import Case

FEW_FILES = 16
"""Cases of more files are remembered as a whole."""

Progress = Callable[[Iterable[object], int, str], Iterable[object]]
"""Wraps an iterable to show its progress: (items, total, what it is) -> the same items."""


def no_progress(items: Iterable[object], total: int, title: str) -> Iterable[object]:
    """Show nothing."""
    return items


class Digests:
    """Digests of files, kept in an index file.

    Args:
        index: the index file; it may be absent, and it is written by ``save``.
    """

    def __init__(self, index: Path) -> None:
        self._path = index
        self._changed = False
        self._known: dict[str, list[object]] = recall(index) or {}

    def of_file(self, path: Path) -> str:
        """Return the hexadecimal BLAKE2b digest (16 bytes) of a file's content.

        Raises:
            DataError: if the file cannot be read.
        """
        key, (size, changed) = str(path), _state(path)
        known = self._known.get(key)
        if known and known[:2] == [size, changed]:
            return str(known[2])
        digest = _of_content(path)
        self._known[key] = [size, changed, digest]
        self._changed = True
        return digest

    def of_cases(self, cases: Sequence[Case], progress: Progress = no_progress) -> list[str]:
        """Return one digest a case, over the contents of all its files.

        Raises:
            DataError: if a file cannot be read.
        """
        with ThreadPoolExecutor() as pool:
            done = progress(pool.map(self.of_case, cases), len(cases), "reading files")
            return list(cast("Iterable[str]", done))

    def of_case(self, case: Case) -> str:
        """Return the digest of a case; a scan's hundreds of files have one entry in the index.

        Raises:
            DataError: if a file cannot be read.
        """
        files = case.files
        if len(files) <= FEW_FILES:
            return combined(self.of_file(path) for path in files)
        key = f"{files[0].parent}#{case.case_id}"
        signature = [len(files), combined(file_signature(path) for path in files)]
        known = self._known.get(key)
        if known and known[:2] == signature:
            return str(known[2])
        digest = combined(_of_content(path) for path in files)
        self._known[key] = [*signature, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        """Write the index if it changed."""
        if self._changed:
            remember(self._path, self._known)
            self._changed = False


def combined(digests: Iterable[str]) -> str:
    """Return one digest over several, in their order."""
    total = hashlib.blake2b(digest_size=16)
    for digest in digests:
        total.update(digest.encode())
    return total.hexdigest()


def _state(path: Path) -> tuple[int, int]:
    """Return a file's size and time of change in ns."""
    try:
        stat = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    return stat.st_size, stat.st_mtime_ns


def file_signature(path: Path) -> str:
    """Return a file's path, size and time of change as text.

    Raises:
        DataError: if the file cannot be reached.
    """
    return json.dumps([str(path), *_state(path)])


def _of_content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(path, f"an unreadable file ({error.strerror})", todo="check its permissions")

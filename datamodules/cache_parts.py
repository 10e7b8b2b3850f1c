"""The files of a cache folder: their sizes and checksums, recorded at building, compared later."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from contract.machine import cores
from datamodules.digests import Progress, no_progress

IMAGES, MASKS, REFERENCES, ENTRIES = "images.npy", "masks.npy", "references.bin", "entries.json"
PARTS = (IMAGES, MASKS, REFERENCES, ENTRIES)
CHECKSUMS = "checksums.json"

CHUNK = 1 << 26
"""Bytes that one thread reads at a time."""

HEAD = 4096
"""Bytes at a part's beginning that are compared at every opening: an array's shape is in them."""

_LONG = 64
"""Fewer chunks are read in a few seconds, which needs no word."""

_SMALL = 1 << 16
"""A longer record of checksums is none of ours."""

_GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)

_verified: dict[Path, object] = {}
"""Folders that this process has read whole, with their files' states at that time."""


@dataclass(frozen=True)
class Part:
    """What is recorded of a file.

    Attributes:
        bytes: its size.
        head: CRC-32 of its first ``HEAD`` bytes.
        whole: CRC-32 of its chunks' CRC-32s.
    """

    bytes: int
    head: int
    whole: int


def seal(folder: Path) -> None:
    """Bring a new cache's files to the disk and record their sizes and checksums beside them."""
    for name in PARTS:
        _flush(folder / name)
    parts = {name: asdict(_measured(folder / name)) for name in PARTS}
    (folder / CHECKSUMS).write_text(json.dumps(parts))
    _flush(folder / CHECKSUMS)
    _flush(folder)


def put_in_place(new: Path, folder: Path) -> None:
    """Give a sealed folder its name, unless a sound one has it; a damaged one is moved aside.

    Others may have the damaged files mapped, and an owner on another machine could not read on
    once they are removed: they stay under a hidden name, as what killed builders leave.

    Raises:
        OSError: if the folder cannot be moved.
    """
    while True:
        try:
            new.rename(folder)
        except OSError:
            if not os.path.lexists(folder):
                raise
            if not find_damage(folder):
                return
            aside = new.with_name(f"{new.name}.damaged")
            try:
                folder.rename(aside)
                os.utime(aside)
            except FileNotFoundError:  # another process was quicker
                continue
        else:
            _flush(folder.parent)
            return


def find_damage(folder: Path, whole: bool = True, progress: Progress = no_progress) -> str:
    """Return what is wrong with a cache folder, or nothing.

    Args:
        folder: the cache folder.
        whole: read all files, unless this process has done so since they changed last; without,
            only sizes, array headers and the entries are compared.
        progress: shows the progress of reading whole files.

    Raises:
        OSError: if the disk fails, or a file must not be read.
    """
    for name in (*PARTS, CHECKSUMS):
        if not (folder / name).is_file():  # or a folder, a pipe, a link that leads nowhere
            return f"{name} is missing"
    try:
        parts = _recorded(folder)
        if parts is None:
            return f"its record of checksums ({CHECKSUMS}) is unreadable"
        state = _state(folder)
        for name, part in parts.items():
            size = (folder / name).stat().st_size
            if size != part.bytes:
                return f"{name} has {size} bytes instead of {part.bytes}"
            if _crc(folder / name, 0, HEAD) != part.head:
                return f"{name} does not begin as it was written"
        for name in PARTS if whole and _verified.get(folder) != state else (ENTRIES,):
            if _measured(folder / name, progress) != parts[name]:
                return f"{name} does not hold what was written"
    except _GONE as error:
        return f"{Path(str(error.filename)).name} is missing"
    if whole:
        _verified[folder] = state
    return ""


def _recorded(folder: Path) -> dict[str, Part] | None:
    """Return the record of checksums, or None where it is anything else."""
    with (folder / CHECKSUMS).open("rb") as file:
        content = file.read(_SMALL)
    try:
        said = json.loads(content)
        parts = {name: Part(**said[name]) for name in PARTS}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return parts


def _measured(path: Path, progress: Progress = no_progress) -> Part:
    size = path.stat().st_size
    starts = range(0, size, CHUNK)
    with ThreadPoolExecutor(cores()) as pool:
        read = pool.map(lambda start: _crc(path, start, CHUNK), starts)
        if len(starts) >= _LONG:
            read = cast("Iterator[int]", progress(read, len(starts), f"checking {path}"))
        whole = 0
        for checksum in read:
            whole = zlib.crc32(checksum.to_bytes(4, "little"), whole)
    return Part(size, _crc(path, 0, HEAD), whole)


def _crc(path: Path, start: int, length: int) -> int:
    checksum = 0
    with path.open("rb") as file:
        file.seek(start)
        while length and (block := file.read(min(length, 1 << 20))):
            checksum, length = zlib.crc32(block, checksum), length - len(block)
    return checksum


def _state(folder: Path) -> object:
    """Return what changes when a file is written to."""
    stats = [(folder / name).stat() for name in (*PARTS, CHECKSUMS)]
    return [(stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats]


def _flush(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

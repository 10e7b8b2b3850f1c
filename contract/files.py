"""Files that are whole or absent: the one place that writes beside a file and moves it there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from contract.errors import UserError


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file to write that takes its place as a whole, or not at all if the block raises.

    Args:
        path: the file; folders above it are made where absent. Its old content stays until the
            new one is complete. What a killed process leaves is called ``.<name>.<token>``.
        durable: whether the content is on the disk before the file takes its place. Without, a
            crash of the machine, unlike one of the process, may leave an empty file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with beside.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
        if durable:
            _flush_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Bring to the disk that a file took its place; what is written later cannot overtake it."""
    with suppress(OSError):  # Windows opens no folders, and some file servers flush none
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def digest_of(path: Path) -> str:
    """Return the digest of a file's bytes, read a megabyte at a time.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def hash_of_text(text: str) -> str:
    """Return the name of what a text says: 16 hexadecimal signs that are no number.

    A hash such as ``12e4567890123456`` would be one wherever YAML is read; the hash of that hash
    stands in its place.
    """
    while True:
        text = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        if not text.replace("e", "").isdigit():
            return text


def digest_of_bytes(content: bytes) -> str:
    """Return the digest that a file of these bytes has."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file, text in UTF-8, so that a reader or a crash never meets half of it."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def folder_to_write(option: str, given: str | Path) -> Path:
    """Return the folder that an option names, which can be made or written; it is not made here.

    Args:
        option: the option, such as ``--out``.
        given: its value; as text, an empty one (an unset variable of a shell) is told from ``.``.

    Raises:
        UserError: if it is empty, a file, below one, or may not be written.
    """
    where = f"{option} {given or repr('')}"
    expected, todo = "a folder, or one that can be made", f"choose another {option}"
    if not given:
        raise UserError(where, "no name", expected, f"name the folder; {option} . is this one")
    folder = Path(given)
    try:
        there = _nearest(folder)
        if not there.is_dir():
            found = "a file" if there == folder else f"a file above it, {there}"
            raise UserError(where, found, expected, todo)
        probe = there / f".{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        if error.errno in (errno.EROFS, errno.ENOSPC, errno.EDQUOT):
            return folder  # the machine's fault, not the user's: whoever writes there tells it
        found = f"a place that cannot be written ({error.strerror})"
        raise UserError(where, found, expected, todo) from error
    return folder


def _nearest(path: Path) -> Path:
    """Return a path, or the first of those above it, that is there."""
    for place in (path, *path.parents):
        try:
            place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        return place
    return Path()


def read_object(path: Path, largest: int = 1 << 20) -> dict[str, Any]:
    """Return the object in a small JSON file; an empty one where the file holds anything else.

    What lies there is not believed: a file that is absent, unreadable, not UTF-8, no JSON, another
    value than an object, nested without end or larger than ``largest`` bytes says nothing.
    """
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
        said = json.loads(content.decode()) if len(content) <= largest else None
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}

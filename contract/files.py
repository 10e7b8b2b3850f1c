"""Files that are whole or absent: the one place that writes beside a file and moves it there."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


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
    finally:
        beside.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file, text in UTF-8, so that a reader or a crash never meets half of it."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)

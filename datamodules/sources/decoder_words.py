"""What libtiff and libpng write to the terminal while they decode: heard, and not shown."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2

WORDS = re.compile(
    rb"(libpng (warning|error)|tempfile\.tif|JPEGLib|TIFF\w+|_TIFF\w+|\w+Decode\w*): "
)
"""How their lines begin; Pillow calls each file ``tempfile.tif``."""

BROKEN = re.compile(rb"\w+Decode\w*: ")
"""Errors in a file's pixels. Pillow does not hear those of fax codes and shows what came out."""

_one_at_a_time = threading.RLock()


@contextmanager
def hear_decoders() -> Iterator[list[str]]:
    """Keep from the terminal what the decoders write to the process's stderr.

    Lines of other threads are passed on when this ends.

    Yields:
        The lines that tell of broken pixels, filled when the block has ended.
    """
    broken: list[str] = []
    with _one_at_a_time, tempfile.TemporaryFile() as heard:
        _flush()
        try:
            shown = os.dup(STDERR)
        except OSError:  # closed: nobody sees what is written
            yield broken
            return
        os.dup2(heard.fileno(), STDERR)
        try:
            yield broken
        finally:
            _flush()
            os.dup2(shown, STDERR)
            os.close(shown)
            heard.seek(0)
            for line in heard.read().splitlines(keepends=True):
                if BROKEN.match(line):
                    broken.append(line.decode(errors="replace").strip())
                elif not WORDS.match(line):
                    os.write(STDERR, line)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()

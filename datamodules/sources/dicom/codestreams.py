"""Compressed frames: do they state the size that their DICOM header does?

Decoders reserve memory for what a frame itself states.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract.errors import DataError

if TYPE_CHECKING:
    from pydicom.uid import UID

FRAME_HEADERS = (
    *range(0xC0, 0xC4),
    *range(0xC5, 0xC8),
    *range(0xC9, 0xCC),
    *range(0xCD, 0xD0),
    0xF7,
)
"""JPEG's SOF markers and JPEG-LS's."""

SMALLEST_BLOCK, SMALLEST_PRECINCT, MOST_TILES = 4, 5, 4096
"""JPEG 2000: binary logarithms of a code block's and a precinct's sides; smaller ones cost a
decoder more memory than their pixels do."""


def check_codestream(path: Path, frame: bytes, syntax: UID, **about: Any) -> None:
    """Refuse a compressed frame that states another size than the header.

    Args:
        path: the file.
        frame: the compressed frame.
        syntax: its transfer syntax.
        about: ``rows``, ``columns``, ``samples_per_pixel`` and ``bits_allocated``.

    Raises:
        DataError: naming both sizes.
    """
    rows, columns, samples = about["rows"], about["columns"], about["samples_per_pixel"]
    if syntax.name.startswith("RLE"):
        _check_run_lengths(path, frame, rows * columns)
        return
    jpeg_2000 = "2000" in syntax.name
    sizes = list(_jpeg_2000_sizes(path, frame) if jpeg_2000 else _jpeg_sizes(path, frame))
    for found in sizes or [(0, 0, 0)]:
        if found != (columns, rows, samples):
            raise DataError(
                path,
                f"compressed pixels of {found[0]}×{found[1]} and {found[2]} colours",
                f"those of the header, {columns}×{rows} and {samples}",
                "export it again",
            )


def _jpeg_sizes(path: Path, frame: bytes) -> Iterator[tuple[int, int, int]]:
    """Return the columns, rows and channels that a JPEG or JPEG-LS frame states."""
    place = 2
    while place + 4 <= len(frame):
        if frame[place] != 0xFF:
            return
        marker = frame[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if marker == 0xDA:  # the pixels begin
            return
        if marker == 0xDE:
            raise DataError(path, "a hierarchical JPEG", "a plain one", "export it again")
        (length,) = struct.unpack_from(">H", frame, place + 2)
        if marker in FRAME_HEADERS and place + 10 <= len(frame):
            rows, columns, samples = struct.unpack_from(">HHB", frame, place + 5)
            yield columns, rows, samples
        place += 2 + length


def _jpeg_2000_sizes(path: Path, frame: bytes) -> Iterator[tuple[int, int, int]]:
    """Return the columns, rows and channels that a JPEG 2000 frame states."""
    start = frame.find(b"\xff\x4f\xff\x51")  # behind a JP2 file's boxes, where it has some
    place = start + 2
    while start >= 0 and place + 4 <= len(frame):
        marker, length = struct.unpack_from(">HH", frame, place)
        if marker == 0xFF51:
            right, down, left, top, wide, high = struct.unpack_from(">6I", frame, place + 6)
            (samples,) = struct.unpack_from(">H", frame, place + 38)
            tiles = -(-right // max(wide, 1)) * -(-down // max(high, 1))
            if tiles > MOST_TILES:
                raise DataError(path, f"{tiles} tiles", f"at most {MOST_TILES}", "export it again")
            yield right - left, down - top, samples
        elif marker in (0xFF52, 0xFF53):  # coding style, of all channels or of one
            _check_blocks(path, frame[place + 4 : place + 2 + length], marker == 0xFF53)
        elif marker == 0xFF90:  # a tile: on to its own header
            (size,) = struct.unpack_from(">I", frame, place + 6)
            inner = place + 12
            while inner + 4 <= len(frame) and frame[inner : inner + 2] != b"\xff\x93":
                marker, length = struct.unpack_from(">HH", frame, inner)
                if marker in (0xFF52, 0xFF53):
                    _check_blocks(path, frame[inner + 4 : inner + 2 + length], marker == 0xFF53)
                inner += 2 + length
            if size < 14:
                return
            place += size
            continue
        place += 2 + length


def _check_blocks(path: Path, style: bytes, of_one: bool) -> None:
    """Refuse code blocks and precincts of a few pixels."""
    body = style[1:] if of_one else style
    own_precincts = body[:1] and body[0] & 1
    body = body[1:] if of_one else body[5:]
    sides = [side + 2 for side in body[1:3]]
    small = sides and min(sides) < SMALLEST_BLOCK
    if own_precincts:
        precincts = [part for pair in body[5:] for part in (pair & 15, pair >> 4)]
        small = small or bool(precincts and min(precincts) < SMALLEST_PRECINCT)
    if small:
        raise DataError(path, "JPEG 2000 pixels in blocks of a few", "larger blocks",
                        "export it again")  # fmt: skip


def _check_run_lengths(path: Path, frame: bytes, pixels: int) -> None:
    """Refuse run lengths (DICOM PS3.5 annex G) that unpack to more than the pixels."""
    count, *starts = struct.unpack_from("<16I", frame)
    starts = [*starts[:count], len(frame)]
    for start, stop in pairwise(starts):
        if 64 * (stop - start) > pixels and _unpacked(frame, start, stop, pixels + 2) > pixels + 2:
            raise DataError(path, "run lengths of more pixels than the header's", f"{pixels}",
                            "export it again")  # fmt: skip


def _unpacked(frame: bytes, place: int, stop: int, most: int) -> int:
    """Return how many bytes run lengths unpack to, or the first number above ``most``."""
    total = 0
    while place < stop and total <= most:
        head = frame[place]
        if head > 128:
            total, place = total + 257 - head, place + 2
        elif head == 128:
            place += 1
        else:
            total, place = total + head + 1, place + 2 + head
    return total

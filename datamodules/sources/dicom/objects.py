"""DICOM files opened under bounds, and what stands in their headers.

Values are taken from the stored bytes: a field of any length or content is read as what it should
be, or is absent.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from contract.errors import DataError, UserError
from datamodules.sources.files import MAX_PIXELS, MOST_BYTES

if TYPE_CHECKING:
    from pydicom import Dataset

MOST_INFLATED = 2 * MAX_PIXELS + (16 << 20)
"""Bytes of the largest film, 16 bits a pixel, with a header."""

MOST_READS = 100_000
"""A film's header takes some hundreds; each part of a file costs pydicom some kilobytes."""

MOST_BYTES_OF_A_FIELD = 1 << 18
"""A lookup table of 65536 entries takes half of it."""

MOST_BYTES_OF_A_SEQUENCE = 1 << 20
MOST_LETTERS = 200

DAMAGED = "no readable DICOM radiograph: the file is damaged, cut off or of another kind"
DICOM_MARK = b"DICM"
"""It stands behind 128 bytes of anything."""

DEFLATED, PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1"


class NoFilmError(DataError):
    """A DICOM object that holds no picture at all, such as a report or a DICOMDIR."""


def looks_like_dicom(head: bytes) -> bool:
    """Tell whether a file is DICOM by its first 132 bytes, with or without its mark.

    Without preamble, the first element is one of the groups 2 or 8 (either byte order), whose
    type or length is plausible.
    """
    if head[128:132] == DICOM_MARK:
        return True
    if len(head) < 16 or head[:2] not in (b"\x02\0", b"\x08\0", b"\0\x08"):
        return False
    known = head[4:6] in (b"UL", b"UI", b"CS", b"OB", b"SH", b"LO", b"DA", b"TM", b"ST", b"SQ")
    group_length = head[2:4] == b"\0\0" and head[4:8] == b"\4\0\0\0"
    implicit = head[3] == 0 and 0 < int.from_bytes(head[4:8], "little") <= 64
    return known or group_length or (head[:2] != b"\0\x08" and implicit)


def open_dicom(
    path: Path, *, pixels: bool = True, force: bool = False, only: Sequence[str] | None = None
) -> Dataset:
    """Open a DICOM file; its size, what it inflates to and its number of parts are bounded.

    Args:
        path: the file.
        pixels: read the pixels too.
        force: read files without preamble or mark.
        only: the names of the elements to read, or all.

    Raises:
        DataError: if the file is beyond the bounds.
        Exception: pydicom's, of many kinds, if it is damaged or no DICOM file.
    """
    from pydicom import dcmread

    warnings.filterwarnings("ignore", module=r"pydicom\..*")  # advice for programmers
    size = path.stat().st_size
    if size > MOST_BYTES:
        found = f"{size >> 20} MiB"
        raise DataError(path, found, f"at most {MOST_BYTES >> 20} MiB", "check the file")
    told: dict[str, Any] = {"force": force, "stop_before_pixels": not pixels}
    if only is not None:
        told["specific_tags"] = list(only)
    with path.open("rb") as file:
        try:
            return dcmread(_Counted(path, file, size), **told)
        except _RestReadError as rest:
            content = _inflate(path, file, rest.start)
    try:
        return dcmread(_Counted(path, io.BytesIO(content), len(content)), **told)
    except _RestReadError:
        raise DataError(path, "a file deflated in itself", "one DICOM object") from None


class _RestReadError(Exception):
    """pydicom asked for the rest of a file, which it does to inflate it without a bound."""

    def __init__(self, start: int) -> None:
        self.start = start


class _Counted:
    """A file that bounds how often it is read."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self._path, self._file, self._size, self._reads = path, file, size, 0
        self.tell, self.seek = file.tell, file.seek

    def read(self, count: int = -1) -> bytes:
        if count < 0:
            raise _RestReadError(self.tell())
        self._reads += 1
        if self._reads > MOST_READS:
            raise DataError(self._path, f"more than {MOST_READS} parts", "a film", "check the file")
        return self._file.read(min(count, max(0, self._size - self.tell())))


def _inflate(path: Path, file: BinaryIO, start: int) -> bytes:
    """Return a deflated file as one that is not, its head marked so."""
    file.seek(0)
    head = file.read(start).replace(DEFLATED, PLAIN.ljust(len(DEFLATED), b"\0"))
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    parts, total = [head], 0
    while (packed := file.read(1 << 20)) and not unpack.eof:
        while packed and not unpack.eof:
            parts.append(unpack.decompress(packed, 1 << 20))
            packed, total = unpack.unconsumed_tail, total + len(parts[-1])
            if total > MOST_INFLATED:
                found = f"a file that inflates to more than {MOST_INFLATED >> 20} MiB"
                raise DataError(path, found, "a single film", "check the file")
    return b"".join(parts)


def text_of(header: Dataset, key: str) -> str:
    """Return a field as text, ``""`` where it is absent, empty or longer than any name."""
    found = next(iter(texts_of(header, key)), "")
    return found if len(found) <= MOST_LETTERS else ""


def texts_of(header: Dataset, key: str) -> list[str]:
    """Return a field's values as text, without the spaces around them."""
    value = _stored(header, key)
    if isinstance(value, bytes):
        value = value.decode("latin-1").split("\\")
    elif isinstance(value, str) or not hasattr(value, "__iter__"):
        value = [] if value is None else [value]
    return [str(part).strip(" \0") for part in value]


def numbers_of(header: Dataset, key: str) -> list[float]:
    """Return a field's finite numbers, written as text; what is no number is left out."""
    found = []
    for part in texts_of(header, key):
        try:
            number = float(part)
        except ValueError:
            continue
        if math.isfinite(number):
            found.append(number)
    return found


def number_of(header: Dataset, key: str, default: float) -> float:
    """Return a field's first number, or another where there is none."""
    return next(iter(numbers_of(header, key)), default)


def integers_of(header: Dataset, key: str | int) -> list[int]:
    """Return a field's numbers of 16 bits, as unsigned ones."""
    item = header.get_item(key)
    value = _stored(header, key)
    if isinstance(value, bytes):
        order = "<" if getattr(item, "is_little_endian", True) else ">"
        count = len(value) // 2
        return list(struct.unpack(f"{order}{count}H", value[: 2 * count]))
    if value is None or isinstance(value, str):
        return []
    every = value if hasattr(value, "__iter__") else [value]
    return [int(part) & 0xFFFF for part in every]


def integer_of(header: Dataset, key: str | int, default: int) -> int:
    """Return a field's first number of 16 bits, or another where there is none."""
    return next(iter(integers_of(header, key)), default)


def items_of(header: Dataset, key: str) -> list[Dataset]:
    """Return a sequence's items, none where it is absent, empty or no sequence."""
    item = header.get_item(key)
    if item is None:
        return []
    raw = item.value
    if isinstance(raw, bytes) and len(raw) > MOST_BYTES_OF_A_SEQUENCE:
        return []
    value = header.get(key)
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str | bytes) else []


def _stored(header: Dataset, key: str | int) -> Any:
    item = header.get_item(key)
    value = None if item is None else item.value
    if isinstance(value, bytes) and len(value) > MOST_BYTES_OF_A_FIELD:
        return None
    return value


@contextmanager
def explained(
    path: Path, expected: str = "a whole file with a single grey frame"
) -> Iterator[None]:
    """Turn whatever pydicom raises for a damaged file into words.

    Raises:
        DataError: instead.
    """
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.errno is not None:
            found = f"an unreadable file ({error.strerror})"
            raise DataError(path, found, expected, "check its permissions") from None
        raise DataError(path, DAMAGED, expected, "export it again") from None
    except MemoryError:
        raise DataError(path, "a film that does not fit into memory", expected) from None
    except RecursionError:
        raise DataError(path, "parts nested without end", expected, "export it again") from None
    except Exception:  # pydicom and its decoders raise many kinds, in words for programmers
        raise DataError(path, DAMAGED, expected, "export it again") from None

"""How an exported file vouches for its content, so that a damaged one is told from a whole one."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path

DIGEST_LENGTH = 64
"""Of SHA-256 in hexadecimal digits."""
NO_DIGEST = "0" * DIGEST_LENGTH
"""What stands in the digest's place while the file is hashed."""
_PLACE = re.compile(rb'digest\\?": ?\\?"([0-9a-f]{64})\\?"')
"""The digest in the metadata's JSON; inside JSON, as in safetensors, its quotes are escaped."""


class DamagedError(Exception):
    """A file's content is not what it vouches for."""


def write_digest(path: Path) -> None:
    """Write a file's digest into its metadata, in the place of the one that is there.

    Args:
        path: a file whose metadata holds a digest, such as ``NO_DIGEST``.

    Raises:
        RuntimeError: if it holds none, or several.
    """
    content = path.read_bytes()
    place = _place(content)
    if place is None:
        raise RuntimeError(f"{path} has no place for its digest, or several")
    digest = _digest(content, place).encode()
    path.write_bytes(content[: place[0]] + digest + content[place[1] :])


def require_sealed(content: bytes) -> str | None:
    """Return the digest that a file's content agrees with, none where it holds no digest.

    Args:
        content: the file's bytes.

    Raises:
        DamagedError: if they do not agree.
    """
    place = _place(content)
    if place is None:
        return None
    said = content[slice(*place)].decode()
    if _digest(content, place) != said:
        raise DamagedError("its content does not agree with the digest in its metadata")
    return said


def require_whole_archive(path: Path) -> None:
    """Compare a zip archive's content with its checksums.

    Args:
        path: the archive.

    Raises:
        DamagedError: if they do not agree, or it is no archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except Exception as error:  # zipfile raises many kinds for what is no archive
        raise DamagedError(str(error) or type(error).__name__) from None
    if bad is not None:
        raise DamagedError(f"{bad} does not agree with its checksum")


def _place(content: bytes) -> tuple[int, int] | None:
    """Return from where to where the only digest stands."""
    places = [found.span(1) for found in _PLACE.finditer(content)]
    return places[0] if len(places) == 1 else None


def _digest(content: bytes, place: tuple[int, int]) -> str:
    """Return the SHA-256 of the content with ``NO_DIGEST`` in the digest's place."""
    view, digest = memoryview(content), hashlib.sha256()
    for part in (view[: place[0]], NO_DIGEST.encode(), view[place[1] :]):
        digest.update(part)
    return digest.hexdigest()

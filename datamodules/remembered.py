"""What JSON files remember to save work, believed only as far as it is what was written.

A damaged memory costs nothing but the work done again; a believed one could be another identity of
a cell, the cache of other films, or another table.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from contract.files import write_atomically

LARGEST = 1 << 30
"""A larger file, in bytes, is none of ours."""

_BEFORE, _BETWEEN, _AFTER = b'{"checksum": "', b'", "content": ', b"}"


def remember(path: Path, content: object) -> None:
    """Write content that JSON can hold, with a checksum; see ``recall``.

    Raises:
        OSError: if the file cannot be written.
    """
    text = json.dumps(content).encode()
    write_atomically(path, _BEFORE + _checksum(text) + _BETWEEN + text + _AFTER)


def recall(path: Path) -> Any | None:
    """Return what was remembered; None where the file is absent, unreadable or anything else."""
    try:
        with path.open("rb") as file:
            said = file.read(len(_BEFORE) + 32 + len(_BETWEEN))
            if not said.startswith(_BEFORE) or path.stat().st_size > LARGEST:
                return None
            text = file.read().removesuffix(_AFTER)
    except OSError:
        return None
    return json.loads(text) if said == _BEFORE + _checksum(text) + _BETWEEN else None


def _checksum(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).hexdigest().encode()

"""Headers remembered folder by folder: a set of 250,000 files opens in seconds, in little memory.

A folder's files mostly differ in name, instance and position alone, so that everything else is
kept once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from contract.errors import DataError
from datamodules.remembered import recall, remember
from datamodules.sources.ct.headers import SliceHeader, is_dicom_image, read_slice_header

INDEX_FORMAT = 2
"""Raised whenever the same files would give other headers."""

SHARED = ("modality", "series", "patient", "orientation", "spacing", "shape", "attributes")


class HeaderIndex:
    """DICOM headers, read from their files or remembered from an earlier reading.

    Args:
        path: the index file, which may be absent, or None to remember nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._changed = False
        stored = (recall(path) if path is not None else None) or {}
        known = stored["folders"] if stored.get("format") == INDEX_FORMAT else {}
        self._known: dict[str, dict[str, Any]] = known

    def headers(self, folder: Path, files: Sequence[Path]) -> list[SliceHeader]:
        """Return the headers of a folder's DICOM files; files of other kinds are left out.

        Raises:
            DataError: if a file is damaged or cannot be read.
        """
        if not files:
            return []
        state = _state(files)
        known = self._known.pop(str(folder), None)
        if known is None or known["state"] != state:
            read = [read_slice_header(path) for path in files if is_dicom_image(path)]
            known = {"state": state, **_packed(read)}
            self._changed = True
        if self._path is not None:
            self._known[str(folder)] = known
        return _unpacked(folder, known)

    def save(self) -> None:
        """Write the index if it changed and can be written."""
        if self._changed and self._path is not None:
            with suppress(OSError):  # it only saves time; `status` works on a read-only folder
                remember(self._path, {"format": INDEX_FORMAT, "folders": self._known})
            self._changed = False


def _state(files: Sequence[Path]) -> str:
    """Return a digest of the files' names, sizes and times of change."""
    state = hashlib.blake2b(digest_size=16)
    for path in files:
        try:
            stat = path.stat()
        except OSError as error:
            raise DataError(
                path, f"an unreadable file ({error.strerror})", todo="check its permissions"
            ) from None
        state.update(json.dumps([path.name, stat.st_size, stat.st_mtime_ns]).encode())
    return state.hexdigest()


def _packed(headers: Sequence[SliceHeader]) -> dict[str, Any]:
    shared: dict[str, int] = {}
    files = []
    for header in headers:
        common = json.dumps([getattr(header, key) for key in SHARED])
        number = shared.setdefault(common, len(shared))
        files.append([header.path.name, number, header.instance, header.position])
    return {"shared": [json.loads(common) for common in shared], "files": files}


def _unpacked(folder: Path, known: dict[str, Any]) -> list[SliceHeader]:
    shared = []
    for values in known["shared"]:
        told = dict(zip(SHARED, values, strict=True))
        told |= {key: tuple(told[key]) for key in ("orientation", "spacing", "shape")}
        shared.append(told)
    return [
        SliceHeader(
            path=folder / name, instance=instance, position=tuple(position), **shared[number]
        )
        for name, number, instance, position in known["files"]
    ]

"""Prepared images and masks of one data set, decoded once and memory-mapped ever after.

A cache folder is named by the digest of its inputs (files' contents and settings), is built beside
its final name and moved there in one step. Several processes may build the same one: the first to
finish wins and the others use its folder. What lies there is not believed for being there: a folder
that does not hold what was written (see ``cache_parts``) is built anew.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from contract.arrays import Spacing
from contract.machine import cores
from datamodules.cache_parts import (
    ENTRIES,
    IMAGES,
    MASKS,
    REFERENCES,
    find_damage,
    put_in_place,
    seal,
)
from datamodules.decoding import PLANES, Decoded, decode_all, from_png, slices_of, total
from datamodules.digests import Digests, Progress, combined, no_progress
from datamodules.preprocessing import DEFAULT_HU_WINDOW, Preprocessing
from datamodules.sources.base import Case, Source
from datamodules.sources.ct.scan import ScanCase
from datamodules.sources.own_data import OwnData

__all__ = ["PLANES", "PreparedCase", "PreparedSet", "prepare"]

CACHE_FORMAT = 1
"""Raised whenever the same inputs would give other pixels."""

ABANDONED_S = 3 * 86400.0
"""No cache takes that long to build."""

ATTEMPTS = 5
"""How often a folder is opened that others are just replacing."""

_log = logging.getLogger(__name__)

FILM_FORMAT = 3
"""Raised whenever the same films of a user's own would give other pixels."""

PSEUDO_MASK_FORMAT = 1
"""Raised whenever the same scan would get another mask computed from its HU values."""
CT_FORMAT = 2
"""Raised whenever the same scans would give other pixels or nodules."""


@dataclass(frozen=True)
class PreparedCase:
    """What the cache records of a film or a slice besides pixels.

    Attributes:
        film_shape: (height, width) of the file's pixels.
        spacing: mm from one of these to the next, down and along.
        structures: what the masks are of.
        offset: where the reference begins in its file.
        length: how many bytes it has.
        empty: whether the reference holds no structure at all.
        nodules: each nodule's identity, with the offset and length of its mask.
    """

    film_shape: tuple[int, int]
    spacing: Spacing | None
    structures: tuple[str, ...]
    offset: int
    length: int
    empty: bool = False
    nodules: tuple[tuple[str, int, int], ...] = ()


class PreparedSet:
    """A data set's prepared cases: a film has one entry, a scan one a slice, the lowest first.

    Attributes:
        images: ``(N, size, size)`` uint8 grey values, memory-mapped.
        masks: ``(N, size, size)`` uint8 bit planes (see ``PLANES``), memory-mapped.
        entries: what is recorded of each.
        places: each case's entries, by its id.
        slice_mm: the distance between a scan's slices in mm, by its id; films have none.
    """

    def __init__(self, folder: Path) -> None:
        recorded = json.loads((folder / ENTRIES).read_text())
        counts = recorded.get("slices") or [1] * len(recorded["ids"])
        ends = np.cumsum(counts).tolist()
        self.places = {
            case_id: range(end - count, end)
            for case_id, count, end in zip(recorded["ids"], counts, ends, strict=True)
        }
        self.slice_mm: dict[str, float] = recorded.get("slice_mm", {})
        self.entries = [
            PreparedCase(
                film_shape=tuple(entry["film_shape"]),
                spacing=tuple(entry["spacing"]) if entry["spacing"] else None,
                structures=tuple(entry["structures"]),
                offset=entry["offset"],
                length=entry["length"],
                empty=entry.get("empty", False),
                nodules=tuple((i, at, length) for i, at, length in entry.get("nodules", ())),
            )
            for entry in recorded["entries"]
        ]
        self.images = np.load(folder / IMAGES, mmap_mode="r")
        self.masks = np.load(folder / MASKS, mmap_mode="r")
        # Mapped too: who reads a folder that is being replaced reads the old one to its end.
        self._references = np.memmap(folder / REFERENCES, np.uint8, mode="r")

    def reference(self, index: int) -> dict[str, NDArray[np.bool_]]:
        """Return each structure's reference mask on the grid that is scored."""
        entry = self.entries[index]
        planes = self._stored(entry.offset, entry.length)
        return {name: (planes & PLANES[name]) > 0 for name in entry.structures}

    def nodules(self, index: int) -> list[tuple[str, NDArray[np.bool_]]]:
        """Return each nodule of a slice with its mask on the grid that is scored."""
        return [
            (identity, self._stored(offset, length) > 0)
            for identity, offset, length in self.entries[index].nodules
        ]

    def _stored(self, offset: int, length: int) -> NDArray[np.uint8]:
        return from_png(self._references[offset : offset + length].tobytes())


def prepare(
    source: Source,
    cases: Sequence[Case],
    preprocessing: Preprocessing,
    cache: Path,
    progress: Progress = no_progress,
    whole: bool = True,
) -> PreparedSet:
    """Return the prepared set, building its cache folder if there is none yet or it is damaged.

    Args:
        source: the reader of the data set.
        cases: the cases to prepare, in the order of their positions.
        preprocessing: the settings; ``value_range`` is applied later and is no part of the key.
        cache: the folder that holds all caches.
        progress: shows the progress of reading and decoding.
        whole: whether the cache is read whole to find damage, once a process; otherwise its sizes,
            headers and entries are looked at.

    Raises:
        DataError: if a file is unreadable or contradicts the official layout.
    """
    digests = Digests(cache / "digests.json")
    contents = digests.of_cases(cases, progress)
    digests.save()
    ids = [case.case_id for case in cases]
    settings = _settings(source, preprocessing)
    key = combined([json.dumps([CACHE_FORMAT, source.name, settings, ids]), *contents])
    folder = cache / f"{source.name}-{preprocessing.size}-{key[:16]}"
    for attempt in range(ATTEMPTS):
        damage = find_damage(folder, whole, progress)
        if damage and os.path.lexists(folder):
            _log.warning("cache %s is damaged (%s); it is built anew", folder, damage)
        if damage:
            _build(folder, source, cases, preprocessing, progress)
        try:
            return PreparedSet(folder)
        except FileNotFoundError:  # another process is just replacing it
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _settings(source: Source, preprocessing: Preprocessing) -> dict[str, object]:
    """Return the settings that decide on a source's pixels."""
    kept = ("value_range", "hu_window")
    settings: dict[str, object] = {k: v for k, v in asdict(preprocessing).items() if k not in kept}
    if source.unit == "scan":
        settings["hu_window"] = preprocessing.hu_window or DEFAULT_HU_WINDOW
        settings["formats"] = [CT_FORMAT, PSEUDO_MASK_FORMAT]
    elif isinstance(source, OwnData):
        settings["formats"] = [FILM_FORMAT]
    return settings


def _build(
    folder: Path,
    source: Source,
    cases: Sequence[Case],
    preprocessing: Preprocessing,
    progress: Progress,
) -> None:
    beside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    beside.mkdir(parents=True)
    _clear_abandoned(folder.parent)
    try:
        count = total(cases)
        shape = (count, preprocessing.size, preprocessing.size)
        new_array = partial(np.lib.format.open_memmap, mode="w+", dtype=np.uint8, shape=shape)
        images, masks = new_array(beside / IMAGES), new_array(beside / MASKS)
        entries, offset = [], 0
        workers = cores()
        with (
            ThreadPoolExecutor(workers) as pool,
            (beside / REFERENCES).open("wb") as references,
        ):
            decoded = decode_all(pool, workers, source, cases, preprocessing)
            shown = progress(decoded, count, f"decoding {source.name}")
            for index, item in enumerate(cast("Iterable[Decoded]", shown)):
                images[index], masks[index] = item.image, item.mask
                entries.append(_entry(item, offset))
                for blob in (item.reference, *(mask for _, mask in item.nodules)):
                    references.write(blob)
                    offset += len(blob)
        images.flush()
        masks.flush()
        record: dict[str, object] = {
            "ids": [case.case_id for case in cases],
            "entries": [asdict(entry) for entry in entries],
        }
        if source.unit == "scan":
            record["slices"] = [slices_of(case) for case in cases]
            scans = (case for case in cases if isinstance(case, ScanCase))
            record["slice_mm"] = {scan.case_id: scan.series.slice_mm for scan in scans}
        (beside / ENTRIES).write_text(json.dumps(record))
        seal(beside)
        put_in_place(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _clear_abandoned(cache: Path) -> None:
    """Remove what builders left that were killed long ago, and what was damaged.

    Of CT it may be many gigabytes.
    """
    for path in cache.glob(".*"):
        with suppress(OSError):  # another process may be quicker
            if path.is_dir() and time.time() - path.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)


def _entry(item: Decoded, offset: int) -> PreparedCase:
    length, nodules = len(item.reference), []
    at = offset + length
    for identity, mask in item.nodules:
        nodules.append((identity, at, len(mask)))
        at += len(mask)
    return PreparedCase(
        item.film_shape,
        item.spacing,
        item.structures,
        offset,
        length,
        empty=not item.mask.any() and not from_png(item.reference).any(),
        nodules=tuple(nodules),
    )

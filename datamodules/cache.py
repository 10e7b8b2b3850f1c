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
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Self, cast

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

__all__ = ["PLANES", "PreparedCase", "PreparedSet", "prepare", "prepare_all"]

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
    prepared = prepare_all(source, cases, [preprocessing], cache, progress, whole)
    return prepared[preprocessing]


def prepare_all(
    source: Source,
    cases: Sequence[Case],
    wanted: Sequence[Preprocessing],
    cache: Path,
    progress: Progress = no_progress,
    whole: bool = True,
) -> dict[Preprocessing, PreparedSet]:
    """Return the set as each preprocessing has it; what is not there yet is decoded once for all.

    Args:
        source: as for ``prepare``, like the others.
        cases: the cases to prepare.
        wanted: the preprocessings.
        cache: the folder that holds all caches.
        progress: shows the progress of reading and decoding.
        whole: whether the caches are read whole to find damage.

    Raises:
        DataError: if a file is unreadable or contradicts the official layout.
    """
    digests = Digests(cache / "digests.json")
    contents = digests.of_cases(cases, progress)
    digests.save()
    ids = [case.case_id for case in cases]
    folders = {}
    for one in wanted:
        settings = _settings(source, one)
        key = combined([json.dumps([CACHE_FORMAT, source.name, settings, ids]), *contents])
        folders[one] = cache / f"{source.name}-{one.size}-{key[:16]}"
    for attempt in range(ATTEMPTS):
        missing = {}
        for one, folder in folders.items():
            damage = find_damage(folder, whole, progress)
            if damage and os.path.lexists(folder):
                _log.warning("cache %s is damaged (%s); it is built anew", folder, damage)
            if damage:
                missing[folder] = one
        if missing:
            _build(missing, source, cases, progress)
        try:
            return {one: PreparedSet(folder) for one, folder in folders.items()}
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


class _Unfinished:
    """A cache folder that is being filled beside its place, and removed unless it is finished.

    Args:
        folder: its place.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._beside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
        self._entries: list[PreparedCase] = []
        self._offset = 0
        self._leaving = ExitStack()

    def __enter__(self) -> Self:
        self._beside.mkdir(parents=True)
        self._leaving.callback(shutil.rmtree, self._beside, ignore_errors=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._leaving.close()

    def allot(self, count: int, size: int) -> None:
        """Make room for so many films or slices of that side."""
        shape = (count, size, size)
        new_array = partial(np.lib.format.open_memmap, mode="w+", dtype=np.uint8, shape=shape)
        self._images, self._masks = (new_array(self._beside / name) for name in (IMAGES, MASKS))
        self._references = self._leaving.enter_context((self._beside / REFERENCES).open("wb"))

    def add(self, item: Decoded) -> None:
        """Write the next film or slice."""
        index = len(self._entries)
        self._images[index], self._masks[index] = item.image, item.mask
        self._entries.append(_entry(item, self._offset))
        for blob in (item.reference, *(mask for _, mask in item.nodules)):
            self._references.write(blob)
            self._offset += len(blob)

    def finish(self, facts: dict[str, object]) -> None:
        """Bring all to the disk and give the folder its name.

        Args:
            facts: what is recorded beside the entries.
        """
        self._references.close()
        self._images.flush()
        self._masks.flush()
        record = {**facts, "entries": [asdict(entry) for entry in self._entries]}
        (self._beside / ENTRIES).write_text(json.dumps(record))
        seal(self._beside)
        put_in_place(self._beside, self._folder)


def _build(
    missing: Mapping[Path, Preprocessing],
    source: Source,
    cases: Sequence[Case],
    progress: Progress,
) -> None:
    facts: dict[str, object] = {"ids": [case.case_id for case in cases]}
    if source.unit == "scan":
        facts["slices"] = [slices_of(case) for case in cases]
        scans = (case for case in cases if isinstance(case, ScanCase))
        facts["slice_mm"] = {scan.case_id: scan.series.slice_mm for scan in scans}
    count, workers = total(cases), cores()
    with ExitStack() as stack:
        places = [stack.enter_context(_Unfinished(folder)) for folder in missing]
        for place, one in zip(places, missing.values(), strict=True):
            place.allot(count, one.size)
        for cache in {folder.parent for folder in missing}:
            _clear_abandoned(cache)
        # OpenCV's own threads could be spared here, but setting their number in a process that was
        # forked from one where they ran waits for ever.
        with ThreadPoolExecutor(workers) as pool:
            decoded = decode_all(pool, workers, source, cases, list(missing.values()))
            shown = progress(decoded, count, f"decoding {source.name}")
            for items in cast("Iterable[tuple[Decoded, ...]]", shown):
                for place, item in zip(places, items, strict=True):
                    place.add(item)
        for place in places:
            place.finish(facts)


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

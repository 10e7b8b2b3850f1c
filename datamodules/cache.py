"""Prepared images and masks of one data set, decoded once and memory-mapped ever after.

A cache folder is named by the digest of its inputs (files' contents and settings), is built beside
its final name and moved there in one step. Several processes may build the same one: the first to
finish wins and the others use its folder.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.words import STRUCTURES
from datamodules.digests import Digests, Progress, combined, no_progress
from datamodules.preprocessing import Preprocessing
from datamodules.sources.base import Case, Source, Spacing

CACHE_FORMAT = 1
"""Raised whenever the same inputs would give other pixels."""

PLANES = {structure: 1 << bit for bit, structure in enumerate(STRUCTURES)}
"""Each structure's bit in a mask's byte: structures may overlap (heart and lung do)."""


@dataclass(frozen=True)
class PreparedCase:
    """What a case's cache entry records besides pixels."""

    film_shape: tuple[int, int]
    spacing: Spacing | None
    structures: tuple[str, ...]
    offset: int
    length: int


@dataclass
class _Decoded:
    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    reference: bytes
    film_shape: tuple[int, int]
    spacing: Spacing | None
    structures: tuple[str, ...]


class PreparedSet:
    """A data set's prepared cases.

    Attributes:
        images: ``(N, size, size)`` uint8 grey values, memory-mapped.
        masks: ``(N, size, size)`` uint8 bit planes (see ``PLANES``), memory-mapped.
        entries: what is recorded of each case.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        recorded = json.loads((folder / "entries.json").read_text())
        self.position = {case_id: i for i, case_id in enumerate(recorded["ids"])}
        self.entries = [
            PreparedCase(
                film_shape=tuple(entry["film_shape"]),
                spacing=tuple(entry["spacing"]) if entry["spacing"] else None,
                structures=tuple(entry["structures"]),
                offset=entry["offset"],
                length=entry["length"],
            )
            for entry in recorded["entries"]
        ]
        self.images = np.load(folder / "images.npy", mmap_mode="r")
        self.masks = np.load(folder / "masks.npy", mmap_mode="r")

    def reference(self, index: int) -> dict[str, NDArray[np.bool_]]:
        """Return each structure's reference mask on the grid that is scored."""
        entry = self.entries[index]
        with (self._folder / "references.bin").open("rb") as file:
            file.seek(entry.offset)
            blob = np.frombuffer(file.read(entry.length), np.uint8)
        planes = cast("NDArray[np.uint8]", cv2.imdecode(blob, cv2.IMREAD_UNCHANGED))
        return {name: (planes & PLANES[name]) > 0 for name in entry.structures}


def prepare(
    source: Source,
    cases: Sequence[Case],
    preprocessing: Preprocessing,
    cache: Path,
    progress: Progress = no_progress,
) -> PreparedSet:
    """Return the prepared set, building its cache folder if there is none yet.

    Args:
        source: the reader of the data set.
        cases: the cases to prepare, in the order of their positions.
        preprocessing: the settings; ``value_range`` is applied later and is no part of the key.
        cache: the folder that holds all caches.
        progress: shows the progress of reading and decoding.

    Raises:
        DataError: if a file is unreadable or contradicts the official layout.
    """
    digests = Digests(cache / "digests.json")
    contents = digests.of_cases(cases, progress)
    digests.save()
    settings = {k: v for k, v in asdict(preprocessing).items() if k != "value_range"}
    ids = [case.case_id for case in cases]
    key = combined([json.dumps([CACHE_FORMAT, source.name, settings, ids]), *contents])
    folder = cache / f"{source.name}-{preprocessing.size}-{key[:16]}"
    if not (folder / "entries.json").is_file():
        _build(folder, source, cases, preprocessing, progress)
    return PreparedSet(folder)


def _build(
    folder: Path,
    source: Source,
    cases: Sequence[Case],
    preprocessing: Preprocessing,
    progress: Progress,
) -> None:
    beside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    beside.mkdir(parents=True)
    try:
        shape = (len(cases), preprocessing.size, preprocessing.size)
        new_array = partial(np.lib.format.open_memmap, mode="w+", dtype=np.uint8, shape=shape)
        images, masks = new_array(beside / "images.npy"), new_array(beside / "masks.npy")
        entries, offset = [], 0
        workers = max(1, len(os.sched_getaffinity(0)))
        with (
            ThreadPoolExecutor(workers) as pool,
            (beside / "references.bin").open("wb") as references,
        ):
            decoded = _in_order(pool, workers, source, cases, preprocessing)
            shown = progress(decoded, len(cases), f"decoding {source.name}")
            for index, item in enumerate(cast("Iterable[_Decoded]", shown)):
                images[index], masks[index] = item.image, item.mask
                references.write(item.reference)
                length = len(item.reference)
                entries.append(
                    PreparedCase(item.film_shape, item.spacing, item.structures, offset, length)
                )
                offset += length
        images.flush()
        masks.flush()
        ids = [case.case_id for case in cases]
        record = {"ids": ids, "entries": [asdict(entry) for entry in entries]}
        (beside / "entries.json").write_text(json.dumps(record))
        try:
            beside.rename(folder)
        except OSError:
            if not (folder / "entries.json").is_file():
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _in_order(
    pool: ThreadPoolExecutor,
    workers: int,
    source: Source,
    cases: Sequence[Case],
    preprocessing: Preprocessing,
) -> Iterable[_Decoded]:
    """Decode in parallel, at most a few cases ahead so that memory stays bounded."""
    ahead = 2 * workers
    waiting = [pool.submit(_decode, source, case, preprocessing) for case in cases[:ahead]]
    for case in [*cases[ahead:], *([None] * min(ahead, len(cases)))]:
        yield waiting.pop(0).result()
        if case is not None:
            waiting.append(pool.submit(_decode, source, case, preprocessing))


def _decode(source: Source, case: Case, preprocessing: Preprocessing) -> _Decoded:
    film = source.read_image(case)
    shape = (film.shape[0], film.shape[1])
    structures = source.read_masks(case, shape)
    small = np.zeros((preprocessing.size, preprocessing.size), np.uint8)
    reference: NDArray[np.uint8] | None = None
    for name, mask in structures.items():
        small[preprocessing.prepare_mask(mask)] |= PLANES[name]
        scored = preprocessing.prepare_reference(mask)
        reference = np.zeros(scored.shape, np.uint8) if reference is None else reference
        reference[scored] |= PLANES[name]
    encoded = cv2.imencode(".png", cast("NDArray[np.uint8]", reference))[1]
    return _Decoded(
        image=preprocessing.prepare_image(film),
        mask=small,
        reference=encoded.tobytes(),
        film_shape=shape,
        spacing=source.spacing_of(case, shape),
        structures=tuple(structures),
    )

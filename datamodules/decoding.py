"""Cases to what the cache keeps of them: a film gives one entry, a scan one a slice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.arrays import Spacing
from contract.words import STRUCTURES
from datamodules.preprocessing import Preprocessing
from datamodules.sources.base import Case, Source
from datamodules.sources.ct.scan import OpenScan, ScanCase, ScanSource

PLANES = {structure: 1 << bit for bit, structure in enumerate(STRUCTURES)}
"""Each structure's bit in a mask's byte: structures may overlap (heart and lung do)."""


@dataclass(frozen=True)
class Decoded:
    """A film or a slice, prepared.

    Attributes:
        image: ``(size, size)`` grey values.
        mask: ``(size, size)`` bit planes, see ``PLANES``.
        reference: a PNG file of bit planes on the grid that is scored.
        film_shape: (height, width) of the file's pixels.
        spacing: mm from one of these pixels to the next, down and along.
        structures: what the masks are of.
        nodules: each nodule's identity with a PNG of its mask on the grid that is scored.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    reference: bytes
    film_shape: tuple[int, int]
    spacing: Spacing | None
    structures: tuple[str, ...]
    nodules: tuple[tuple[str, bytes], ...] = ()


def decode_all(
    pool: ThreadPoolExecutor,
    workers: int,
    source: Source,
    cases: Sequence[Case],
    preprocessing: Preprocessing,
) -> Iterator[Decoded]:
    """Decode cases in parallel and in order, at most a few films or slices ahead.

    Scans are opened one after the other, so that no more than two are ever at hand.

    Raises:
        DataError: if a file is unreadable or contradicts the official layout.
    """
    ahead = 2 * workers
    waiting: list[Future[Decoded]] = []
    for task in _tasks(source, cases, preprocessing):
        waiting.append(pool.submit(task))
        if len(waiting) > ahead:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def slices_of(case: Case) -> int:
    """Return how many entries a case has: a scan's slices, or 1."""
    return case.slice_count if isinstance(case, ScanCase) else 1


def _tasks(
    source: Source, cases: Sequence[Case], preprocessing: Preprocessing
) -> Iterator[Callable[[], Decoded]]:
    for case in cases:
        if isinstance(source, ScanSource):
            scan = source.open(case)
            yield from (
                partial(_decode_slice, scan, index, preprocessing)
                for index in range(len(scan.series))
            )
        else:
            yield partial(_decode_film, source, case, preprocessing)


def _decode_film(source: Source, case: Case, preprocessing: Preprocessing) -> Decoded:
    film = source.read_image(case)
    shape = (film.shape[0], film.shape[1])
    masks = source.read_masks(case, shape)
    return _prepared(film, masks, source.spacing_of(case, shape), preprocessing)


def _decode_slice(scan: OpenScan, index: int, preprocessing: Preprocessing) -> Decoded:
    film = preprocessing.window(scan.hu(index))
    undilated = replace(preprocessing, dilate=1)
    nodules = tuple(
        (nodule.identity, _png(undilated.prepare_reference(nodule.mask(index, scan.series.shape))))
        for nodule in scan.nodules
        if index in nodule.pixels
    )
    masks = {"lungs": scan.lungs[index]}
    return replace(_prepared(film, masks, scan.series.spacing, preprocessing), nodules=nodules)


def _prepared(
    film: NDArray[np.uint8],
    masks: dict[str, NDArray[np.bool_]],
    spacing: Spacing | None,
    preprocessing: Preprocessing,
) -> Decoded:
    small = np.zeros((preprocessing.size, preprocessing.size), np.uint8)
    reference: NDArray[np.uint8] | None = None
    for name, mask in masks.items():
        plane = np.uint8(PLANES[name])
        small |= preprocessing.prepare_mask(mask) * plane
        scored = preprocessing.prepare_reference(mask) * plane
        reference = scored if reference is None else reference | scored
    return Decoded(
        image=preprocessing.prepare_image(film),
        mask=small,
        reference=_png(cast("NDArray[np.uint8]", reference)),
        film_shape=(film.shape[0], film.shape[1]),
        spacing=spacing,
        structures=tuple(masks),
    )


def _png(planes: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    return cv2.imencode(".png", planes.astype(np.uint8))[1].tobytes()


def from_png(blob: bytes) -> NDArray[np.uint8]:
    """Return the pixels ``(H, W)`` of a PNG file."""
    decoded = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_UNCHANGED)
    return cast("NDArray[np.uint8]", decoded)


def total(cases: Iterable[Case]) -> int:
    """Return how many entries all cases have together."""
    return sum(map(slices_of, cases))

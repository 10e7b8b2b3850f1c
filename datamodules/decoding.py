"""Cases to what the cache keeps of them: a film gives one entry, a scan one a slice.

Where several preprocessings are wanted of the same cases, each file is read once, and what these
have in common (equalising a film at its own size, the reference that is scored) is done once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TypeVar, cast

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

PNG_OF_MASKS = (
    cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE,
)  # fmt: skip
"""Flat areas gain nothing from PNG's filters: read three times as fast, half as large again."""

_Found = TypeVar("_Found")


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
    wanted: Sequence[Preprocessing],
) -> Iterator[tuple[Decoded, ...]]:
    """Decode cases in parallel and in order, at most a few films or slices ahead.

    Scans are opened one after the other, so that no more than two are ever at hand.

    Args:
        pool: where they are decoded.
        workers: its threads.
        source: the reader of the data set.
        cases: what to decode.
        wanted: the preprocessings.

    Returns:
        each film or slice, as every preprocessing has it, in their order.

    Raises:
        DataError: if a file is unreadable or contradicts the official layout.
    """
    ahead = 2 * workers
    waiting: list[Future[tuple[Decoded, ...]]] = []
    for task in _tasks(source, cases, wanted):
        waiting.append(pool.submit(task))
        if len(waiting) > ahead:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def slices_of(case: Case) -> int:
    """Return how many entries a case has: a scan's slices, or 1."""
    return case.slice_count if isinstance(case, ScanCase) else 1


def _tasks(
    source: Source, cases: Sequence[Case], wanted: Sequence[Preprocessing]
) -> Iterator[Callable[[], tuple[Decoded, ...]]]:
    for case in cases:
        if isinstance(source, ScanSource):
            scan = source.open(case)
            yield from (
                partial(_decode_slice, scan, index, wanted) for index in range(len(scan.series))
            )
        else:
            yield partial(_decode_film, source, case, wanted)


def _decode_film(
    source: Source, case: Case, wanted: Sequence[Preprocessing]
) -> tuple[Decoded, ...]:
    film = source.read_image(case)
    shape = (film.shape[0], film.shape[1])
    masks = source.read_masks(case, shape)
    picture = _Picture(lambda _: film, masks, source.spacing_of(case, shape), shape)
    return tuple(map(picture.prepared, wanted))


def _decode_slice(
    scan: OpenScan, index: int, wanted: Sequence[Preprocessing]
) -> tuple[Decoded, ...]:
    hu, shape = scan.hu(index), scan.series.shape
    masks = {"lungs": scan.lungs[index]}
    picture = _Picture(lambda one: one.window(hu), masks, scan.series.spacing, shape)
    undilated = replace(wanted[0], dilate=1)
    nodules = tuple(
        (nodule.identity, _png(undilated.prepare_reference(nodule.mask(index, shape))))
        for nodule in scan.nodules
        if index in nodule.pixels
    )
    return tuple(replace(picture.prepared(one), nodules=nodules) for one in wanted)


class _Picture:
    """A film or slice with its masks, at hand for several preprocessings.

    Args:
        film: gives grey values ``(H, W)`` for a preprocessing, whose window decides on a slice's.
        masks: each structure's ``(H, W)``.
        spacing: mm from one pixel to the next, down and along.
        shape: H and W.
    """

    def __init__(
        self,
        film: Callable[[Preprocessing], NDArray[np.uint8]],
        masks: dict[str, NDArray[np.bool_]],
        spacing: Spacing | None,
        shape: tuple[int, int],
    ) -> None:
        self._film, self._masks, self._spacing, self._shape = film, masks, spacing, shape
        self._done: dict[Hashable, object] = {}

    def prepared(self, one: Preprocessing) -> Decoded:
        """Return it as a preprocessing has it."""
        equalised = (one.clahe_clip, one.clahe_tiles) if one.clahe == "before_resize" else None
        film = self._once(
            ("film", one.hu_window, equalised), lambda: one.at_own_size(self._film(one))
        )
        # The square only decides on how far a reference is dilated.
        square = (one.dilate, one.size, one.keep_aspect) if one.dilate > 1 else None
        reference = self._once(
            ("reference", square), lambda: _png(self._planes(one.prepare_reference))
        )
        return Decoded(
            image=one.to_size(film),
            mask=self._planes(one.prepare_mask),
            reference=reference,
            film_shape=self._shape,
            spacing=self._spacing,
            structures=tuple(self._masks),
        )

    def _planes(
        self, prepare: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]
    ) -> NDArray[np.uint8]:
        """Return the masks, prepared, as bit planes."""
        planes = [prepare(mask) * np.uint8(PLANES[name]) for name, mask in self._masks.items()]
        return reduce(np.bitwise_or, planes)

    def _once(self, key: Hashable, compute: Callable[[], _Found]) -> _Found:
        if key not in self._done:
            self._done[key] = compute()
        return cast("_Found", self._done[key])


def _png(planes: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    return cv2.imencode(".png", planes.astype(np.uint8), PNG_OF_MASKS)[1].tobytes()


def from_png(blob: bytes) -> NDArray[np.uint8]:
    """Return the pixels ``(H, W)`` of a PNG file."""
    decoded = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_UNCHANGED)
    return cast("NDArray[np.uint8]", decoded)


def total(cases: Iterable[Case]) -> int:
    """Return how many entries all cases have together."""
    return sum(map(slices_of, cases))

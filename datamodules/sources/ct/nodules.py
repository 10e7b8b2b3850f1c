"""Readers' outlines to one mask a nodule and slice: what at least half of its readers enclosed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.arrays import Mask
from contract.errors import DataError
from datamodules.sources.ct.nodule_xml import Contour, Outline, ReaderNodule, Readings
from datamodules.sources.ct.series import Series

Pixels = NDArray[np.intp]
"""A mask of one slice as the sorted flat indices of its pixels: nodules are small, scans large."""


@dataclass(frozen=True)
class Nodule:
    """A nodule that one reader or more outlined.

    Attributes:
        identity: its name within the scan, ``nodule-01`` being the lowest.
        readers: how many readers outlined it.
        pixels: for each slice's index the pixels that at least half of those readers enclosed;
            slices without such a pixel are left out.
    """

    identity: str
    readers: int
    pixels: dict[int, Pixels]

    def mask(self, index: int, shape: tuple[int, int]) -> Mask:
        """Return its mask ``(H, W)`` in a slice of that shape."""
        mask = np.zeros(shape[0] * shape[1], np.bool_)
        mask[self.pixels.get(index, [])] = True
        return mask.reshape(shape)


def consensus(path: Path, readings: Readings, series: Series) -> tuple[Nodule, ...]:
    """Return a scan's nodules, the lowest first.

    Outlines of different readers are one nodule where what they enclose overlaps in a slice,
    directly or over a third reader's. A pixel belongs to it if at least half of the readers who
    outlined it enclosed that pixel. By LIDC's rule an outline is the first ring of pixels outside
    of the nodule, so it is no part of the mask; regions marked as excluded are taken out with
    their outlines.

    Args:
        path: the XML file that an error names.
        readings: its content.
        series: the scan, whose UID and slices must be those of the readings.

    Raises:
        DataError: if the readings are another series', or a point lies outside of its slice.
    """
    if readings.series != series.uid:
        raise DataError(
            path,
            f"readings of series {readings.series or '(none)'}",
            f"those of series {series.uid}",
            "put the XML file beside the series that it belongs to",
        )
    marked = [_enclosed(path, nodule, series) for nodule in readings.nodules]
    found = []
    for cluster in _clusters([_with_outline(nodule, series) for nodule in readings.nodules]):
        by_reader: dict[int, dict[int, Pixels]] = defaultdict(dict)
        for number in cluster:
            own = by_reader[readings.nodules[number].reader]
            for index, pixels in marked[number].items():
                own[index] = np.union1d(own[index], pixels) if index in own else pixels
        majority = _majority(list(by_reader.values()))
        if majority:
            lowest = min(majority)
            found.append((lowest, int(majority[lowest][0]), len(by_reader), majority))
    found.sort(key=lambda item: item[:3])
    return tuple(
        Nodule(f"nodule-{number:02d}", readers, pixels)
        for number, (_, _, readers, pixels) in enumerate(found, 1)
    )


def _majority(readers: Sequence[dict[int, Pixels]]) -> dict[int, Pixels]:
    kept = {}
    for index in sorted({index for reader in readers for index in reader}):
        enclosed = np.concatenate([reader[index] for reader in readers if index in reader])
        pixels, votes = np.unique(enclosed, return_counts=True)
        if (2 * votes >= len(readers)).any():
            kept[index] = pixels[2 * votes >= len(readers)]
    return kept


def _enclosed(path: Path, nodule: ReaderNodule, series: Series) -> dict[int, Pixels]:
    """Return what a reader enclosed, slice by slice, holes taken out."""
    found: dict[int, Pixels] = {}
    for outline in sorted(nodule.outlines, key=lambda outline: not outline.inclusion):
        index = _slice(path, outline, series)
        inside = fill(outline.contour, series.shape, with_outline=not outline.inclusion)
        pixels = np.flatnonzero(inside)
        before = found.get(index, pixels[:0])
        join = np.union1d if outline.inclusion else np.setdiff1d
        found[index] = join(before, pixels)
    return found


def _slice(path: Path, outline: Outline, series: Series) -> int:
    """Return the index of an outline's slice, in which all its points must lie."""
    index = series.slice_of.get(outline.instance)
    if index is None:
        raise DataError(
            path,
            f"an outline in slice {outline.instance}",
            f"a slice of series {series.uid}",
            "put the XML file beside the series that it belongs to",
        )
    columns, rows = zip(*outline.contour, strict=True)
    height, width = series.shape
    if min(columns) < 0 or min(rows) < 0 or max(columns) >= width or max(rows) >= height:
        raise DataError(
            path,
            f"a point outside of slice {outline.instance} of series {series.uid} (columns "
            f"{min(columns)} to {max(columns)}, rows {min(rows)} to {max(rows)})",
            f"{width}×{height} pixels",
        )
    return index


def _with_outline(nodule: ReaderNodule, series: Series) -> dict[int, Pixels]:
    """Return what decides on overlap: a nodule of a few pixels has hardly anything inside."""
    found: dict[int, Pixels] = {}
    for outline in nodule.outlines:
        if outline.inclusion:
            index = series.slice_of[outline.instance]
            pixels = np.flatnonzero(fill(outline.contour, series.shape, with_outline=True))
            found[index] = np.union1d(found[index], pixels) if index in found else pixels
    return found


def fill(contour: Contour, shape: tuple[int, int], *, with_outline: bool) -> Mask:
    """Return the pixels that a closed contour encloses, ``(H, W)``, with its own or without."""
    points = np.array(contour, np.int32)[:, None]
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [points], (1,))
    if not with_outline:
        cv2.polylines(canvas, [points], True, (0,))
    return canvas > 0


def _clusters(nodules: Sequence[dict[int, Pixels]]) -> list[list[int]]:
    """Return groups of numbers of nodules that overlap, directly or over others."""
    parent = list(range(len(nodules)))

    def root(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    for one, other in combinations(range(len(nodules)), 2):
        shared = nodules[one].keys() & nodules[other].keys()
        if any(np.intersect1d(nodules[one][i], nodules[other][i]).size for i in shared):
            parent[root(other)] = root(one)
    groups: dict[int, list[int]] = defaultdict(list)
    for number in range(len(nodules)):
        groups[root(number)].append(number)
    return list(groups.values())

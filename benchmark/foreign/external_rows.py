"""Rows of masks that another tool predicted, by the scoring that our own predictions get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np

from benchmark.cell.case_pictures import STRUCTURE, Gallery, GalleryMaker, Masks, choose_cases
from benchmark.progress import say, shown
from contract.arrays import Mask
from contract.machine import cores
from contract.words import BACKGROUND
from datamodules.cache import prepare
from datamodules.datasets import CaseList, EvaluationSet
from datamodules.division import DividedProtocol
from datamodules.foreign.predicted_masks import (
    read_scan,
    read_structures,
    require_backgrounds,
    require_sides,
    sides,
    to_scored_grid,
)
from datamodules.preprocessing import Preprocessing
from datamodules.sources.ct.scan import ScanCase
from datamodules.sources.films import stated_pixels
from datamodules.sources.mask_levels import border_share
from datamodules.sources.masks import Labels
from datamodules.splits import Key
from lightning_modules.metrics.scans import ComingSlice, ScansInOrder, SliceMasks
from lightning_modules.metrics.scoring import score_masks

Rows = list[dict[str, Any]]

LARGE = 24_000_000
"""Masks of more pixels, which no official film has, are read one at a time."""


@dataclass(frozen=True)
class Reading:
    """How the files of a folder of masks are read.

    Attributes:
        folder: the folder.
        files: each test case's file.
        labels: the values of each structure; None for binary masks of the lungs.
        resize: whether masks of other sizes are stretched onto their films.
    """

    folder: Path
    files: Mapping[Key, Path]
    labels: Labels | None
    resize: bool


@dataclass(frozen=True)
class _Read:
    """The rows of one case, and how its mask lies.

    Attributes:
        rows: its rows.
        standing: whether left and right stand where they should; None where that is not known.
        bordering: whether lung covers more than half of the film's border.
    """

    rows: Rows
    standing: bool | None = None
    bordering: bool = False


class ScoredCases:
    """The test cases of a protocol with their references on the grid that is scored.

    Args:
        protocol: the protocol on its data.
        keys: data set and id of each test case.
        preprocessing: settings of a cache that holds the references.
        cache: the folder of prepared images.
    """

    def __init__(
        self,
        protocol: DividedProtocol,
        keys: Sequence[Key],
        preprocessing: Preprocessing,
        cache: Path,
    ) -> None:
        tested = {name for name, _ in keys}
        opened = {d.source.name: d for d in protocol.data.values() if d.source.name in tested}
        prepared = {
            name: prepare(data.source, data.cases, preprocessing, cache, shown)
            for name, data in opened.items()
        }
        by_id = {name: {c.case_id: c for c in data.cases} for name, data in opened.items()}
        self.keys = list(keys)
        self._sources = {name: data.source for name, data in opened.items()}
        self._cases = CaseList(keys, prepared, by_id)
        structures = (BACKGROUND, "lungs")
        self._items = EvaluationSet(self._cases, preprocessing, structures, references=True)
        self._one_large = Lock()

    def score(self, reading: Reading) -> dict[Key, Rows]:
        """Return the rows of every case.

        Raises:
            DataError: if a mask is faulty, or left and right are exchanged in most of them.
        """

        def one(number: int) -> _Read:
            group = self._cases.groups[number]
            path = reading.files[self.keys[number]]
            if isinstance(self._cases.cases[group.start], ScanCase):
                return _Read(self._scan(path, group, reading))
            return self._film(path, group.start, reading)

        count = len(self.keys)
        with ThreadPoolExecutor(cores()) as pool:
            scored = shown(pool.map(one, range(count)), count, "scoring masks")
            found = cast("list[_Read]", list(scored))
        standing = [one.standing for one in found if one.standing is not None]
        require_sides(reading.folder, standing.count(False), len(standing))
        bordering = sum(one.bordering for one in found)
        require_backgrounds(reading.folder, bordering, len(found))
        if bordering:
            say(
                f"{bordering} of {len(found)} masks are lung along most of their border; they are "
                "scored as they are"
            )
        return dict(zip(self.keys, (one.rows for one in found), strict=True))

    def gallery(self, reading: Reading, by_case: Mapping[Key, Rows]) -> Gallery:
        """Return the pictures and outlines of the best, median and worst cases.

        Args:
            reading: what ``score`` read.
            by_case: what it returned.
        """
        rows = [row for key in self.keys for row in by_case[key]]
        group_of = {place: k for k, group in enumerate(self._cases.groups) for place in group}
        volumes: dict[int, Mask] = {}

        def masks_at(place: int) -> Masks:
            number = group_of[place]
            path = reading.files[self.keys[number]]
            item, case = self._items[place], self._cases.cases[place]
            reference = item["references"][STRUCTURE]
            if not isinstance(case, ScanCase):
                return reference, self._film_masks(path, place, reading)[STRUCTURE]
            if number not in volumes:
                volumes.clear()  # one scan at a time
                volumes[number] = read_scan(path, case.series, reading.labels)
            mask = volumes[number][place - self._cases.groups[number].start]
            return reference, _slice_mask(path, mask, reference)

        drawn = GalleryMaker(choose_cases(rows))
        drawn.add(self._cases, self._sources, masks_at)
        return drawn.gallery()

    def _film_masks(self, path: Path, number: int, reading: Reading) -> dict[str, Mask]:
        """Return a film's masks on the grid that is scored."""
        prepared, place = self._cases.place(number)
        film = prepared.entries[place].film_shape
        height, width = next(iter(self._items[number]["references"].values())).shape
        with self._one_large if stated_pixels(path) > LARGE else nullcontext():
            masks = read_structures(path, reading.labels)
            return to_scored_grid(path, masks, film, (height, width), reading.resize)

    def _film(self, path: Path, number: int, reading: Reading) -> _Read:
        item = self._items[number]
        masks = self._film_masks(path, number, reading)
        rows = score_masks(masks, item["references"], item["spacing"])
        bordering = border_share(masks["lungs"]) > 0.5
        return _Read([{**item["identity"], **row} for row in rows], sides(masks), bordering)

    def _scan(self, path: Path, group: range, reading: Reading) -> Rows:
        """Return a scan's rows: of each slice, and of the whole."""
        scan = self._cases.cases[group.start]
        assert isinstance(scan, ScanCase)
        volume = read_scan(path, scan.series, reading.labels)
        in_order, rows = ScansInOrder(), []
        for mask, number in zip(volume, group, strict=True):
            item = self._items[number]
            reference = item["references"]["lungs"]
            lungs = _slice_mask(path, mask, reference)
            of_slice = score_masks({"lungs": lungs}, item["references"], item["spacing"])
            rows += [{**item["identity"], **row} for row in of_slice]
            masks = {"lungs": SliceMasks(*map(np.asarray, (lungs, reference) * 2))}
            shapes = {"lungs": reference.shape}
            coming = ComingSlice(item["identity"], item["scan"], item["spacing"], shapes)
            whole = in_order.next(coming)
            whole.put(item["identity"]["slice_index"], masks, item["nodules"])
        in_order.finish()
        # No network was here, whose size these would be of.
        rows += [{**row, "dice_netgrid": None, "iou_netgrid": None} for row in whole.rows()]
        return rows


def _slice_mask(path: Path, mask: Mask, reference: Mask) -> Mask:
    """Return a slice's mask on the grid of its reference."""
    shape = mask.shape[0], mask.shape[1]
    height, width = reference.shape
    return to_scored_grid(path, {"lungs": mask}, shape, (height, width), False)["lungs"]

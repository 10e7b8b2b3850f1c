"""Slices of CT scans, as they come, to one row a scan and structure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from contract.arrays import Mask
from lightning_modules.activations import Activation
from lightning_modules.metrics.case_metrics import overlap_metrics
from lightning_modules.metrics.scan_metrics import NoduleTally, nodule_coverage, volume_metrics
from lightning_modules.metrics.scoring import structure_masks, to_reference_grid


@dataclass(frozen=True)
class SliceMasks:
    """One structure of one slice.

    Attributes:
        prediction: predicted mask ``(h, w)`` on the grid that is scored.
        reference: reference mask ``(h, w)``.
        small_prediction: predicted mask ``(H, W)`` at the network's size.
        small_reference: reference mask ``(H, W)`` at the network's size.
    """

    prediction: Mask
    reference: Mask
    small_prediction: Mask
    small_reference: Mask


def slice_masks(
    probabilities: Tensor,
    target: Tensor,
    references: Mapping[str, Mask],
    box: tuple[int, int, int, int],
    structures: Sequence[str],
    activation: Activation,
) -> dict[str, SliceMasks]:
    """Return the masks of each structure that the network predicts and the reference has.

    Args:
        probabilities: ``(C, H, W)`` at the network's size.
        target: ``(C, H, W)``, the reference at the network's size, boolean or in [0, 1].
        references: each structure's mask ``(h, w)`` on the grid that is scored.
        box: where the slice lies inside the network's square.
        structures: the channels' names.
        activation: how hard masks follow from probabilities.
    """
    height, width = next(iter(references.values())).shape
    large = to_reference_grid(probabilities, box, (height, width))
    scored = structure_masks(large, structures, activation)
    small = structure_masks(probabilities, structures, activation)
    truth = structure_masks(target, structures, "sigmoid")
    return {
        name: SliceMasks(
            scored[name][0].cpu().numpy(),
            reference,
            small[name][0].cpu().numpy(),
            truth[name][0].cpu().numpy(),
        )
        for name, reference in references.items()
        if name in scored
    }


@dataclass(frozen=True)
class PackedMask:
    """A mask, an eighth of a byte a pixel.

    Attributes:
        shape: the mask's.
        bits: its pixels.
    """

    shape: tuple[int, ...]
    bits: NDArray[np.uint8]

    @classmethod
    def of(cls, mask: Mask) -> PackedMask:
        """Pack a mask."""
        return cls(mask.shape, np.packbits(mask))


def unpacked_volume(masks: Sequence[PackedMask]) -> Mask:
    """Return the masks ``(D, H, W)`` of a scan's slices."""
    shape = masks[0].shape
    volume = np.empty((len(masks), *shape), np.bool_)
    for place, mask in enumerate(masks):
        volume[place] = np.unpackbits(mask.bits, count=volume[place].size).reshape(shape)
    return volume


class _Part(NamedTuple):
    """What is kept of a slice: masks by structure, as ``SliceMasks`` has them, and nodules."""

    masks: dict[str, tuple[PackedMask, ...]]
    nodules: dict[str, NoduleTally]


@dataclass(frozen=True)
class ComingSlice:
    """What is known of a slice before its masks are.

    Attributes:
        identity: the first columns of its rows.
        scan: the ``scan_id``, ``n_slices`` and ``slice_mm``, the mm between slices, of its scan.
        spacing: mm from one pixel of the grid that is scored to the next, down and along.
        shapes: each structure's ``(h, w)`` on that grid.
    """

    identity: Mapping[str, Any]
    scan: Mapping[str, Any]
    spacing: tuple[float, float]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def grid(self) -> tuple[float, float, float]:
        """The mm between slices, and between pixels down and along."""
        return (self.scan["slice_mm"], *self.spacing)


class GrowingScan:
    """A scan whose slices come; those may be put in on several threads and in any order.

    Args:
        first: its first slice, which is still to be announced.

    Attributes:
        scan_id: the scan.
        n_slices: how many slices it has.
        expected: the place of the slice that must come next, the lowest first.
    """

    def __init__(self, first: ComingSlice) -> None:
        self.scan_id: str = first.scan["scan_id"]
        self.n_slices: int = first.scan["n_slices"]
        self.expected = 0
        self._first = first
        own = {"case_id": self.scan_id, "unit": "scan", "slice_index": None}
        self._identity = {**first.identity, **own}
        self._parts: list[_Part | None] = [None] * self.n_slices

    @property
    def is_announced(self) -> bool:
        """Whether all slices have been announced."""
        return self.expected == self.n_slices

    def announce(self, coming: ComingSlice) -> None:
        """Say which slice comes next.

        Raises:
            RuntimeError: if a slice is missing, doubled, or of another scan or shape.
        """
        expected = f"slice {self.expected} of scan {self.scan_id}"
        place, scan_id = coming.identity["slice_index"], coming.scan["scan_id"]
        if (scan_id, place) != (self.scan_id, self.expected):
            raise RuntimeError(f"slice {place} of scan {scan_id} came; expected {expected}")
        shapes, first = coming.shapes, self._first
        if coming.grid != first.grid or shapes.keys() != first.shapes.keys():
            raise RuntimeError(f"{expected} has another spacing or other structures than the first")
        if dict(shapes) != dict(first.shapes):
            raise RuntimeError(f"{expected} has another shape than the first")
        self.expected += 1

    def put(
        self,
        place: int,
        masks: Mapping[str, SliceMasks],
        nodules: Sequence[tuple[str, Mask]] = (),
    ) -> None:
        """Put a slice in.

        Args:
            place: the slice's, from 0.
            masks: by structure; the same structures in each slice of a scan.
            nodules: identity and mask ``(h, w)`` of each nodule in the slice.
        """
        tallies: dict[str, NoduleTally] = {}
        for name, nodule in nodules:
            lungs = masks["lungs"]
            seen = tallies.setdefault(name, NoduleTally())
            seen.add(nodule, lungs.prediction, lungs.reference, self._first.spacing)
        packed = {
            name: tuple(map(PackedMask.of, vars(parts).values())) for name, parts in masks.items()
        }
        self._parts[place] = _Part(packed, tallies)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row a structure, once all slices are in; nodules count in that of ``lungs``.

        The slices are forgotten.
        """
        parts = [part for part in self._parts if part is not None]
        assert len(parts) == self.n_slices
        self._parts = []
        rows = []
        for name in parts[0].masks:
            masks = zip(*(part.masks[name] for part in parts), strict=True)
            row = {**self._identity, "structure": name, **_scored(masks, self._first.grid)}
            if name == "lungs":
                row |= nodule_coverage(_joined(part.nodules for part in parts))
            rows.append(row)
        return rows


def _scored(
    masks: Iterable[Sequence[PackedMask]], grid: tuple[float, float, float]
) -> dict[str, Any]:
    """Return a structure's columns; the masks of all slices come as ``SliceMasks`` has them."""
    prediction, reference, *small = map(unpacked_volume, masks)
    net = overlap_metrics(*small)
    return {
        **volume_metrics(prediction, reference, grid),
        "dice_netgrid": net["dice"],
        "iou_netgrid": net["iou"],
        "empty_prediction": not prediction.any(),
        "empty_reference": not reference.any(),
        "height": reference.shape[1],
        "width": reference.shape[2],
    }


def _joined(slices: Iterable[Mapping[str, NoduleTally]]) -> list[NoduleTally]:
    found: dict[str, NoduleTally] = {}
    for tallies in slices:
        for name, tally in tallies.items():
            found.setdefault(name, NoduleTally()).join(tally)
    return list(found.values())


class ScansInOrder:
    """Sees to it that each scan comes whole and in order, the lowest slice first."""

    def __init__(self) -> None:
        self._open: GrowingScan | None = None

    def next(self, coming: ComingSlice) -> GrowingScan:
        """Return the scan that the next slice is to be put into.

        Raises:
            RuntimeError: if a slice is missing, doubled, or of another scan or shape.
        """
        current = self._open or GrowingScan(coming)
        self._open = current
        current.announce(coming)
        if current.is_announced:
            self._open = None
        return current

    def finish(self) -> None:
        """Say that no further slice comes.

        Raises:
            RuntimeError: if a scan lacks slices.
        """
        if self._open is not None:
            found = f"{self._open.expected} of {self._open.n_slices} slices"
            raise RuntimeError(f"scan {self._open.scan_id}: {found} came")

"""Slices of CT scans, as they come, to one row a scan and structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
        target: ``(C, H, W)``, the reference at the network's size.
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


@dataclass
class _PackedVolume:
    """A mask of a growing volume, an eighth of a byte a voxel."""

    shape: tuple[int, int]
    _slices: list[NDArray[np.uint8]] = field(default_factory=list)

    def append(self, mask: Mask) -> None:
        self._slices.append(np.packbits(mask))

    def whole(self) -> Mask:
        pixels = self.shape[0] * self.shape[1]
        volume = np.empty((len(self._slices), *self.shape), np.bool_)
        for place, packed in enumerate(self._slices):
            volume[place] = np.unpackbits(packed, count=pixels).reshape(self.shape)
        return volume


@dataclass
class _Structure:
    """What has been seen of one structure, on the grid that is scored and at the network's size."""

    prediction: _PackedVolume
    reference: _PackedVolume
    small_prediction: _PackedVolume
    small_reference: _PackedVolume

    @classmethod
    def like(cls, masks: SliceMasks) -> _Structure:
        volumes = (_PackedVolume((mask.shape[0], mask.shape[1])) for mask in vars(masks).values())
        return cls(*volumes)

    def append(self, masks: SliceMasks) -> None:
        for name, mask in vars(masks).items():
            getattr(self, name).append(mask)

    def row(self, spacing: Sequence[float]) -> dict[str, Any]:
        prediction, reference = self.prediction.whole(), self.reference.whole()
        small = overlap_metrics(self.small_prediction.whole(), self.small_reference.whole())
        return {
            **volume_metrics(prediction, reference, spacing),
            "dice_netgrid": small["dice"],
            "iou_netgrid": small["iou"],
            "empty_prediction": not prediction.any(),
            "empty_reference": not reference.any(),
            "height": reference.shape[1],
            "width": reference.shape[2],
        }


@dataclass
class _Scan:
    """A scan of which some slices have come."""

    scan_id: str
    n_slices: int
    grid: tuple[float, float, float]
    identity: dict[str, Any]
    structures: dict[str, _Structure]
    nodules: dict[str, NoduleTally] = field(default_factory=dict)
    slices: int = 0


class ScanRows:
    """Keeps the masks of the scan in progress, and scores it when its last slice has come.

    Each scan comes whole and in order, the lowest slice first; batches may divide it anywhere.
    """

    def __init__(self) -> None:
        self._open: _Scan | None = None

    def add(
        self,
        identity: Mapping[str, Any],
        scan: Mapping[str, Any],
        spacing: tuple[float, float],
        masks: Mapping[str, SliceMasks],
        nodules: Sequence[tuple[str, Mask]] = (),
    ) -> list[dict[str, Any]]:
        """Add one slice.

        Args:
            identity: the first columns of the slice's rows.
            scan: its ``scan_id``, ``n_slices`` and ``slice_mm``, the mm between slices.
            spacing: mm from one pixel of the grid that is scored to the next, down and along.
            masks: by structure; the same structures in each slice of a scan.
            nodules: identity and mask ``(h, w)`` of each nodule in the slice.

        Returns:
            One row a structure where this was the scan's last slice, otherwise none. Nodules are
            counted in the row of ``lungs``.

        Raises:
            RuntimeError: if a slice is missing, doubled, or of another scan or shape.
        """
        current = self._open or _begun(identity, scan, spacing, masks)
        self._open = current
        _require_next(current, identity, scan, spacing, masks)
        for name, parts in masks.items():
            current.structures[name].append(parts)
        for name, nodule in nodules:
            lungs = masks["lungs"]
            seen = current.nodules.setdefault(name, NoduleTally())
            seen.add(nodule, lungs.prediction, lungs.reference, spacing)
        current.slices += 1
        if current.slices < current.n_slices:
            return []
        self._open = None
        return _rows(current)

    def finish(self) -> None:
        """Say that no further slice comes.

        Raises:
            RuntimeError: if a scan lacks slices.
        """
        if self._open is not None:
            found = f"{self._open.slices} of {self._open.n_slices} slices"
            raise RuntimeError(f"scan {self._open.scan_id}: {found} came")


def _begun(
    identity: Mapping[str, Any],
    scan: Mapping[str, Any],
    spacing: tuple[float, float],
    masks: Mapping[str, SliceMasks],
) -> _Scan:
    own = {**identity, "case_id": scan["scan_id"], "unit": "scan", "slice_index": None}
    return _Scan(
        scan_id=scan["scan_id"],
        n_slices=scan["n_slices"],
        grid=(scan["slice_mm"], *spacing),
        identity=own,
        structures={name: _Structure.like(parts) for name, parts in masks.items()},
    )


def _require_next(
    current: _Scan,
    identity: Mapping[str, Any],
    scan: Mapping[str, Any],
    spacing: tuple[float, float],
    masks: Mapping[str, SliceMasks],
) -> None:
    """Refuse any slice but the next of the same scan."""
    expected = f"slice {current.slices} of scan {current.scan_id}"
    if (scan["scan_id"], identity["slice_index"]) != (current.scan_id, current.slices):
        found = f"slice {identity['slice_index']} of scan {scan['scan_id']}"
        raise RuntimeError(f"{found} came; expected {expected}")
    if (scan["slice_mm"], *spacing) != current.grid or masks.keys() != current.structures.keys():
        raise RuntimeError(f"{expected} has another spacing or other structures than the first")
    for name, parts in masks.items():
        if parts.reference.shape != current.structures[name].reference.shape:
            raise RuntimeError(f"{expected} has another shape than the first")


def _rows(scan: _Scan) -> list[dict[str, Any]]:
    rows = []
    for name, structure in scan.structures.items():
        row = {**scan.identity, "structure": name, **structure.row(scan.grid)}
        if name == "lungs":
            row |= nodule_coverage(scan.nodules.values())
        rows.append(row)
    return rows

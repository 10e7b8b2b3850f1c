"""Metrics of CT: of a whole scan as a volume, of the nodules in it, and LGAN's of a slice.

Pure functions of numpy arrays; an undefined value is ``None``. A volume is a boolean array
``(D, H, W)``, its spacing the mm from one slice, row and column to the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from contract.arrays import Mask
from lightning_modules.metrics.case_metrics import overlap_metrics
from lightning_modules.metrics.surfaces import inner_edge, squares_in_plane, volume_surface

PLEURAL_MM = 2.0
"""A nodule this near to the outer boundary of the lungs is called pleural."""

LARGEST_HOLE_MM2 = math.pi * 15**2
"""Holes of the reference up to this area are filled before its outer boundary is sought: the disc
of 30 mm, above which an opacity is no nodule but a mass (Hansell et al., Radiology 246, 2008).
A larger hole is what two lungs that touch enclose."""

COVERED = 0.5
"""The share of a nodule's pixels from which on it counts as inside the predicted lungs."""


def volume_metrics(
    prediction: Mask, reference: Mask, spacing: Sequence[float]
) -> dict[str, float | None]:
    """Score one structure of one scan in three dimensions.

    Overlaps count voxels; distances are those of ``surfaces.volume_surface``.

    Args:
        prediction: predicted mask ``(D, H, W)``, boolean, all slices of the scan.
        reference: reference mask ``(D, H, W)``, boolean.
        spacing: mm from one slice, row and column to the next; they may differ.

    Returns:
        The overlaps, ``nsd`` at 2 mm, ``hausdorff_mm``, ``hausdorff95_mm``, ``assd_mm``, and
        ``volume_ml`` and ``reference_volume_ml``. Distances in pixels are undefined, since a
        voxel's sides differ, and so is ``auc``.

    Raises:
        ValueError: if a mask is not boolean, the shapes differ or the spacing is not positive.
    """
    surface = volume_surface(prediction, reference, spacing)
    voxel_ml = math.prod(spacing) / 1000
    return {
        **overlap_metrics(prediction, reference),
        "nsd": surface.nsd,
        "hausdorff_mm": surface.hausdorff,
        "hausdorff95_mm": surface.hausdorff95,
        "assd_mm": surface.assd,
        "volume_ml": int(np.count_nonzero(prediction)) * voxel_ml,
        "reference_volume_ml": int(np.count_nonzero(reference)) * voxel_ml,
    }


def hausdorff_rowvector(prediction: Mask, reference: Mask) -> float:
    """Return what LGAN's tables seem to print as "Hausdorff distance"; it is none between masks.

    The symmetric Hausdorff distance between the *rows* of two masks, each row a point of W
    coordinates, as ``scipy.spatial.distance.directed_hausdorff`` gives it when it is fed the masks
    instead of lists of their pixels. It is the square root of a count of pixels in which two rows
    differ, which the paper's medians fit (5.831² = 34, 3.162² = 10) and no distance between two
    pixels can (3.317² = 11). Scores are comparable at one size only; the paper's is 224 x 224.

    Source: Tan et al., "LGAN", 2021, Tables 2 and 3; how it was computed is a conjecture.

    Args:
        prediction: predicted mask ``(H, W)``, boolean, at the network's size.
        reference: reference mask ``(H, W)``, boolean.
    """
    first, second = _distinct_rows(prediction), _distinct_rows(reference)
    columns = np.flatnonzero(np.logical_or(first.any(axis=0), second.any(axis=0)))
    if not columns.size:
        return 0.0
    part = slice(columns[0], columns[-1] + 1)
    one, other = first[:, part].astype(np.float32), second[:, part].astype(np.float32)
    # Counts of pixels: whole numbers, which 32 bits hold exactly.
    differing = one.sum(axis=1)[:, None] + other.sum(axis=1)[None] - 2 * one @ other.T
    return math.sqrt(max(differing.min(axis=1).max(), differing.min(axis=0).max()))


def _distinct_rows(mask: Mask) -> Mask:
    """Return a mask's rows without those that equal the row above them: a set has each once."""
    new = np.ones(len(mask), np.bool_)
    new[1:] = (mask[1:] != mask[:-1]).any(axis=1)
    return mask[new]


@dataclass
class NoduleTally:
    """An annotated nodule, gathered slice by slice.

    Attributes:
        pixels: annotated pixels, over all slices.
        inside: those of them inside the predicted lungs.
        pleural: whether it touches or leaves the outer boundary of the reference lungs.
    """

    pixels: int = 0
    inside: int = 0
    pleural: bool = False

    def add(
        self, nodule: Mask, prediction: Mask, reference: Mask, spacing: tuple[float, float]
    ) -> None:
        """Add one slice.

        Args:
            nodule: its annotated pixels ``(H, W)``.
            prediction: the predicted lungs ``(H, W)``.
            reference: the reference lungs ``(H, W)``.
            spacing: height and width of a pixel in mm.
        """
        self.pixels += int(np.count_nonzero(nodule))
        self.inside += int(np.count_nonzero(nodule & prediction))
        self.pleural = self.pleural or is_pleural(nodule, reference, spacing)

    def join(self, other: NoduleTally) -> None:
        """Add the slices of another tally of the same nodule."""
        self.pixels += other.pixels
        self.inside += other.inside
        self.pleural = self.pleural or other.pleural


def is_pleural(nodule: Mask, reference: Mask, spacing: tuple[float, float]) -> bool:
    """Tell whether a nodule lies at the pleura, or what a reference left out as if it were.

    It does where one of its pixels is outside the reference lungs, or within ``PLEURAL_MM`` of
    their outer boundary in the slice. The mediastinal side counts as pleura, holes of the
    reference up to ``LARGEST_HOLE_MM2`` (a nodule or a vessel left out) do not.

    Args:
        nodule: annotated pixels ``(H, W)``, boolean.
        reference: reference lungs ``(H, W)``, boolean.
        spacing: height and width of a pixel in mm.
    """
    if not nodule.any():
        return False
    whole = fill_holes(reference, LARGEST_HOLE_MM2 / (spacing[0] * spacing[1]))
    if (nodule & ~whole).any():
        return True
    away = squares_in_plane(inner_edge(whole), *spacing)
    return bool(away[nodule].min() <= PLEURAL_MM**2 * (1 + 1e-9))


def fill_holes(mask: Mask, largest: float) -> Mask:
    """Fill the holes of a mask ``(H, W)`` that have at most ``largest`` pixels.

    A hole is a part of the background, joined by sides, that does not touch the image's border.
    """
    _, parts, boxes, _ = cv2.connectedComponentsWithStats((~mask).view(np.uint8), connectivity=4)
    border = np.unique(np.concatenate([parts[[0, -1]].ravel(), parts[:, [0, -1]].ravel()]))
    hole = boxes[:, cv2.CC_STAT_AREA] <= largest
    hole[border] = False
    filled: Mask = mask | hole[parts]
    return filled


def nodule_coverage(nodules: Iterable[NoduleTally]) -> dict[str, float | None]:
    """Say how much of a scan's nodules the predicted lungs hold.

    Args:
        nodules: the annotated nodules of one scan.

    Returns:
        ``nodule_coverage``, the share of nodules with at least half of their pixels inside;
        ``nodule_pixel_coverage``, the share of all nodules' pixels inside; and both with
        ``pleural_`` before them, of pleural nodules alone. ``None`` where there are none.
    """
    seen = [nodule for nodule in nodules if nodule.pixels]
    columns: dict[str, float | None] = {}
    for prefix, own in (("", seen), ("pleural_", [nodule for nodule in seen if nodule.pleural])):
        covered = [nodule.inside >= COVERED * nodule.pixels for nodule in own]
        pixels = sum(nodule.pixels for nodule in own)
        columns[f"{prefix}nodule_coverage"] = sum(covered) / len(own) if own else None
        inside = sum(nodule.inside for nodule in own)
        columns[f"{prefix}nodule_pixel_coverage"] = inside / pixels if own else None
    return columns

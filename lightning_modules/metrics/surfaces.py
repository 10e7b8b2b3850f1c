"""How far apart the boundaries of two masks are: distances in one unit, in two or three dimensions.

A mask is a boolean array ``(H, W)`` or ``(D, H, W)``. Its boundary is its inner edge: the pixels
with a background pixel, or the outside of the image, among their four neighbours, in a volume
among their six (MONAI's ``get_mask_edges``). Distances are exact and Euclidean, between the
centres of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from contract.arrays import Mask

Distances = NDArray[np.float64]

NSD_TOLERANCE_MM = 2.0
"""Tolerance of ``nsd`` where the spacing is known."""

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_SPARSE = 1 / 8  # share of boundary pixels up to which a KD-tree beats the distance transform
_STRIDE = 8  # of the slices that are measured from everywhere


class Surface(NamedTuple):
    """Distances between two boundaries, in one unit, and the share of them that is tolerated."""

    hausdorff: float
    hausdorff95: float
    assd: float
    nsd: float


def volume_surface(
    prediction: Mask,
    reference: Mask,
    spacing: Sequence[float],
    tolerance: float = NSD_TOLERANCE_MM,
) -> Surface:
    """Measure in mm how far apart the surfaces of two volumes are.

    The four numbers are those of ``case_metrics.surface_metrics``. Both empty: distances are 0
    and ``nsd`` is 1. Exactly one empty: distances are the diagonal of the volume, ``nsd`` is 0.

    Args:
        prediction: predicted mask ``(D, H, W)``, boolean.
        reference: reference mask ``(D, H, W)``, boolean.
        spacing: mm from one slice, row and column to the next; they may differ.
        tolerance: of ``nsd``, in mm.

    Raises:
        ValueError: if a mask is not boolean, the shapes differ or the spacing is not positive.
    """
    check_masks(prediction, reference, (3,))
    check_spacing(spacing, 3)
    if not prediction.any() or not reference.any():
        agree = bool(prediction.any() == reference.any())
        return empty_surface(agree, diagonal(reference.shape, spacing))
    edges = boundaries(prediction, reference)
    return summary(*distances_between(*edges, spacing), tolerance)


def check_masks(prediction: Mask, reference: Mask, dimensions: tuple[int, ...] = (2, 3)) -> None:
    """Refuse what would broadcast or count wrongly.

    Raises:
        ValueError: if a mask is not boolean, is empty of pixels, or the shapes differ.
    """
    if prediction.dtype != np.bool_ or reference.dtype != np.bool_:
        raise ValueError(f"expected boolean masks, found {prediction.dtype} and {reference.dtype}")
    alike = prediction.shape == reference.shape and reference.ndim in dimensions
    if not alike or not reference.size:
        shapes = " or ".join({2: "(H, W)", 3: "(D, H, W)"}[sides] for sides in dimensions)
        raise ValueError(
            f"expected two masks of one shape {shapes}, found {prediction.shape} "
            f"and {reference.shape}"
        )


def check_spacing(spacing: Sequence[float], sides: int) -> None:
    """Refuse a spacing that is not ``sides`` positive lengths.

    Raises:
        ValueError: if it is not.
    """
    if len(spacing) != sides or not all(0 < side < math.inf for side in spacing):
        raise ValueError(f"expected a spacing of {sides} positive lengths in mm, found {spacing}")


def diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Return the diagonal of an image or a volume, in the spacing's unit."""
    return math.hypot(*(count * step for count, step in zip(shape, spacing, strict=True)))


def empty_surface(both_empty: bool, diagonal: float) -> Surface:
    """Return what stands for distances where a mask is empty."""
    distance = 0.0 if both_empty else diagonal
    return Surface(distance, distance, distance, nsd=1.0 if both_empty else 0.0)


def boundaries(prediction: Mask, reference: Mask) -> tuple[Mask, Mask]:
    """Inner edges of both masks, on the smallest box that holds both masks."""
    box = _box(prediction | reference)
    return inner_edge(prediction[box]), inner_edge(reference[box])


def _box(mask: Mask) -> tuple[slice, ...]:
    """The smallest box around a mask that is not empty."""
    whole = np.asarray(mask.any(axis=0)) if mask.ndim == 3 else mask
    left, top, width, height = cv2.boundingRect(whole.astype(np.uint8))
    box = slice(top, top + height), slice(left, left + width)
    if mask.ndim == 2:
        return box
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    return slice(slices[0], slices[-1] + 1), *box


def inner_edge(mask: Mask) -> Mask:
    """Return a mask's boundary, of the mask's shape."""
    pixels = mask.astype(np.uint8)
    if mask.ndim == 2:
        return (pixels - _eroded(pixels)).astype(np.bool_)
    edge = mask.copy()
    for place in range(1, len(pixels) - 1):
        edge[place] &= (_eroded(pixels[place]) & pixels[place - 1] & pixels[place + 1]) == 0
    return edge


def _eroded(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    eroded = cv2.erode(pixels, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(eroded, np.uint8)


def distances_between(
    first: Mask, second: Mask, spacing: Sequence[float]
) -> tuple[Distances, Distances]:
    """Distance of each pixel of either boundary to the nearest pixel of the other one."""
    if first.ndim == 3:
        return _over_slices(first, second, spacing), _over_slices(second, first, spacing)
    scale = np.asarray(spacing, dtype=np.float64)
    here, there = _pixels(first) * scale, _pixels(second) * scale
    if len(here) + len(there) <= _SPARSE * first.size:
        return _nearest(here, there), _nearest(there, here)
    to_first = distance_transform_edt(~first, sampling=spacing)
    to_second = distance_transform_edt(~second, sampling=spacing)
    return to_second[first], to_first[second]


def _pixels(mask: Mask) -> NDArray[np.intp]:
    """Return the row and column of a mask's pixels, as ``np.argwhere`` does in more time."""
    return np.stack(np.divmod(np.flatnonzero(mask), mask.shape[1]), axis=1)


def _nearest(points: Distances, others: Distances) -> Distances:
    # A tree that serves one query is not worth balancing.
    tree = KDTree(others, balanced_tree=False, compact_nodes=False)
    distances: Distances = tree.query(points)[0]
    return distances


def _over_slices(points: Mask, others: Mask, spacing: Sequence[float]) -> Distances:
    """Distance of each voxel of ``points`` to the nearest one of ``others``, ``(D, H, W)``.

    By Pythagoras over the slices of ``others``, one at a time: its cost depends on the sizes alone,
    where a KD-tree takes minutes between surfaces that are far apart. Some slices are measured from
    all voxels, the rest only from where they can be nearer than those.
    """
    places, rows, columns = np.nonzero(points)
    starts = np.searchsorted(places, np.arange(len(points) + 1))
    squares = np.full(len(places), np.inf)
    filled = np.flatnonzero(others.any(axis=(1, 2)))
    between = np.arange(len(filled)) % _STRIDE > 0
    for planes in (filled[~between], filled[between]):
        largest = np.array(
            [squares[own].max(initial=0.0) for own in map(slice, starts, starts[1:])]
        )
        for place in planes:
            apart = ((np.arange(len(points)) - place) * spacing[0]) ** 2
            near = np.flatnonzero(apart < largest)
            if near.size:
                own = slice(starts[near[0]], starts[near[-1] + 1])
                plane = squares_in_plane(others[place], spacing[1], spacing[2])
                away = plane[rows[own], columns[own]] + apart[places[own]]
                np.minimum(squares[own], away, out=squares[own])
    distances: Distances = np.sqrt(squares)
    return distances


def squares_in_plane(mask: Mask, height: float, width: float) -> Distances:
    """Squared distance of each pixel to the nearest one of a mask that is not empty.

    Args:
        mask: ``(H, W)``, boolean.
        height: of a pixel, in mm.
        width: of a pixel, in mm.

    Returns:
        ``(H, W)``, in mm².
    """
    if height != width:
        away: Distances = distance_transform_edt(~mask, sampling=(height, width))
        return away**2
    pixels = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Squares in pixels are whole numbers; so much for the rounding of 32 bits.
    squares: Distances = np.rint(pixels.astype(np.float64) ** 2) * height**2
    return squares


def summary(forward: Distances, backward: Distances, tolerance: float) -> Surface:
    """Sum up the distances of both directions; see ``case_metrics.surface_metrics``."""
    pooled = np.concatenate((forward, backward))
    within = pooled <= tolerance * (1 + 1e-9)  # five steps of 0.4 mm are 2 mm, rounding or not
    percentiles = np.percentile(forward, 95), np.percentile(backward, 95)
    return Surface(
        hausdorff=float(pooled.max()),
        hausdorff95=float(max(percentiles)),
        assd=float(pooled.mean()),
        nsd=float(np.mean(within)),
    )

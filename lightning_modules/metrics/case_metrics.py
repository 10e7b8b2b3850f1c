"""Metrics of one case and structure, from hard masks on the reference's own grid.

Pure functions of numpy arrays. Every mask is a boolean array ``(H, W)``; nothing returned is
NaN or infinite. An undefined value (no spacing, one class absent) is ``None``.

Empty masks have fixed scores. Both empty: Dice = IoU = precision = recall = nsd = 1 and every
distance is 0. Exactly one empty: Dice = IoU = precision = recall = nsd = 0 and every distance is
the diagonal of the image.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from contract.arrays import Mask, Spacing
from lightning_modules.metrics.surfaces import (
    NSD_TOLERANCE_MM,
    Surface,
    boundaries,
    check_masks,
    check_spacing,
    diagonal,
    distances_between,
    empty_surface,
    summary,
)

NSD_TOLERANCE_SHARE = NSD_TOLERANCE_MM / (2048 * 0.175 * math.sqrt(2))
"""Tolerance of ``nsd`` elsewhere, as a share of the image diagonal: what 2 mm are on a JSRT film
(2048 x 2048 pixels of 0.175 mm), about 0.39 %, or 2.9 pixels at 512 x 512."""


def case_metrics(
    prediction: Mask,
    reference: Mask,
    probability: NDArray[np.floating] | None = None,
    spacing: Spacing | None = None,
) -> dict[str, float | None]:
    """Score one structure of one case.

    Args:
        prediction: predicted mask ``(H, W)``, boolean.
        reference: reference mask ``(H, W)``, boolean.
        probability: probability of the structure ``(H, W)``; without it ``auc`` is ``None``.
        spacing: height and width of one pixel in mm; without it the ``_mm`` metrics are ``None``.

    Returns:
        Every column of ``contract.rows.METRICS`` up to ``iou_keras_pixelwise``, in that order, the
        ``_netgrid`` ones left out.

    Raises:
        ValueError: if a mask is not boolean, the shapes differ or the spacing is not positive.
    """
    auc = None if probability is None else area_under_curve(probability, reference)
    surfaces = surface_metrics(prediction, reference, spacing)
    overlaps = overlap_metrics(prediction, reference)
    keras = keras_pixelwise_iou(overlaps["accuracy"])
    return {**overlaps, "auc": auc, **surfaces, "iou_keras_pixelwise": keras}


def keras_pixelwise_iou(accuracy: float) -> float:
    """What DEFU-Net's paper prints as "IOU", which lies above its Dice as no IoU can.

    Each printed value is (1 + accuracy) / 2, the trace of an IoU that is smoothed by 1 and summed
    over the axis of one channel instead of the image: a pixel then scores (1 + 1) / (1 + 1) or
    (0 + 1) / (0 + 1) where the masks agree and (0 + 1) / (1 + 1) where they differ. Computed on
    the reference's grid, as ``accuracy`` is.

    Source: Zhang et al., "DEFU-Net", 2020, Tables I-III.

    Args:
        accuracy: share of pixels in which two hard masks agree.

    Returns:
        The mean over pixels, in [0.5, 1].
    """
    return (1 + accuracy) / 2


def overlap_metrics(prediction: Mask, reference: Mask) -> dict[str, float]:
    """Count the pixels in which two masks agree.

    Args:
        prediction: predicted mask ``(H, W)`` or ``(D, H, W)``, boolean.
        reference: reference mask of the same shape, boolean.

    Returns:
        ``dice``, ``iou``, ``precision``, ``recall`` and ``accuracy``, each in [0, 1].

    Raises:
        ValueError: if a mask is not boolean or the shapes differ.
    """
    check_masks(prediction, reference)
    predicted, expected = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    both = int(np.count_nonzero(prediction & reference))
    either = predicted + expected - both
    empty = 1.0 if either == 0 else 0.0
    return {
        "dice": _share(2 * both, predicted + expected, empty),
        "iou": _share(both, either, empty),
        "precision": _share(both, predicted, empty),
        "recall": _share(both, expected, empty),
        "accuracy": 1 - (either - both) / reference.size,
    }


def area_under_curve(probability: NDArray[np.floating], reference: Mask) -> float | None:
    """Exact area under the ROC curve over the pixels of one case.

    The Mann-Whitney statistic: the share of pairs (foreground, background) in which the
    foreground pixel has the higher probability, ties counting one half (Hanley and McNeil,
    Radiology 143, 1982). Own code for speed: scikit-learn's takes 20 times as long for a film.

    Args:
        probability: score of the structure ``(H, W)``; only its order matters.
        reference: reference mask ``(H, W)``, boolean.

    Returns:
        The area in [0, 1], or ``None`` where the reference has one class only.

    Raises:
        ValueError: if the shapes differ, the reference is not boolean or a score is NaN.
    """
    if probability.shape != reference.shape or reference.dtype != np.bool_:
        raise ValueError(
            f"expected scores and a boolean reference of one shape, found {probability.shape} "
            f"and {reference.dtype} {reference.shape}"
        )
    positives, negatives = np.sort(probability[reference]), np.sort(probability[~reference])
    if not positives.size or not negatives.size:
        return None
    if np.isnan(positives[-1]) or np.isnan(negatives[-1]):  # NaN sorts last
        raise ValueError("the probability map holds NaN, so its pixels have no order")
    swap = positives.size > negatives.size
    few, many = (negatives, positives) if swap else (positives, negatives)
    below = np.searchsorted(many, few, side="left").sum(dtype=np.int64)
    not_above = np.searchsorted(many, few, side="right").sum(dtype=np.int64)
    area = float((below + not_above) / (2 * few.size * many.size))
    return 1 - area if swap else area


def surface_metrics(
    prediction: Mask,
    reference: Mask,
    spacing: Spacing | None = None,
    tolerance: float | None = None,
) -> dict[str, float | None]:
    """Measure how far apart the boundaries of two masks are.

    Boundaries and their distances are those of ``lightning_modules.metrics.surfaces``. With the
    distances
    from each boundary pixel of one mask to the nearest one of the other, in both directions:

    - ``hausdorff``: the largest of all (symmetric Hausdorff distance);
    - ``hausdorff95``: the larger of the two directed 95th percentiles, each interpolated
      linearly (MONAI's rule; the percentile of the pooled distances would be smaller);
    - ``assd``: the mean of the pooled distances;
    - ``nsd``: the share of the pooled distances up to the tolerance (surface Dice, Nikolov et
      al., J Med Internet Res 23, 2021, counted in boundary pixels).

    Args:
        prediction: predicted mask ``(H, W)``, boolean.
        reference: reference mask ``(H, W)``, boolean.
        spacing: height and width of one pixel in mm; they may differ.
        tolerance: of ``nsd``, in mm with a spacing and in pixels without; by default
            ``NSD_TOLERANCE_MM``, or ``NSD_TOLERANCE_SHARE`` of the image diagonal.

    Returns:
        ``nsd`` in [0, 1], then ``hausdorff``, ``hausdorff95`` and ``assd`` with the suffix
        ``_px``, then the same with the suffix ``_mm``, which are ``None`` without a spacing.

    Raises:
        ValueError: if a mask is not boolean, the shapes differ or the spacing is not positive.
    """
    check_masks(prediction, reference, (2,))
    if spacing is not None:
        check_spacing(spacing, 2)
    whole = diagonal(reference.shape, (1, 1))
    if tolerance is None:
        tolerance = NSD_TOLERANCE_SHARE * whole if spacing is None else NSD_TOLERANCE_MM

    if not prediction.any() or not reference.any():
        agree = bool(prediction.any() == reference.any())
        in_px = empty_surface(agree, whole)
        if spacing is None:
            return _columns(in_px, None)
        return _columns(in_px, empty_surface(agree, diagonal(reference.shape, spacing)))

    edges = boundaries(prediction, reference)
    px = distances_between(*edges, (1.0, 1.0))
    if spacing is None:
        return _columns(summary(*px, tolerance), None)
    if spacing[0] == spacing[1]:
        mm = px[0] * spacing[0], px[1] * spacing[0]
    else:
        mm = distances_between(*edges, spacing)
    return _columns(summary(*px, tolerance), summary(*mm, tolerance))


def _share(part: int, whole: int, empty: float) -> float:
    return part / whole if whole else empty


def _columns(px: Surface, mm: Surface | None) -> dict[str, float | None]:
    columns: dict[str, float | None] = {"nsd": px.nsd if mm is None else mm.nsd}
    for unit, surface in (("px", px), ("mm", mm)):
        for name in ("hausdorff", "hausdorff95", "assd"):
            columns[f"{name}_{unit}"] = None if surface is None else getattr(surface, name)
    return columns

"""What people measure on masks: areas and the cardiothoracic ratio.

Nothing is cleaned before it is measured: a stray speck widens a heart here as it does for whoever
uses the mask as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from contract.arrays import Mask


def measure_structure(
    masks: Mapping[str, Mask], structure: str, spacing: tuple[float, float] | None
) -> dict[str, float | None]:
    """Measure one structure of one film.

    Args:
        masks: the film's masks ``(H, W)`` by structure, on one grid.
        structure: the structure to measure.
        spacing: mm from one pixel of that grid to the next, down and along, or None.

    Returns:
        ``area_px`` in pixels of the grid; ``area_mm2``, None without a spacing; and
        ``cardiothoracic_ratio``, None for all structures but the heart.
    """
    mask = masks[structure]
    pixels = float(np.count_nonzero(mask))
    ratio = None
    if structure == "heart" and "lungs" in masks:
        ratio = cardiothoracic_ratio(mask, masks["lungs"])
    return {
        "area_px": pixels,
        "area_mm2": None if spacing is None else pixels * spacing[0] * spacing[1],
        "cardiothoracic_ratio": ratio,
    }


def cardiothoracic_ratio(heart: Mask, lungs: Mask) -> float | None:
    """Return the heart's width over the largest inner width of the thorax.

    The heart's width is the horizontal distance between its outermost borders, which need not lie
    at one height (the midline distances to the right and to the left border, added). The inner
    width of the thorax is the largest distance along a row between the outermost borders of the
    lungs. Both are horizontal, so no spacing is needed. Above 0.5 a heart counts as enlarged.

    Source: Danzer, "The cardiothoracic ratio: an index of cardiac enlargement", Am J Med Sci 157,
    1919.

    Args:
        heart: mask ``(H, W)``.
        lungs: the union of both lungs ``(H, W)``.

    Returns:
        The ratio, or None where a mask is empty.
    """
    columns = np.flatnonzero(heart.any(axis=0))
    rows = lungs[lungs.any(axis=1)]
    if not columns.size or not rows.size:
        return None
    first = rows.argmax(axis=1)
    beyond = rows.shape[1] - rows[:, ::-1].argmax(axis=1)
    return float((columns[-1] + 1 - columns[0]) / (beyond - first).max())

"""The three sites: their X-ray machines, how they frame the chest and how their annotators draw."""

from __future__ import annotations

import cv2
import numpy as np

from contract.arrays import Mask
from datamodules.phantoms.anatomy import Anatomy
from datamodules.phantoms.film import Manufacturer, View, blur, draw_lungs

MONTGOMERY = Manufacturer(
    window=(0.02, 0.86),
    gamma=0.85,
    floor=0.01,
    ceiling=1.02,
    blur_mm=0.7,
    noise=0.008,
    sharpening=0.0,
    bone=1.0,
    exposure=0.04,
    vignette=0.03,
)
"""Hard contrast: black background, dark lungs, a burnt-out abdomen."""

SHENZHEN = Manufacturer(
    window=(-0.02, 1.04),
    gamma=0.62,
    floor=0.16,
    ceiling=0.93,
    blur_mm=0.4,
    noise=0.016,
    sharpening=0.6,
    bone=1.3,
    exposure=0.05,
    vignette=0.06,
)
"""Bright and flat, with the local contrast raised: ribs stand out in grey lungs."""

JSRT_DIGITIZER = Manufacturer(
    window=(-0.01, 1.0),
    gamma=0.9,
    floor=0.06,
    ceiling=0.86,
    blur_mm=0.9,
    noise=0.010,
    sharpening=0.2,
    bone=0.85,
    exposure=0.03,
    vignette=0.05,
)
"""A digitised screen-film system: soft, middle contrast."""


def frame(
    anatomy: Anatomy,
    shape: tuple[int, int],
    film_mm: float,
    rng: np.random.Generator,
    *,
    zoom: float,
    shift_mm: float,
    angle: float,
) -> View:
    """Lay the chest on the film.

    Args:
        anatomy: the chest.
        shape: the film's (height, width) in pixels.
        film_mm: length of the film's long side.
        rng: where this patient stands.
        zoom: standard deviation of the magnification.
        shift_mm: standard deviation of the displacement along either axis.
        angle: standard deviation of the rotation in radians.
    """
    height, width = shape
    scale = max(shape) / film_mm * np.clip(rng.normal(1, zoom), 1 - 2 * zoom, 1 + 2 * zoom)
    dx, dy = np.clip(rng.normal(0, shift_mm, 2), -2 * shift_mm, 2 * shift_mm)
    centre = (float(dx), float(anatomy.lung_height * 0.52 + dy))
    return View(height, width, float(scale), centre, float(rng.normal(0, angle)))


def draw_montgomery(anatomy: Anatomy, view: View) -> tuple[Mask, Mask]:
    """Return (right, left) as Montgomery's annotators draw: smooth, opacities included."""
    right, left = draw_lungs(anatomy, view)
    return _redraw(right, view, 3.0), _redraw(left, view, 3.0)


def draw_shenzhen(anatomy: Anatomy, view: View, rng: np.random.Generator) -> Mask:
    """Return both lungs as Shenzhen's annotators draw them, each in a manner of their own.

    The outline runs up to 4 mm inside or outside of the lung's edge; a third of the masks are
    scalloped by the ribs, a tenth count the heart's shadow as left lung, and of the films with
    opacities two fifths leave the densest of them out.
    """
    right, left = draw_lungs(anatomy, view)
    manner = rng.random(3)
    if manner[0] < 0.10:
        left |= view.fill([anatomy.left_lung]) > 0
    lungs = right | left
    if manner[1] < 0.4 and anatomy.opacities:
        dense = max(anatomy.opacities, key=lambda opacity: opacity.density)
        kept = lungs & ~(view.fill([dense.outline]) > 0)
        lungs = kept if kept.sum() > 0.6 * lungs.sum() else lungs
    drift_mm = rng.uniform(-3.0, 4.0)
    scallop_mm = rng.uniform(1.5, 3.0) if manner[2] < 0.33 else 0.0
    return _redraw(lungs, view, 5.0, drift_mm, scallop_mm, anatomy.lung_height / 9)


def _redraw(
    mask: Mask,
    view: View,
    smooth_mm: float,
    drift_mm: float = 0.0,
    scallop_mm: float = 0.0,
    period_mm: float = 1.0,
) -> Mask:
    """Move the outline outwards by ``drift_mm``, waving by ``scallop_mm``, and round it off."""
    sigma = smooth_mm * view.px_per_mm
    if sigma < 0.33:
        return mask
    soft = blur(mask.astype(np.float32), sigma)
    _, y = view.millimetres()
    offset_mm = drift_mm + scallop_mm * np.sin(2 * np.pi * y / period_mm)
    threshold = 0.5 - np.clip(offset_mm / (smooth_mm * np.sqrt(2 * np.pi)), -0.4, 0.4)
    return _largest(soft > threshold, count=2)


def _largest(mask: Mask, count: int) -> Mask:
    """Keep components at least a tenth as large as the largest, at most ``count`` of them."""
    found, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    if found <= 2:
        return mask
    order = np.argsort(-areas)[:count]
    kept = [i + 1 for i in order if areas[i] >= 0.1 * areas.max()]
    return np.isin(labels, kept)

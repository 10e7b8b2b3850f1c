"""From a chest in millimetres to a film in grey values: projection, then a manufacturer's curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.phantoms.anatomy import Anatomy, Points

Film = NDArray[np.float32]
"""Grey values ``(H, W)`` in [0, 1], bone bright."""
Mask = NDArray[np.bool_]
"""``(H, W)``."""

_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class View:
    """How the chest lies on the film.

    Attributes:
        height: rows of the film.
        width: columns of the film.
        px_per_mm: scale.
        centre: the point in mm that falls on the film's centre.
        angle: rotation of the patient in radians.
    """

    height: int
    width: int
    px_per_mm: float
    centre: tuple[float, float]
    angle: float

    def resized(self, height: int, width: int) -> View:
        """Return the same view on another grid of the same aspect."""
        return View(height, width, self.px_per_mm * width / self.width, self.centre, self.angle)

    def fill(self, outlines: Sequence[Points], *, smooth: bool = False) -> NDArray[np.uint8]:
        """Rasterise the union of closed outlines to 0/255, ``(H, W)``."""
        canvas = np.zeros((self.height, self.width), np.uint8)
        for outline in outlines:
            line = cv2.LINE_AA if smooth else cv2.LINE_8
            cv2.fillPoly(canvas, [self._pixels(outline)], 255, line, _SUBPIXEL_BITS)
        return canvas

    def stroke(self, lines: Sequence[Points], width_mm: float) -> NDArray[np.uint8]:
        """Draw open lines of a width in mm, 0-255; thinner than a pixel means fainter."""
        canvas = np.zeros((self.height, self.width), np.uint8)
        width_px = width_mm * self.px_per_mm
        ink = int(255 * min(1.0, width_px))
        pixels = [self._pixels(line) for line in lines]
        thickness = max(1, round(width_px))
        cv2.polylines(canvas, pixels, False, ink, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
        return canvas

    def millimetres(self) -> tuple[Film, Film]:
        """Return the ``x`` and ``y`` of every pixel in mm, each ``(H, W)``."""
        u = (np.arange(self.width, dtype=np.float32) - self.width / 2)[None] / self.px_per_mm
        v = (np.arange(self.height, dtype=np.float32) - self.height / 2)[:, None] / self.px_per_mm
        cos, sin = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        return cos * u + sin * v + self.centre[0], cos * v - sin * u + self.centre[1]

    def pixel(self, point: tuple[float, float]) -> tuple[int, int]:
        """Return the (column, row) on which a point in mm falls."""
        x, y = self._pixels(np.array([point]))[0] >> _SUBPIXEL_BITS
        return int(x), int(y)

    def _pixels(self, points: Points) -> NDArray[np.int32]:
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        moved = (points - self.centre) @ np.array([[cos, sin], [-sin, cos]])
        placed = moved * self.px_per_mm + (self.width / 2, self.height / 2)
        return np.rint(placed * 2**_SUBPIXEL_BITS).astype(np.int32)


@dataclass(frozen=True)
class Manufacturer:
    """What one X-ray machine does to the same chest.

    Attributes:
        window: attenuation shown as black and as white; the rest saturates.
        gamma: exponent of the film's curve (above 1 darkens the lungs).
        floor: darkest grey in [0, 1].
        ceiling: brightest grey in [0, 1].
        blur_mm: sigma of the detector's blur.
        noise: standard deviation of the grain in grey values.
        sharpening: strength of the local contrast enhancement.
        bone: weight of the bones (tube voltage).
        exposure: standard deviation of the exposure from film to film.
        vignette: darkening of the corners.
    """

    window: tuple[float, float]
    gamma: float
    floor: float
    ceiling: float
    blur_mm: float
    noise: float
    sharpening: float
    bone: float
    exposure: float
    vignette: float


def lung_masks(anatomy: Anatomy, view: View) -> tuple[Mask, Mask]:
    """Return the anatomical right and left lung, the heart's core left out, each ``(H, W)``."""
    core = view.fill([anatomy.heart_core]) > 0
    right, left = (view.fill([lung]) > 0 for lung in (anatomy.right_lung, anatomy.left_lung))
    return right & ~core, left & ~core


def blur(image: Film, sigma_px: float) -> Film:
    """Blur with a Gaussian; below a third of a pixel nothing happens."""
    if sigma_px < 0.33:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.float32)


def attenuation(anatomy: Anatomy, view: View, bone: float) -> Film:
    """Project the chest: attenuation ``(H, W)``, 0 for air to about 1 for the abdomen."""
    mm = view.px_per_mm

    def soft(outlines: Sequence[Points], sigma_mm: float) -> Film:
        return blur(view.fill(outlines, smooth=True) * np.float32(1 / 255), sigma_mm * mm)

    def line(lines: Sequence[Points], width_mm: float) -> Film:
        return view.stroke(lines, width_mm) * np.float32(1 / 255)

    x, y = view.millimetres()
    trunk = soft(anatomy.torso[:1], 5.0)
    body = np.maximum(trunk, 0.72 * soft(anatomy.torso[1:], 4.0))
    lung = view.fill([anatomy.right_lung, anatomy.left_lung], smooth=True) * np.float32(1 / 255)
    depth = 0.45 * blur(lung, 1.2 * mm) + 0.55 * lung * blur(lung, 16 * mm)
    spine = np.exp(-((x / 17) ** 2)) * (1 + 0.25 * np.cos(2 * np.pi * y / anatomy.vertebra))
    dense = 0.40 * trunk * soft([anatomy.abdomen], 1.5)
    dense = np.maximum(dense, 0.36 * soft([anatomy.heart], 1.6))
    dense = np.maximum(dense, 0.33 * soft([anatomy.mediastinum], 4.0))

    total = body * (0.40 + 0.12 * np.exp(-((x / 110) ** 2) - ((y - 160) / 170) ** 2))
    total += dense - 0.46 * depth * (1 - dense / 0.44)
    total += bone * body * (0.12 * spine)
    ribs = line(anatomy.posterior_ribs, 9.5) - 0.45 * line(anatomy.posterior_ribs, 5.0)
    ribs += 0.5 * (line(anatomy.anterior_ribs, 10.0) - 0.5 * line(anatomy.anterior_ribs, 6.0))
    inside = 0.35 + 0.65 * lung
    total += bone * trunk * inside * (0.085 * ribs)
    total += bone * body * 0.10 * line(anatomy.clavicles, 11.0)
    total += bone * body * 0.05 * soft(anatomy.scapulae, 2.0)
    total += lung * (0.05 * line(anatomy.vessels, 2.6) + 0.035 * line(anatomy.vessels, 6.0))
    for blob in (*anatomy.blobs, *anatomy.opacities):
        total += np.float32(blob.density) * soft([blob.outline], blob.softness) * body
    airway = np.array([[0.0, -90.0], [2.0, 0.36 * anatomy.lung_height]])
    total -= 0.07 * blur(line([airway], 14.0), 2.0 * mm)
    return total


def expose(
    anatomy: Anatomy, view: View, machine: Manufacturer, rng: np.random.Generator
) -> Film:
    """Take the film: ``(H, W)`` in [0, 1], bone bright.

    Args:
        anatomy: the chest.
        view: where it lies on the film.
        machine: contrast, blur, noise and vignetting.
        rng: exposure and grain.
    """
    dose = attenuation(anatomy, view, machine.bone)
    if machine.sharpening:
        dose += machine.sharpening * (dose - blur(dose, 9 * view.px_per_mm))
    dose = blur(dose, machine.blur_mm * view.px_per_mm)
    low, high = machine.window
    shift, stretch = rng.normal(0, machine.exposure, 2)
    scaled = np.clip((dose + shift - low) / ((high - low) * (1 + stretch)), 0, 1)
    film = machine.floor + (machine.ceiling - machine.floor) * scaled**machine.gamma
    v = np.linspace(-1, 1, view.height, dtype=np.float32)[:, None]
    u = np.linspace(-1, 1, view.width, dtype=np.float32)[None]
    film = film * (1 - machine.vignette * (u**2 + v**2) / 2)
    film += machine.noise * rng.standard_normal(film.shape, np.float32)
    return np.clip(film, 0, 1).astype(np.float32)


def print_label(
    grey: NDArray[np.uint8], text: str, corner: tuple[float, float], size: float, ink: int
) -> None:
    """Write a film marker into 8-bit grey in place.

    Args:
        grey: the film, ``(H, W)`` in 0-255.
        text: what the marker says.
        corner: its lower left corner as shares of the film's (width, height).
        size: its height as a share of the film's height.
        ink: grey value.
    """
    height, width = grey.shape
    scale = max(size * height / 22, 0.2)
    at = (round(corner[0] * width), round(corner[1] * height))
    cv2.putText(grey, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, max(1, round(2 * scale)))

"""From a chest in millimetres to a film in grey values: projection, then a manufacturer's curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.arrays import Mask
from datamodules.phantoms.anatomy import Anatomy
from datamodules.phantoms.outlines import Points

FloatImage = NDArray[np.float32]
"""Grey values ``(H, W)`` in [0, 1], bone bright."""
_SUBPIXEL_BITS = 4
_FONT = cv2.FONT_HERSHEY_SIMPLEX


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
        edge = cv2.LINE_AA if smooth else cv2.LINE_8
        for pixels in self._pixels(outlines):
            cv2.fillPoly(canvas, [pixels], 255, edge, _SUBPIXEL_BITS)
        return canvas

    def stroke(self, lines: Sequence[Points], width_mm: float) -> NDArray[np.uint8]:
        """Draw open lines of a width in mm, 0-255; thinner than a pixel means fainter."""
        return self._ink(self._pixels(lines), width_mm)

    def tubes(self, lines: Sequence[Points], width_mm: float, hollow: float) -> FloatImage:
        """Draw open lines as tubes: 1 at their walls, ``1 - hollow`` inside, 0 around them."""
        pixels = self._pixels(lines)
        outer, inner = (self._ink(pixels, width) for width in (width_mm, 0.55 * width_mm))
        return outer * np.float32(1 / 255) - inner * np.float32(hollow / 255)

    def millimetres(self) -> tuple[FloatImage, FloatImage]:
        """Return the ``x`` and ``y`` of every pixel in mm, each ``(H, W)``."""
        scale = np.float32(1 / self.px_per_mm)
        u = (np.arange(self.width, dtype=np.float32) - np.float32(self.width / 2))[None] * scale
        v = (np.arange(self.height, dtype=np.float32) - np.float32(self.height / 2)) * scale
        v = v[:, None]
        cos, sin = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        x0, y0 = np.float32(self.centre[0]), np.float32(self.centre[1])
        return cos * u + sin * v + x0, cos * v - sin * u + y0

    def pixel(self, point: tuple[float, float]) -> tuple[int, int]:
        """Return the (column, row) on which a point in mm falls."""
        x, y = self._pixels([np.array([point])])[0][0] >> _SUBPIXEL_BITS
        return int(x), int(y)

    def _ink(self, pixels: list[NDArray[np.int32]], width_mm: float) -> NDArray[np.uint8]:
        canvas = np.zeros((self.height, self.width), np.uint8)
        width_px = width_mm * self.px_per_mm
        ink = int(255 * min(1.0, width_px))
        thickness = max(1, round(width_px))
        cv2.polylines(canvas, pixels, False, ink, thickness, cv2.LINE_8, _SUBPIXEL_BITS)
        return canvas

    def _pixels(self, lines: Sequence[Points]) -> list[NDArray[np.int32]]:
        """Return each line in fixed-point pixels, as OpenCV draws them."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        moved = (np.concatenate(lines) - self.centre) @ np.array([[cos, sin], [-sin, cos]])
        placed = moved * self.px_per_mm + (self.width / 2, self.height / 2)
        fixed = np.rint(placed * 2**_SUBPIXEL_BITS).astype(np.int32)
        ends = np.cumsum([len(line) for line in lines]).tolist()
        return [fixed[start:end] for start, end in zip([0, *ends], ends, strict=False)]


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


def draw_lungs(anatomy: Anatomy, view: View) -> tuple[Mask, Mask]:
    """Return the anatomical right and left lung, the heart's core left out, each ``(H, W)``."""
    core = view.fill([anatomy.heart_core]) > 0
    right, left = (view.fill([lung]) > 0 for lung in (anatomy.right_lung, anatomy.left_lung))
    return right & ~core, left & ~core


def blur(image: FloatImage, sigma_px: float) -> FloatImage:
    """Blur with a Gaussian; below a third of a pixel nothing happens.

    Wide blurs run on a grid as much coarser as leaves them three pixels wide.
    """
    if sigma_px < 0.33:
        return image
    factor = int(sigma_px // 3)
    if factor < 2:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.float32)
    height, width = image.shape
    coarse = (-(-width // factor), -(-height // factor))
    small = cv2.resize(image, coarse, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma_px / factor)
    return np.asarray(cv2.resize(small, (width, height)), np.float32)


def attenuation(anatomy: Anatomy, view: View, bone: float) -> FloatImage:
    """Project the chest: attenuation ``(H, W)``, 0 for air to about 1 for the abdomen.

    Args:
        anatomy: the chest.
        view: where it lies on the film.
        bone: weight of the bones, 1 for a middle tube voltage.
    """
    mm = view.px_per_mm
    share = np.float32(1 / 255)

    def soft(outlines: Sequence[Points], sigma_mm: float) -> FloatImage:
        return blur(view.fill(outlines, smooth=True) * share, sigma_mm * mm)

    def line(lines: Sequence[Points], width_mm: float) -> FloatImage:
        return view.stroke(lines, width_mm) * share

    x, y = view.millimetres()
    trunk = soft(anatomy.torso[:1], 2.5)
    body = np.maximum(trunk, 0.8 * soft(anatomy.torso[1:], 2.5))
    lung = soft([anatomy.right_lung, anatomy.left_lung], 0.8)
    thickness = np.sqrt(np.clip(1 - (x / (anatomy.wall + 8)) ** 2, 0.12, 1))
    below_neck = np.clip(0.5 + (y + 70) / 160, 0.4, 1)

    dense = 0.42 * soft([anatomy.abdomen], 1.5) * thickness**2
    dense = np.maximum(dense, 0.27 * soft([anatomy.heart], 2.2))
    dense = np.maximum(dense, 0.24 * soft([anatomy.mediastinum], 4.0) * below_neck)
    air = lung * (0.20 + 0.20 * blur(lung, 14 * mm) + 0.06 * np.abs(x) / anatomy.wall)
    total = body * (0.24 + 0.28 * thickness * below_neck) + dense - air * (1 - dense / 0.42)

    frame = view.tubes(anatomy.posterior_ribs, 9.5, 0.45)
    frame += 0.5 * view.tubes(anatomy.anterior_ribs, 10.0, 0.5)
    frame *= 0.075 * trunk * (0.3 + 0.7 * lung)
    vertebrae = 1 + 0.25 * np.cos(2 * np.pi * y / anatomy.vertebra)
    frame += 0.10 * np.exp(-((x / 16) ** 2)) * vertebrae
    frame += 0.09 * view.tubes(anatomy.clavicles, 11.0, 0.3)
    frame += 0.05 * soft(anatomy.scapulae, 1.5)
    total += bone * body * blur(frame, 0.9 * mm)

    vessels = 0.05 * line(anatomy.vessels, 2.4) + 0.04 * line(anatomy.twigs, 1.6)
    vessels += 0.05 * line([vessel[:4] for vessel in anatomy.vessels], 5.0)
    total += lung * blur(vessels, 0.9 * mm)
    for part in anatomy.tissue:
        total += np.float32(part.density) * soft([part.outline], part.softness) * body
    for opacity in anatomy.opacities:
        total += np.float32(opacity.density) * soft([opacity.outline], opacity.softness) * lung
    airway = np.array([[0.0, -90.0], [2.0, 0.36 * anatomy.lung_height]])
    total -= 0.06 * blur(line([airway], 14.0), 2.0 * mm)
    return np.asarray(total, np.float32)


def expose(
    anatomy: Anatomy, view: View, machine: Manufacturer, rng: np.random.Generator
) -> FloatImage:
    """Take the film: ``(H, W)`` in [0, 1], bone bright.

    Args:
        anatomy: the chest.
        view: where it lies on the film.
        machine: contrast, blur, noise and vignetting.
        rng: exposure, texture of the soft parts and grain.
    """
    dose = attenuation(anatomy, view, machine.bone)
    for cells, strength in ((9, 0.05), (40, 0.02)):
        texture = rng.standard_normal((cells, cells), np.float32)
        dose *= 1 + strength * cv2.resize(texture, dose.shape[::-1], interpolation=cv2.INTER_CUBIC)
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
    return np.asarray(np.clip(film, 0, 1), np.float32)


def print_label(
    grey: NDArray[np.uint8],
    text: str,
    corner: tuple[float, float],
    size: float,
    *,
    boxed: bool = False,
) -> None:
    """Write a film marker into 8-bit grey in place.

    Args:
        grey: the film, ``(H, W)`` in 0-255.
        text: what the marker says.
        corner: its lower left corner as shares of the film's (width, height).
        size: its height as a share of the film's height.
        boxed: black on a white plate instead of white.
    """
    height, width = grey.shape
    scale = max(size * height / 22, 0.2)
    x, y = round(corner[0] * width), round(corner[1] * height)
    pen = max(1, round(2 * scale))
    if boxed:
        (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, pen)
        cv2.rectangle(grey, (x - 2, y + 2), (x + text_width + 2, y - text_height - 2), 250, -1)
    cv2.putText(grey, text, (x, y), _FONT, scale, 10 if boxed else 250, pen)

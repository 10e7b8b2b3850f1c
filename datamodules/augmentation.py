"""Random changes of a training image and its masks, each drawn from a generator handed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, cast

import cv2
import numpy as np
from annotated_types import Ge, Le, Lt
from numpy.typing import NDArray

from datamodules.cache import PLANES

CURVE_STEPS = 6
"""Straight pieces of a random tone curve."""


@dataclass(frozen=True)
class Augmentation:
    """Ranges of random changes; a zero switches one off.

    Attributes:
        rotate: largest rotation in degrees, either way.
        shift: largest shift as a share of the side, along each axis.
        scale: largest relative change of size, either way.
        stretch: largest relative change of width against height, either way (films of different
            shapes are squashed to one square).
        shear: largest shear angle in degrees.
        flip: probability of a left-right flip (left and right lung labels change places).
        brightness: largest shift of grey values as a share of the range.
        contrast: largest relative change of contrast about the mean.
        gamma: largest absolute logarithm of the gamma exponent.
        curve: how far a random rising tone curve may leave the straight line, as a share of the
            most that keeps it rising: each vendor's processing of films has a curve of its own.
        shade: largest change of grey values, as a share of the range, by a smooth field that is
            linear across the film: uneven exposure.
        blur: largest standard deviation of a Gaussian blur in pixels.
        noise: largest standard deviation of Gaussian noise as a share of the range.
        fill: ``nearest`` repeats the edge outside the film, ``black`` fills with 0.
    """

    rotate: Annotated[float, Ge(0), Le(180)] = 0.0
    shift: Annotated[float, Ge(0), Le(1)] = 0.0
    scale: Annotated[float, Ge(0), Lt(1)] = 0.0
    stretch: Annotated[float, Ge(0), Lt(1)] = 0.0
    shear: Annotated[float, Ge(0), Lt(90)] = 0.0
    flip: Annotated[float, Ge(0), Le(1)] = 0.0
    brightness: Annotated[float, Ge(0), Le(1)] = 0.0
    contrast: Annotated[float, Ge(0)] = 0.0
    gamma: Annotated[float, Ge(0)] = 0.0
    curve: Annotated[float, Ge(0), Le(1)] = 0.0
    shade: Annotated[float, Ge(0), Le(1)] = 0.0
    blur: Annotated[float, Ge(0)] = 0.0
    noise: Annotated[float, Ge(0), Le(1)] = 0.0
    fill: Literal["nearest", "black"] = "nearest"

    def __call__(
        self,
        image: NDArray[np.uint8],
        planes: NDArray[np.uint8],
        random: np.random.Generator,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return a changed image ``(H, W)`` and its bit planes ``(H, W)``.

        Args:
            image: grey values 0..255.
            planes: a bit for each structure, see ``cache.PLANES``.
            random: the only source of randomness.
        """
        image, planes = self._move(image, planes, random)
        if self.flip and random.random() < self.flip:
            image, planes = image[:, ::-1].copy(), _swap_sides(planes[:, ::-1])
        return self._tone(image, random), planes

    def _move(
        self,
        image: NDArray[np.uint8],
        planes: NDArray[np.uint8],
        random: np.random.Generator,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if not any((self.rotate, self.shift, self.scale, self.stretch, self.shear)):
            return image, planes
        height, width = image.shape
        angle, shear = np.deg2rad(random.uniform(-1, 1, 2) * (self.rotate, self.shear))
        zoom = 1 + random.uniform(-self.scale, self.scale)
        wider = np.sqrt(1 + random.uniform(-self.stretch, self.stretch))
        shift = random.uniform(-self.shift, self.shift, 2) * (width, height)
        turn = zoom * np.array(
            [[np.cos(angle), -np.sin(angle + shear)], [np.sin(angle), np.cos(angle + shear)]]
        )
        turn *= (wider, 1 / wider)
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        matrix = np.hstack([turn, (centre + shift - turn @ centre)[:, None]])
        border = cv2.BORDER_REPLICATE if self.fill == "nearest" else cv2.BORDER_CONSTANT
        size = (width, height)
        moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border)
        masks = cv2.warpAffine(planes, matrix, size, flags=cv2.INTER_NEAREST, borderMode=border)
        return cast("NDArray[np.uint8]", moved), cast("NDArray[np.uint8]", masks)

    def _tone(self, image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        tones = self.brightness, self.contrast, self.gamma, self.curve, self.shade
        if not any((*tones, self.blur, self.noise)):
            return image
        pixels = image.astype(np.float32) / np.float32(255)
        if self.curve:
            pixels = self._curve(random)[image]
        if self.gamma:
            pixels **= np.float32(np.exp(random.uniform(-self.gamma, self.gamma)))
        if self.contrast:
            mean = pixels.mean()
            pixels = mean + (pixels - mean) * np.float32(
                1 + random.uniform(-self.contrast, self.contrast)
            )
        if self.brightness:
            pixels += np.float32(random.uniform(-self.brightness, self.brightness))
        if self.shade:
            across, down = random.uniform(-self.shade, self.shade, 2) / 2
            height, width = pixels.shape
            pixels += np.linspace(-down, down, height, dtype=np.float32)[:, None]
            pixels += np.linspace(-across, across, width, dtype=np.float32)
        if self.blur and (sigma := random.uniform(0, self.blur)) > 0.1:
            pixels = cv2.GaussianBlur(pixels, (0, 0), sigma)  # type: ignore[assignment]
        if self.noise:
            spread = np.float32(random.uniform(0, self.noise))
            pixels += spread * random.standard_normal(pixels.shape, np.float32)
        grey: NDArray[np.uint8] = (np.clip(pixels, 0, 1) * 255).round().astype(np.uint8)
        return grey

    def _curve(self, random: np.random.Generator) -> NDArray[np.float32]:
        """Return the new tone, 0 to 1, of each grey value: a rising line through random knots.

        The steps between knots are drawn from a flat Dirichlet distribution (all rising curves
        alike) and mixed with equal steps.
        """
        steps = self.curve * random.dirichlet(np.ones(CURVE_STEPS))
        knots = np.cumsum(steps + (1 - self.curve) / CURVE_STEPS)
        places = np.linspace(0, 1, CURVE_STEPS + 1)
        tones = np.interp(np.linspace(0, 1, 256), places, [0, *knots])
        curve: NDArray[np.float32] = tones.astype(np.float32)
        return curve


def _swap_sides(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    left, right = PLANES["left_lung"], PLANES["right_lung"]
    swapped = planes & np.uint8(255 - left - right)
    swapped[(planes & left) > 0] |= np.uint8(right)
    swapped[(planes & right) > 0] |= np.uint8(left)
    return swapped

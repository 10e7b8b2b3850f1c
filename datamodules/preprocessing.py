"""Film to network input, reference mask to training mask and to the grid that is scored.

Everything here is a pure function of pixels and settings, so that the cache can key on both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, cast

import cv2
import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from contract.errors import UserError

REFERENCE_LONG_SIDE = 1024
"""Reference masks are scored on their own grid, its long side capped at this many pixels."""

DEFAULT_HU_WINDOW = (-1000.0, 400.0)
"""From air to contrast-filled vessels: lung, soft tissue and the border between them."""


@dataclass(frozen=True)
class Box:
    """Where the film lies inside the network's square, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Preprocessing:
    """Settings that turn a film into a network's input.

    Attributes:
        size: side of the square network input in pixels.
        clahe: contrast-limited adaptive histogram equalisation (Zuiderveld 1994) before or after
            resizing, or none.
        clahe_clip: OpenCV's clip limit.
        clahe_tiles: tiles along each side.
        keep_aspect: pad to a square instead of squashing.
        value_range: what black and white become.
        dilate: side in pixels of the square kernel by which training masks are dilated after
            resizing (1: not at all); references are then dilated alike and labelled ``dilated``.
        hu_window: the HU values that become black and white in CT, ``[-1000, 400]`` unless given;
            films have no such values.
    """

    size: Annotated[int, Ge(8), Le(8192)] = 512
    clahe: Literal["before_resize", "after_resize"] | None = None
    clahe_clip: Annotated[float, Gt(0)] = 2.0
    clahe_tiles: Annotated[int, Ge(1)] = 8
    keep_aspect: bool = False
    value_range: tuple[float, float] = (-1.0, 1.0)
    dilate: Annotated[int, Ge(1)] = 1
    hu_window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Reject an empty range or window; a YAML list becomes a tuple."""
        black, white = self.value_range
        object.__setattr__(self, "value_range", (black, white))
        if black == white:
            found = f"{black} for black and white"
            raise UserError("preprocessing.value_range", found, "two different values")
        if self.hu_window is None:
            return
        low, high = self.hu_window
        object.__setattr__(self, "hu_window", (low, high))
        if not low < high:
            raise UserError(
                "preprocessing.hu_window", f"{low} to {high}", "the lower HU value first"
            )

    def window(self, hu: NDArray[np.int16]) -> NDArray[np.uint8]:
        """Return a CT slice ``(H, W)`` in HU as grey values, rounded and clipped to the window.

        Eight bits suffice: over 1400 HU a step is 5.5 HU, its rounding error of 1.6 HU far below
        the noise of a chest CT (20 HU and more), and films and slices share one cache.
        """
        low, high = self.hu_window or DEFAULT_HU_WINDOW
        scale = np.float32(255 / (high - low))
        grey = (hu.astype(np.float32) - np.float32(low)) * scale
        return cast("NDArray[np.uint8]", np.rint(np.clip(grey, 0, 255)).astype(np.uint8))

    def box(self, shape: tuple[int, int]) -> Box:
        """Return where a film of that (height, width) lies inside the network's square."""
        if not self.keep_aspect:
            return Box(0, 0, self.size, self.size)
        scale = self.size / max(shape)
        height, width = (max(1, round(side * scale)) for side in shape)
        return Box((self.size - height) // 2, (self.size - width) // 2, height, width)

    def prepare_image(self, film: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the network's input ``(size, size)`` as grey values, before ``to_range``."""
        return self.to_size(self.at_own_size(film))

    def at_own_size(self, film: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a film ``(H, W)`` as it is to be resized: equalised, where that comes before."""
        return self._equalise(film) if self.clahe == "before_resize" else film

    def to_size(self, film: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what ``at_own_size`` gave as the network's input ``(size, size)``."""
        box = self.box(film.shape)
        film = resize(film, (box.height, box.width))
        if self.clahe == "after_resize":
            film = self._equalise(film)
        return self._pad(film, box)

    def prepare_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the training mask ``(size, size)``: pixels at least half covered."""
        box = self.box(mask.shape)
        small = self._pad(resize_mask(mask, (box.height, box.width)).astype(np.uint8), box)
        if self.dilate > 1:
            kernel = np.ones((self.dilate, self.dilate), np.uint8)
            return cv2.dilate(small, kernel) > 0
        return small > 0

    def prepare_reference(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the mask on the grid that is scored: its own, long side at most 1024 pixels."""
        height, width = mask.shape
        scale = min(1.0, REFERENCE_LONG_SIDE / max(height, width))
        reference = resize_mask(mask, (max(1, round(height * scale)), max(1, round(width * scale))))
        if self.dilate > 1:
            box = self.box(mask.shape)
            kernel = [
                max(1, round(self.dilate * side / inside)) | 1
                for side, inside in zip(reference.shape, (box.height, box.width), strict=True)
            ]
            dilated = cv2.dilate(reference.astype(np.uint8), np.ones(kernel, np.uint8))
            return dilated > 0
        return reference

    def to_range(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map grey values 0..255 to ``value_range``."""
        low, high = self.value_range
        return image.astype(np.float32) * np.float32((high - low) / 255) + np.float32(low)

    def _equalise(self, film: NDArray[np.uint8]) -> NDArray[np.uint8]:
        tiles = (self.clahe_tiles, self.clahe_tiles)
        equalised = cv2.createCLAHE(self.clahe_clip, tiles).apply(film)
        return cast("NDArray[np.uint8]", equalised)

    def _pad(self, pixels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
        below, right = self.size - box.top - box.height, self.size - box.left - box.width
        if not (box.top or box.left or below or right):
            return pixels
        return np.pad(pixels, ((box.top, below), (box.left, right)))


def resize(film: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize to (height, width): by area when shrinking, bilinearly when growing."""
    if film.shape == shape:
        return film
    shrinking = shape[0] * shape[1] < film.shape[0] * film.shape[1]
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    resized = cv2.resize(film, shape[::-1], interpolation=method)
    return cast("NDArray[np.uint8]", resized)


def resize_mask(mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Resize a mask to (height, width), keeping pixels that are at least half covered."""
    if mask.shape == shape:
        return mask
    return resize(mask.astype(np.uint8) * np.uint8(255), shape) >= 128

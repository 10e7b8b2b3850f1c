"""Films with the contours of predicted structures, for people to look at."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.preprocessing import resize, resize_mask

OVERLAY_SIDE = 1024
"""Overlays are shrunk to this many pixels: they are for looking, masks for measuring."""

COLOURS = {
    "lungs": (230, 159, 0),
    "left_lung": (86, 180, 233),
    "right_lung": (230, 159, 0),
    "heart": (204, 121, 167),
}
"""Okabe and Ito's colours, which colour-blind readers tell apart; RGB."""

TINT = 0.18
"""How much of its colour a structure's inside takes on."""


def paint_structures(
    film: NDArray[np.uint8], masks: Mapping[str, NDArray[np.bool_]]
) -> NDArray[np.uint8]:
    """Draw the structures on the film; both lungs together only where the sides are unknown.

    Args:
        film: grey values ``(H, W)``.
        masks: masks ``(H, W)`` by structure.

    Returns:
        RGB ``(h, w, 3)``, its long side at most ``OVERLAY_SIDE`` pixels.
    """
    scale = min(1.0, OVERLAY_SIDE / max(film.shape))
    shape = (max(1, round(film.shape[0] * scale)), max(1, round(film.shape[1] * scale)))
    picture = np.repeat(resize(film, shape)[..., None], 3, axis=2)
    sides = {"left_lung", "right_lung"} & set(masks)
    width = max(1, round(max(shape) / 400))
    for name in [name for name in COLOURS if name in masks and not (name == "lungs" and sides)]:
        mask = resize_mask(masks[name], shape).astype(np.uint8)
        cv2.copyTo(cv2.LUT(picture, _tinted(COLOURS[name])), mask, picture)
        lines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, lines, -1, COLOURS[name], width)
    return picture


def _tinted(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """What each value of a channel becomes inside a structure, ``(1, 256, 3)``."""
    values = np.arange(256)[None, :, None]
    return np.rint(values * (1 - TINT) + np.array(colour, np.float32) * TINT).astype(np.uint8)


def as_png(mask: NDArray[np.bool_]) -> bytes:
    """Encode a mask ``(H, W)`` as a grey PNG file of 0 and 255."""
    return _encode(".png", mask.astype(np.uint8) * np.uint8(255), [cv2.IMWRITE_PNG_COMPRESSION, 4])


def as_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Encode an RGB picture ``(H, W, 3)`` as a JPEG file."""
    bgr = np.ascontiguousarray(picture[..., ::-1])
    return _encode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])


def _encode(ending: str, pixels: NDArray[np.uint8], settings: list[int]) -> bytes:
    return cv2.imencode(ending, pixels, settings)[1].tobytes()

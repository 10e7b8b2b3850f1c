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

    Each is tinted, and its border, that of holes too, drawn in its colour.

    Args:
        film: grey values ``(H, W)``.
        masks: masks ``(H, W)`` by structure.

    Returns:
        RGB ``(h, w, 3)``, its long side at most ``OVERLAY_SIDE`` pixels.
    """
    scale = min(1.0, OVERLAY_SIDE / max(film.shape))
    shape = (max(1, round(film.shape[0] * scale)), max(1, round(film.shape[1] * scale)))
    grey = resize(film, shape)
    channels = [grey.copy() for _ in range(3)]
    sides = {"left_lung", "right_lung"} & set(masks)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(2, round(max(shape) / 400) + 1),) * 2)
    for name in [name for name in COLOURS if name in masks and not (name == "lungs" and sides)]:
        mask = resize_mask(masks[name], shape).astype(np.uint8)
        border = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, brush)
        for channel, share in zip(channels, COLOURS[name], strict=True):
            cv2.copyTo(cv2.LUT(channel, _tinted(share)), mask, channel)
            cv2.copyTo(np.full(shape, share, np.uint8), border, channel)
    picture: NDArray[np.uint8] = np.asarray(cv2.merge(channels), np.uint8)
    return picture


def _tinted(share: int) -> NDArray[np.uint8]:
    """What each value of a channel becomes inside a structure of a colour, ``(256,)``."""
    tinted = np.arange(256) * (1 - TINT) + np.float64(share) * TINT
    return np.rint(tinted).astype(np.uint8)


def as_png(mask: NDArray[np.bool_]) -> bytes:
    """Encode a mask ``(H, W)`` as a grey PNG file of 0 and 255."""
    return _encode(".png", mask.astype(np.uint8) * np.uint8(255), [])


def as_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Encode an RGB picture ``(H, W, 3)`` as a JPEG file."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return _encode(".jpg", bgr.astype(np.uint8, copy=False), [cv2.IMWRITE_JPEG_QUALITY, 90])


def _encode(ending: str, pixels: NDArray[np.uint8], settings: list[int]) -> bytes:
    return cv2.imencode(ending, pixels, settings)[1].tobytes()

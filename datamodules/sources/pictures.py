"""Pictures of films: PNG, JPEG, TIFF and BMP files of any depth and colour type to grey values."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import DataError
from datamodules.sources.decoder_words import hear_decoders
from datamodules.sources.depths import (
    ROWS_AT_ONCE,
    count_values,
    grey_levels,
    look_up,
    significant_bits,
    usual_ends,
)
from datamodules.sources.files import (
    EIGHT_BITS,
    MOST_PAGES,
    PHOTOMETRIC,
    SIXTEEN_BITS,
    count_pages,
    open_image,
    orientation_of,
    turn_pixels,
)

FLOATS = "F"
DEEP_COLOURS = (2, 4, 6)
"""PNG's colour types of several channels, which Pillow reads with 8 of 16 bits."""

Grey = NDArray[np.uint8]


def read_picture(path: Path, bits: int | None = None) -> tuple[Grey, int | None]:
    """Read a picture as viewers show it.

    Colours become their luma, palettes their colours. Where alpha varies, the film lies over
    black. Pixels are turned as an EXIF orientation says. Values of more than 8 bits are scaled by
    the full range of their significant bits; fractions by the range 0…1 or that of their bits.

    Args:
        path: the file.
        bits: significant bits of deeper files; unless told, those that nearly all values need.

    Returns:
        Grey values ``(H, W)`` in 0..255, and the significant bits of deeper files.

    Raises:
        DataError: if the file is damaged, too large, of several pages or of other pixels.
    """
    with open_image(path) as image:
        pages = count_pages(image)
        if pages > 1:
            told = f"more than {MOST_PAGES}" if pages > MOST_PAGES else str(pages)
            raise DataError(path, f"{told} pages", "a single film", "save one page as a file")
        if image.mode not in (*EIGHT_BITS, *SIXTEEN_BITS, FLOATS):
            expected = "grey, colour or palette pixels"
            raise DataError(path, f"pixels of mode {image.mode}", expected, "save it as grey PNG")
        # Pillow inverts 8-bit TIFF files whose zero is white, but no deeper ones.
        white_is_zero = getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0
        deep_colours = _has_deep_colours(path, image)
        if image.mode in EIGHT_BITS and not deep_colours:
            image.load()
            grey = _over_black(path, np.asarray(image.convert("L")), _varying_alpha(image))
            return turn_pixels(grey, orientation_of(image)), None
        image.load()
        orientation = orientation_of(image)
        alpha = _varying_alpha(image)
        values = None if deep_colours else np.asarray(image)
    grey, found = grey_of(path, _deep_grey(path) if values is None else values, bits)
    grey = 255 - grey if white_is_zero else grey
    return turn_pixels(_over_black(path, grey, alpha), orientation), found


def _varying_alpha(image: Image.Image) -> Grey | None:
    if image.mode not in ("LA", "RGBA"):
        return None
    alpha = image.getchannel("A")
    low, high = cast("tuple[int, int]", alpha.getextrema())
    return None if low == high else np.asarray(alpha)


def _over_black(path: Path, grey: Grey, alpha: Grey | None) -> Grey:
    if alpha is None:
        return grey
    if grey.min() == grey.max():
        found = "one colour everywhere and a picture in the alpha channel"
        raise DataError(path, found, "a film in grey or colours", "save it as grey PNG")
    return cast("Grey", cv2.multiply(grey, alpha, scale=1 / 255))


def _has_deep_colours(path: Path, image: Image.Image) -> bool:
    if image.format != "PNG":
        return False
    with path.open("rb") as file:
        head = file.read(26)
    return head[24] == 16 and head[25] in DEEP_COLOURS


def _deep_grey(path: Path) -> NDArray[np.uint16]:
    how = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    with hear_decoders():
        decoded = cv2.imdecode(np.fromfile(path, np.uint8), how)
    if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 2:
        raise DataError(path, "16-bit colours that do not decode", "a whole image file",
                        "save it as grey PNG")  # fmt: skip
    return cast("NDArray[np.uint16]", decoded)


def grey_of(path: Path, values: NDArray[Any], bits: int | None) -> tuple[Grey, int | None]:
    """Scale values to grey.

    Args:
        path: the file, for messages.
        values: ``(H, W)``, whole numbers or fractions.
        bits: significant bits; unless told, those that nearly all values need.

    Returns:
        Grey values ``(H, W)`` in 0..255, and the significant bits of whole numbers.

    Raises:
        DataError: if values are negative whole numbers, need more than 16 bits or are no numbers.
    """
    if values.dtype.kind == "f":
        return _scaled_fractions(path, values, bits), bits
    if values.dtype != np.uint16:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 0xFFFF:
            raise DataError(path, f"values from {low} to {high}", "0 to 65535", "convert it")
        values = values.astype(np.uint16)
    if bits is None:
        _, highest = usual_ends(np.arange(1 << 16, dtype=np.float64), count_values(values))
        bits = significant_bits(highest, 16)
    return look_up(grey_levels(bits), values), bits


def _scaled_fractions(path: Path, values: NDArray[Any], bits: int | None) -> Grey:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise DataError(path, "values that are no numbers", "finite values", "convert it")
    if bits is not None:
        low, high = 0.0, float((1 << bits) - 1)
    elif low >= 0:
        low, high = 0.0, 1.0 if high <= 1 else float((1 << significant_bits(high, 16)) - 1)
        high = max(high, float(values.max()))
    span = max(high - low, 1e-12)
    scaled = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), ROWS_AT_ONCE):
        some = np.clip(values[top : top + ROWS_AT_ONCE], low, high)
        scaled[top : top + ROWS_AT_ONCE] = cv2.convertScaleAbs(
            some, alpha=255 / span, beta=-255 * low / span
        )
    return scaled

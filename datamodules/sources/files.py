"""Strict reading of image and mask files: a damaged file is an error, never a dark image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from contract.errors import DataError

MAX_PIXELS = 40_000_000
MAX_SIDE = 16_384
"""Larger images are refused before they are decoded, since damaged headers state any size;
official films have up to 20 million pixels and sides of up to 4892."""

DICOM_ENDINGS = (".dcm", ".dicom")
EIGHT_BITS = ("L", "RGB", "P", "1", "LA", "RGBA")
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I")
PHOTOMETRIC = 262
"""The TIFF tag that tells whether zero is white (0) or black (1)."""


def list_files(folder: Path) -> dict[str, Path]:
    """Return the plain files of a folder by name.

    Raises:
        DataError: if the folder is missing, is a file or cannot be read.
    """
    try:
        return {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    except OSError as error:
        raise DataError(
            folder,
            f"no readable folder ({error.strerror})",
            "a folder of files",
            "check the unpacked archive and its permissions",
        ) from None


def list_folders(folder: Path) -> list[Path]:
    """Return the folders inside a folder, sorted; none where it is absent or is a file.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(
            folder, f"no readable folder ({error.strerror})", todo="check its permissions"
        ) from None


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """Decode an 8-bit image file to grey values ``(H, W)``.

    Grey, RGB and palette files come out alike (ITU-R 601 luma for colours).

    Raises:
        DataError: if the file is empty, truncated, too large, 16-bit or no image.
    """
    with open_image(path) as image:
        _require_modes(path, image, EIGHT_BITS)
        return np.asarray(image.convert("L"))


def read_deep_pixels(
    path: Path, *, twelve_bits: bool = False, bits: int | None = None, upright: bool = False
) -> NDArray[np.uint8]:
    """Decode an image file of 8 or 16 bits to grey values ``(H, W)`` in 0..255.

    16-bit values are scaled by the full range of their bit depth, rounded.

    Args:
        path: the file.
        twelve_bits: take a 16-bit file that stays below 4096 for one of 12 bits.
        bits: significant bits of 16-bit files, 16 unless told; higher values become white.
        upright: turn the pixels as the file's EXIF orientation says, which viewers do.

    Raises:
        DataError: if the file is empty, truncated, too large, of other bit depths or no image.
    """
    with open_image(path) as image:
        _require_modes(path, image, (*EIGHT_BITS, *SIXTEEN_BITS))
        turned = ImageOps.exif_transpose(image) if upright else image
        if image.mode in EIGHT_BITS:
            return np.asarray(turned.convert("L"))
        values = np.asarray(turned)
        # Pillow inverts 8-bit TIFF files whose zero is white, but no deeper ones.
        white_is_zero = getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0
    if values.min() < 0 or values.max() > 0xFFFF:
        raise DataError(path, f"values from {values.min()} to {values.max()}", "0 to 65535")
    if bits is None:
        bits = 12 if twelve_bits and values.max() < 1 << 12 else 16
    white = (1 << bits) - 1
    levels = np.minimum(np.arange(1 << 16), white)
    greys = ((levels * 255 + white // 2) // white).astype(np.uint8)
    return cast("NDArray[np.uint8]", (255 - greys if white_is_zero else greys)[values])


def read_labels(path: Path) -> NDArray[np.int32]:
    """Return the label values ``(H, W)`` of a lossless mask file; palette indices as they are.

    Raises:
        DataError: if the file is damaged, lossy (JPEG) or coloured.
    """
    with open_image(path) as image:
        if image.format == "JPEG":
            raise DataError(
                path, "a JPEG file of labels", "a lossless format", "save the labels as PNG"
            )
        _require_modes(path, image, ("L", "P", "1", *SIXTEEN_BITS))
        return np.asarray(image).astype(np.int32)


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image file; whatever goes wrong while it is decoded becomes a ``DataError``.

    Raises:
        DataError: if the file is empty, truncated, too large or no image.
    """
    try:
        with Image.open(path) as image:
            _require_size(path, image)
            yield image
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        raise DataError(
            path,
            _what_is_there(path, error),
            "a whole image file",
            "download it again",
        ) from None


def _require_size(path: Path, image: Image.Image) -> None:
    if max(image.size) > MAX_SIDE or image.width * image.height > MAX_PIXELS:
        raise DataError(
            path,
            f"{image.width}×{image.height} pixels",
            f"sides of at most {MAX_SIDE} and at most {MAX_PIXELS} pixels in all",
            "check that this is a chest film",
        )


def _what_is_there(path: Path, error: Exception) -> str:
    """Say why a file did not decode."""
    try:
        size = path.stat().st_size
    except OSError as missing:
        return f"an unreadable file ({missing.strerror})"
    if isinstance(error, PermissionError):
        return f"an unreadable file ({error.strerror})"
    if size == 0:
        return "an empty file"
    reason = type(error).__name__
    if not isinstance(error, UnidentifiedImageError):  # whose text only repeats the path
        reason += f": {error}"
    return f"{size} bytes that do not decode ({reason})"


def _require_modes(path: Path, image: Image.Image, modes: Sequence[str]) -> None:
    if image.mode not in modes:
        raise DataError(
            path,
            f"{'16-bit pixels' if image.mode in SIXTEEN_BITS else 'pixels'} of mode {image.mode}",
            f"one of the modes {', '.join(modes)}",
            "use the official file; save one of your own as a grey PNG of 8 or 16 bits",
        )


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Return a binary mask ``(H, W)``: nonzero in 0/1 files, above 127 in 0/255 files."""
    pixels = read_pixels(path)
    return pixels > (127 if pixels.size and pixels.max() > 1 else 0)

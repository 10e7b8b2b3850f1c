"""Strict reading of image and mask files: a damaged file is an error, never a dark image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import DataError

MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded; official films have up to 20 million."""


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


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """Decode an 8-bit image file to grey values ``(H, W)``.

    Grey, RGB and palette files come out alike (ITU-R 601 luma for colours).

    Raises:
        DataError: if the file is empty, truncated, too large, 16-bit or no image.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    path,
                    f"{image.width}×{image.height} pixels",
                    f"at most {MAX_PIXELS} in all",
                    "check that this is a chest film",
                )
            if image.mode not in ("L", "RGB", "P", "1", "LA", "RGBA"):
                raise DataError(
                    path,
                    f"pixels of mode {image.mode}",
                    "8 bits a channel",
                    "use the official 8-bit file, or declare the set as your own data",
                )
            return np.asarray(image.convert("L"))
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        size = path.stat().st_size if path.exists() else 0
        raise DataError(
            path,
            f"{size} bytes that do not decode ({type(error).__name__}: {error})",
            "a whole image file",
            "download it again",
        ) from None


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Return a binary mask ``(H, W)``: nonzero in 0/1 files, above 127 in 0/255 files."""
    pixels = read_pixels(path)
    return pixels > (127 if pixels.size and pixels.max() > 1 else 0)

"""Strict reading of image and mask files: a damaged file is an error, never a dark image."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from contract.errors import DataError
from datamodules.sources.decoder_words import hear_decoders
from datamodules.sources.depths import grey_levels, look_up

warnings.filterwarnings("ignore", module=r"PIL\..*")  # advice for programmers

MAX_PIXELS = 40_000_000
MAX_SIDE = 16_384
"""Larger images are refused before they are decoded, since damaged headers state any size;
official films have up to 20 million pixels and sides of up to 4892."""

MOST_BYTES = 256 << 20
"""Larger files are no film: one of that many pixels, uncompressed and in colours, is smaller."""

FILE_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF")
"""What Pillow may open: it would hand a PostScript file of any name to another program."""

JPEGS = ("JPEG", "MPO")
"""What Pillow calls JPEG files; the second holds a preview too, as phones write it."""

MOST_PAGES = 64
MOST_TILE_PIXELS = 1 << 24
TILE_SIDES, PAGE_KIND = (322, 323), 254
"""TIFF tags; a page of an odd kind is a smaller copy of another one."""

DICOM_ENDINGS = (".dcm", ".dicom")
VOLUME_ENDINGS = (".mhd", ".mha", ".nii.gz", ".nii", ".nrrd")
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

    Grey, RGB and palette files come out alike (ITU-R 601 luma for colours), turned as an EXIF
    orientation says.

    Raises:
        DataError: if the file is empty, truncated, too large, 16-bit or no image.
    """
    with open_image(path) as image:
        _require_modes(path, image, EIGHT_BITS)
        image.load()
        grey = image if image.mode == "L" else image.convert("L")
        return turn_pixels(np.asarray(grey), orientation_of(image))


def read_deep_pixels(
    path: Path, *, twelve_bits: bool = False, bits: int | None = None
) -> NDArray[np.uint8]:
    """Decode an official film of 8 or 16 bits to grey values ``(H, W)`` in 0..255.

    16-bit values are scaled by the full range of their bit depth, rounded.

    Args:
        path: the file.
        twelve_bits: take a 16-bit file that stays below 4096 for one of 12 bits.
        bits: significant bits of 16-bit files, 16 unless told; higher values become white.

    Raises:
        DataError: if the file is empty, truncated, too large, of other bit depths or no image.
    """
    with open_image(path) as image:
        _require_modes(path, image, (*EIGHT_BITS, *SIXTEEN_BITS))
        if image.mode in EIGHT_BITS:
            return np.asarray(image.convert("L"))
        values = np.asarray(image)
        # Pillow inverts 8-bit TIFF files whose zero is white, but no deeper ones.
        white_is_zero = getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0
    if values.min() < 0 or values.max() > 0xFFFF:
        raise DataError(path, f"values from {values.min()} to {values.max()}", "0 to 65535")
    if bits is None:
        bits = 12 if twelve_bits and values.max() < 1 << 12 else 16
    levels = grey_levels(bits)
    return look_up(255 - levels if white_is_zero else levels, values)


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image file; whatever goes wrong while it is decoded becomes a ``DataError``.

    Raises:
        DataError: if the file is empty, truncated, too large or no image.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            found = f"{size >> 20} MiB"
            raise DataError(path, found, f"at most {MOST_BYTES >> 20} MiB", "check the file")
        # By its name, Pillow would map an uncompressed TIFF file and mistake its sides if it is to
        # be turned.
        with path.open("rb") as file, Image.open(file, formats=FILE_FORMATS) as image:
            _require_size(path, image)
            if image.format != "TIFF":
                yield image
                return
            with hear_decoders() as broken:
                yield image
            if broken:
                raise DataError(path, "pixels that do not decode (they are damaged)",
                                "a whole image file", "download it again")  # fmt: skip
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        raise DataError(
            path,
            _what_is_there(path, error),
            "a whole image file",
            "download it again",
        ) from None


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an image that is loaded, 1 where it lies upright.

    Pillow turns TIFF files while it loads them.
    """
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def turn_pixels(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return pixels ``(H, W, …)`` upright, as an EXIF orientation of 1 to 8 says."""
    turned = pixels.swapaxes(0, 1) if orientation > 4 else pixels
    turned = turned[:, ::-1] if orientation in (2, 3, 6, 7) else turned
    return np.ascontiguousarray(turned[::-1] if orientation in (3, 4, 7, 8) else turned)


def count_pages(image: Image.Image) -> int:
    """Return how many pages a TIFF file has, smaller copies left out; 1 for other formats.

    Counting stops after ``MOST_PAGES``. The image shows its first page afterwards.
    """
    if image.format != "TIFF":
        return 1
    pages, copies = 1, 0
    while pages + copies <= MOST_PAGES:
        try:
            image.seek(pages + copies)
        except EOFError:
            break
        if int(getattr(image, "tag_v2", {}).get(PAGE_KIND, 0)) & 1:
            copies += 1
        else:
            pages += 1
    if pages + copies > 1:
        image.seek(0)
    return pages


def _require_size(path: Path, image: Image.Image) -> None:
    tags = getattr(image, "tag_v2", {})
    tile = [int(tags.get(tag, 0)) for tag in TILE_SIDES]
    if max(image.size) > MAX_SIDE or image.width * image.height > MAX_PIXELS:
        raise DataError(
            path,
            f"{image.width}×{image.height} pixels",
            f"sides of at most {MAX_SIDE} and at most {MAX_PIXELS} pixels in all",
            "check that this is a chest film",
        )
    if tile[0] * tile[1] > MOST_TILE_PIXELS:
        found = f"tiles of {tile[0]}×{tile[1]} pixels"
        raise DataError(path, found, f"at most {MOST_TILE_PIXELS} in each", "save it again")


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
    reason = "they are damaged, or of a kind that is not read"
    if isinstance(error, UnidentifiedImageError):
        reason = f"they are no {', '.join(FILE_FORMATS[:-1])} or {FILE_FORMATS[-1]}"
    elif "truncated" in str(error) or isinstance(error, EOFError):
        reason = "truncated"
    elif isinstance(error, MemoryError):
        reason = "they do not fit into memory"
    return f"{size} bytes that do not decode ({reason})"


def _require_modes(path: Path, image: Image.Image, modes: Sequence[str]) -> None:
    if image.mode not in modes:
        raise DataError(
            path,
            f"{'16-bit pixels' if image.mode in SIXTEEN_BITS else 'pixels'} of mode {image.mode}",
            f"one of the modes {', '.join(modes)}",
            "use the official file; save one of your own as a grey PNG of 8 or 16 bits",
        )

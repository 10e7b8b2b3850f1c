"""Reading of mask files: what cannot be read without a guess is refused, with what it holds.

A binary mask has two levels, and lung is the one beside 0: the higher one in files of 0 and
another value, above 127 in files that cross it (JPEG and smooth edges leave values in between).
Where colours are constant and alpha is not, alpha is the mask. Files are turned as their EXIF
orientation says, as viewers do.

``labels`` say what else there may be: grey values or palette indices, colours (``#ff0000``), pages
(``page 2``) and ``alpha``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from contract.arrays import Mask
from contract.errors import DataError
from datamodules.sources.files import (
    JPEGS,
    MOST_PAGES,
    PAGE_KIND,
    SIXTEEN_BITS,
    open_image,
    orientation_of,
    turn_pixels,
)
from datamodules.sources.flat_volumes import read_whole_numbers, whole_numbers_of
from datamodules.sources.mask_levels import (
    Level,
    border_share,
    colour_text,
    counted,
    levels_of,
    one_or_two,
    propose,
    told,
)
from datamodules.sources.volume_files import is_volume_file

LabelValue = int | str
"""A grey value or palette index, or in words a colour, a page or alpha."""
Labels = Mapping[str, frozenset[LabelValue]]
"""For each structure the values that are it."""

ALPHA_VALUE = "alpha"

GREY_MODES = ("1", "L", "P", *SIXTEEN_BITS)
WITH_ALPHA = ("LA", "RGBA", "La", "RGBa", "PA")
GREY_TOLERANCE = 16
"""Channels that differ by no more are grey: JPEG leaves a tinge."""
MOST_BETWEEN = 0.35
"""The largest share of a mask that may lie between its levels: its smooth edges."""


class UnclearMaskError(DataError):
    """A mask that cannot be read without a guess.

    Attributes:
        proposal: what its values most likely mean, as ``labels`` would say it; may be empty.
    """

    proposal: Mapping[str, LabelValue]

    def __init__(
        self,
        where: object,
        found: str,
        expected: str = "",
        todo: str = "",
        kind: str = "",
        proposal: Mapping[str, LabelValue] | None = None,
    ) -> None:
        self.proposal = proposal or {}
        super().__init__(where, found, expected, todo, kind)


@dataclass(frozen=True)
class Plane:
    """The values of a mask file.

    Attributes:
        values: grey values ``(H, W)``, or colours as ``0xRRGGBB``.
        colours: which of both they are.
        indices: the indices of a palette file, None for others.
        lossy: whether the file is a JPEG file.
    """

    values: NDArray[np.integer]
    colours: bool
    indices: NDArray[np.integer] | None = None
    lossy: bool = False


class BinaryMask(NamedTuple):
    """A mask ``(H, W)`` and the grey value or colour of its foreground, None where it is empty."""

    mask: Mask
    level: LabelValue | None


def read_mask(path: Path) -> Mask:
    """Return a binary mask ``(H, W)``; see the module.

    Raises:
        DataError: if the file is damaged, too large or no image.
        UnclearMaskError: if it is no binary mask.
    """
    return read_binary(path).mask


def read_binary(path: Path) -> BinaryMask:
    """Return a binary mask with the level that is its foreground.

    Raises:
        DataError: as ``read_mask``.
    """
    plane = read_plane(path)
    mask = binary_of(path, plane)
    if not mask.any():
        return BinaryMask(mask, None)
    values, counts = counted(plane.values[mask])
    value = int(values[counts.argmax()])
    return BinaryMask(mask, colour_text(value) if plane.colours else value)


def read_plane(path: Path) -> Plane:
    """Return the one channel of a file that may be its mask.

    Raises:
        DataError: if the file is damaged, too large or of unknown pixels.
        UnclearMaskError: if it has several pages, or colours and alpha tell different masks.
    """
    if is_volume_file(path):
        return Plane(read_whole_numbers(path), False)
    with open_image(path) as image:
        require_one_page(path, image)
        return plane_of(path, image)


def plane_of(path: Path, image: Image.Image) -> Plane:
    """Return the values of an open image, upright, before it is said what they mean.

    Raises:
        DataError: if its kind of pixels tells no mask.
    """
    lossy, indices = image.format in JPEGS, None
    image.load()
    if image.mode == "P":
        indices = np.asarray(ImageOps.exif_transpose(image))
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode in WITH_ALPHA:
        image = image.convert("RGBA")
    elif image.mode == "F":
        return Plane(whole_numbers_of(path, np.asarray(image)), False)
    elif image.mode not in (*GREY_MODES, "RGB"):
        raise DataError(
            path, f"pixels of mode {image.mode}", "grey values, colours or a palette",
            "save the mask as a grey PNG",
        )  # fmt: skip
    pixels = turn_pixels(np.asarray(image), orientation_of(image))
    if pixels.ndim == 2:
        whole = pixels.astype(np.uint8) if pixels.dtype == np.bool_ else pixels
        return Plane(whole, False, indices, lossy)
    plane = _colours(pixels[..., :3], indices, lossy)
    alpha = pixels[..., 3] if pixels.shape[2] == 4 else None
    # A palette's transparency is for display.
    if alpha is not None and (indices is None or _constant(plane.values)) and not _constant(alpha):
        return _with_alpha(path, plane, alpha)
    if indices is not None and _constant(plane.values) and not _constant(indices):
        return Plane(indices, False, indices, lossy)  # a palette that shows nothing
    return plane


def _colours(pixels: NDArray[np.uint8], indices: NDArray[np.integer] | None, lossy: bool) -> Plane:
    red, green, blue = cv2.split(np.ascontiguousarray(pixels))
    spread = max(int(cv2.absdiff(a, b).max()) for a, b in ((red, green), (green, blue)))
    if spread <= (GREY_TOLERANCE if lossy else 0):
        grey = np.asarray(Image.fromarray(pixels).convert("L"))
        return Plane(grey, False, indices, lossy)
    values: NDArray[np.int32] = red.astype(np.int32)
    for channel in (green, blue):  # in place: each step would take as much memory again
        values <<= 8
        values |= channel.astype(np.uint8)
    return Plane(values, True, indices, lossy)


def _with_alpha(path: Path, plane: Plane, alpha: NDArray[np.integer]) -> Plane:
    if _constant(plane.values):
        return Plane(alpha, False)
    try:
        agree = np.array_equal(binary_of(path, plane), binary_of(path, Plane(alpha, False)))
    except UnclearMaskError:
        agree = False
    if agree:
        return plane
    values, counts = np.unique(alpha, return_counts=True)
    shown = ", ".join(
        f"{value} in {count / alpha.size:.0%}"
        for value, count in list(zip(values, counts, strict=True))[:5]
    )
    raise UnclearMaskError(
        path,
        f"a transparency that varies (alpha {shown}) and colours that vary otherwise",
        "one mask in a file",
        kind="alpha",
        proposal={"lungs": ALPHA_VALUE},
    )


def _constant(values: NDArray[np.integer]) -> bool:
    return not values.size or bool((values == values.flat[0]).all())


def pages_of(image: Image.Image) -> list[int]:
    """Return the numbers, from 0, of a file's pages that are no smaller copies of others."""
    if image.format == "MPO" or getattr(image, "n_frames", 1) == 1:
        return [0]
    numbers = [0]
    for number in range(1, min(int(getattr(image, "n_frames", 1)), MOST_PAGES)):
        image.seek(number)
        if not int(getattr(image, "tag_v2", {}).get(PAGE_KIND, 0)) & 1:
            numbers.append(number)
    image.seek(0)
    return numbers


def require_one_page(path: Path, image: Image.Image) -> None:
    """Refuse a file of several pages.

    Raises:
        UnclearMaskError: naming them.
    """
    pages = pages_of(image)
    if len(pages) == 1:
        return
    shares, centres = [], []
    for number in pages[:6]:
        image.seek(number)
        filled = np.asarray(image.convert("L")) > 0
        shares.append(float(filled.mean()))
        columns = np.flatnonzero(filled.any(axis=0))
        centres.append(float(columns.mean()) if columns.size else 0.0)
    image.seek(0)
    proposal: dict[str, LabelValue] = {}
    if len(pages) == 2:
        at_left, at_right = (1, 2) if centres[0] < centres[1] else (2, 1)
        proposal = {"right_lung": f"page {at_left}", "left_lung": f"page {at_right}"}
    told_shares = ", ".join(
        f"page {number} fills {share:.0%}" for number, share in enumerate(shares, 1)
    )
    raise UnclearMaskError(
        path, f"{len(pages)} pages ({told_shares})", "one page", kind="pages", proposal=proposal
    )


def binary_of(path: Path, plane: Plane) -> Mask:
    """Return the one structure of a file of two levels.

    Args:
        path: the file, for messages.
        plane: its values.

    Raises:
        UnclearMaskError: if it has other levels, or is a picture and no mask.
    """
    values, levels = plane.values, levels_of(plane.values, colours=plane.colours)
    found = sorted(level.value for level in levels)
    if _constant(values):
        if not values.size or found[0] == 0:
            return np.zeros(values.shape, np.bool_)
        raise UnclearMaskError(
            path,
            f"one value, {told(levels, colours=plane.colours)}, from edge to edge",
            "lung and background",
            kind="all_lung",
        )
    if plane.colours:
        return _binary_of_colours(path, plane, levels)
    low, high = int(values.min()), int(values.max())
    crosses = low <= 127 < high
    if len(found) > 2 or (len(found) == 2 and found[0] != 0 and not found[0] <= 127 < found[1]):
        raise unclear_levels(path, plane, levels)
    if low >= 0 and one_or_two(values) is not None:
        if low != 0 and not crosses:
            raise unclear_levels(path, plane, levels)
        return cast("Mask", values == high)
    # Smooth edges of 8-bit files are cut at 127, of others halfway between the levels.
    threshold = 127.0
    if high > 255 or not crosses:
        threshold = sum(found) / 2 if len(found) == 2 else (low + high) / 2
    mask = values > threshold
    _require_mask(path, values, mask, levels)
    return mask


def _require_mask(path: Path, values: NDArray[np.integer], mask: Mask, levels: list[Level]) -> None:
    """Refuse a picture of grey values: more of it lies between its levels than is foreground."""
    low, high = (
        (min(v.value for v in levels), max(v.value for v in levels))
        if len(levels) == 2
        else (int(values.min()), int(values.max()))
    )
    edge = (high - low) / 8
    between = int(((values > low + edge) & (values < high - edge)).sum())
    foreground, background = int(mask.sum()), int((~mask).sum())
    if between > min(max(foreground, background // 8), MOST_BETWEEN * values.size):
        raise UnclearMaskError(
            path,
            f"a grey picture, values from {int(values.min())} to {int(values.max())}, "
            f"{between / values.size:.0%} of it in between",
            "a mask of lung and background",
            "check `masks` and `mask_name`: this may be a film or a map of probabilities",
            kind="grey_picture",
        )


def _binary_of_colours(path: Path, plane: Plane, levels: list[Level]) -> Mask:
    dark = [level for level in levels if level.value == 0 or _nearly_black(level.value)]
    others = [level for level in levels if level not in dark]
    if not levels:
        raise UnclearMaskError(
            path, "a picture in colours, without any even area", "a mask of lung and background",
            "check `masks` and `mask_name`: this may be a picture", kind="grey_picture",
        )  # fmt: skip
    if len(dark) != 1 or len(others) != 1:
        raise unclear_levels(path, plane, levels)
    (lung,), wide = others, plane.values
    # Smooth edges: a pixel is lung where its brightest channel is at least half the level's.
    channel = max((16, 8, 0), key=lambda shift: lung.value >> shift & 255)
    return (wide >> channel & 255) > (lung.value >> channel & 255) / 2


def _nearly_black(value: int) -> bool:
    return max(value >> shift & 255 for shift in (16, 8, 0)) <= GREY_TOLERANCE


def unclear_levels(path: Path, plane: Plane, levels: list[Level]) -> UnclearMaskError:
    """Return the error of a mask with other than two levels, with what they may mean."""
    colours, shown = plane.colours, levels
    text = f"{len(levels)} {'colours' if colours else 'grey levels'}: "
    text += told(levels, colours=colours)
    if plane.indices is not None:
        shown, colours = levels_of(plane.indices, colours=False), False
        indices = ", ".join(str(level.value) for level in sorted(shown, key=lambda v: v.value)[:6])
        text += f" (palette indices {indices})"
    return UnclearMaskError(
        path,
        text,
        "two, of which one is lung and the other, 0, is background",
        "" if not plane.lossy else "save the mask without loss, as PNG; then name its labels",
        kind="colours" if plane.colours else "several_greys",
        proposal={} if plane.lossy else propose(shown, colours=colours),
    )


def require_background(path: Path, mask: Mask, values: Iterable[LabelValue] = ()) -> None:
    """Refuse a mask that covers most of the film's border: it is inverted, or all lung.

    Args:
        path: the file, for messages.
        mask: the mask ``(H, W)``.
        values: what was declared to be lung, if anything.

    Raises:
        UnclearMaskError: if it does.
    """
    share = border_share(mask)
    if share <= 0.5:
        return
    inside = float(mask.mean())
    if mask.all():
        kind, found = "all_lung", "a mask that is lung from edge to edge"
    else:
        kind, found = "inverted", f"lung along {share:.0%} of the border and in {inside:.0%} of all"
    proposal: dict[str, LabelValue] = {} if [*values] or mask.all() else {"lungs": 0}
    raise UnclearMaskError(path, found, "background around the lungs", kind=kind, proposal=proposal)

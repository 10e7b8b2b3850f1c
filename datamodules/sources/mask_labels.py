"""Masks whose values, colours, pages or transparency a user's ``labels`` name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from contract.arrays import Mask
from contract.errors import DataError, UserError
from contract.words import LABEL_PATTERN
from datamodules.sources.files import JPEGS, open_image
from datamodules.sources.flat_volumes import read_whole_numbers
from datamodules.sources.mask_levels import levels_of
from datamodules.sources.masks import (
    ALPHA_VALUE,
    GREY_MODES,
    WITH_ALPHA,
    Labels,
    LabelValue,
    Plane,
    binary_of,
    pages_of,
    plane_of,
    require_one_page,
    unclear_levels,
)
from datamodules.sources.volume_files import is_volume_file


def parse_label_value(stated: object) -> LabelValue | None:
    """Return a label's value as it is kept, or None where it is none."""
    if type(stated) is int:
        return stated if stated >= 0 else None
    if not isinstance(stated, str):
        return None
    if re.fullmatch(LABEL_PATTERN, stated) is None:
        return None
    word = stated.lower()
    return f"page {word[4:].strip()}" if word.startswith("page") else word


def label_kind(value: LabelValue) -> str:
    """Return what a label's value is: ``value``, ``colour``, ``page`` or ``alpha``."""
    if isinstance(value, int):
        return "value"
    return "colour" if value.startswith("#") else value.split()[0]


def require_one_kind(where: object, labels: Labels) -> None:
    """Refuse labels that mix values, colours, pages and alpha.

    Raises:
        UserError: if they do.
    """
    kinds = sorted({label_kind(value) for values in labels.values() for value in values})
    if len(kinds) > 1:
        raise UserError(where, f"{' and '.join(kinds)} side by side", "one kind", "mend the labels")


def read_labelled(path: Path, labels: Labels) -> dict[str, Mask]:
    """Return the mask ``(H, W)`` of each structure that labels name.

    Args:
        path: the file.
        labels: values of one kind.

    Raises:
        DataError: if the file is damaged, lossy where values or colours are wanted, or lacks a
            page or transparency.
    """
    kind = label_kind(next(value for values in labels.values() for value in values))
    if kind != "value" and is_volume_file(path):
        raise DataError(path, "a volume, which has numbers only", f"a {kind}, as labels say")
    if kind == "page":
        return _read_pages(path, labels)
    if kind == ALPHA_VALUE:
        alpha = _read_alpha(path)
        return dict.fromkeys(labels, alpha)
    if kind == "value":
        found = read_labels(path)
        return {name: np.isin(found, [*values]) for name, values in labels.items()}
    codes = _read_colours(path)
    return {
        name: np.isin(codes, [int(str(value)[1:], 16) for value in values])
        for name, values in labels.items()
    }


def read_labels(path: Path) -> NDArray[np.int32]:
    """Return the label values ``(H, W)`` of a lossless mask file; palette indices as they are.

    Raises:
        DataError: if the file is damaged, lossy (JPEG), coloured or of several pages.
    """
    if is_volume_file(path):
        return read_whole_numbers(path).astype(np.int32)
    with open_image(path) as image:
        _require_lossless(path, image)
        require_one_page(path, image)
        if image.mode in GREY_MODES:
            return np.asarray(ImageOps.exif_transpose(image)).astype(np.int32)
        plane = plane_of(path, image)
    if plane.colours:
        raise unclear_levels(path, plane, levels_of(plane.values, colours=True))
    return plane.values.astype(np.int32)


def _require_lossless(path: Path, image: Image.Image) -> None:
    if image.format in JPEGS:
        raise DataError(
            path, "a JPEG file of labels", "a lossless format", "save the labels as PNG"
        )


def _read_colours(path: Path) -> NDArray[np.integer]:
    with open_image(path) as image:
        _require_lossless(path, image)
        require_one_page(path, image)
        turned = ImageOps.exif_transpose(image).convert("RGB")
        red, green, blue = (np.asarray(turned)[..., number].astype(np.int32) for number in range(3))
    return red << 16 | green << 8 | blue


def _read_alpha(path: Path) -> Mask:
    with open_image(path) as image:
        require_one_page(path, image)
        if image.mode not in WITH_ALPHA and "transparency" not in image.info:
            raise DataError(path, f"no transparency (mode {image.mode})", "alpha, as labels say")
        alpha = np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))[..., 3]
    return binary_of(path, Plane(alpha, False))


def _read_pages(path: Path, labels: Labels) -> dict[str, Mask]:
    masks: dict[str, Mask] = {}
    with open_image(path) as image:
        pages = pages_of(image)
        for name, values in labels.items():
            numbers = sorted(int(str(value).split()[1]) for value in values)
            if numbers[-1] > len(pages):
                raise DataError(path, f"{len(pages)} pages", f"page {numbers[-1]}, as labels say")
            parts = []
            for number in numbers:
                image.seek(pages[number - 1])
                parts.append(binary_of(path, plane_of(path, image.copy())))
            if len({part.shape for part in parts}) > 1:
                raise DataError(path, "pages of several sizes", "one size")
            masks[name] = cast("Mask", np.logical_or.reduce(parts))
    if len({mask.shape for mask in masks.values()}) > 1:
        raise DataError(path, "pages of several sizes", "one size")
    return masks


def as_yaml(proposal: Mapping[str, LabelValue]) -> str:
    """Return a proposal as the YAML line that states it."""
    shown = (
        f'{name}: "{value}"' if isinstance(value, str) else f"{name}: {value}"
        for name, value in proposal.items()
    )
    return f"labels: {{{', '.join(shown)}}}"


def as_arguments(proposal: Mapping[str, LabelValue]) -> str:
    """Return a proposal as arguments of the command line."""
    shown = (f"{name}={str(value).replace(' ', '')}" for name, value in proposal.items())
    return f"--labels {' '.join(shown)}"

"""Masks that another tool predicted: each structure, on the grid that is scored.

PNG, BMP and TIFF files hold labels or a binary mask, without loss; so do NIfTI files of one slice
(``datamodules.sources.flat_volumes``). The mask of a CT scan is a volume, named by the scan's
SeriesInstanceUID, and lies where its header says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import ImageOps

from contract.arrays import Mask
from contract.errors import DataError, UserError
from contract.words import BACKGROUND, STRUCTURES
from datamodules.preprocessing import resize_mask
from datamodules.sources.base import check_sides
from datamodules.sources.ct.lung_masks import read_volume_mask
from datamodules.sources.ct.slices import ScanSlices
from datamodules.sources.files import EIGHT_BITS, JPEGS, SIXTEEN_BITS, open_image
from datamodules.sources.flat_volumes import read_whole_numbers, whole_numbers_of
from datamodules.sources.mask_labels import (
    as_arguments,
    parse_label_value,
    read_labelled,
    require_one_kind,
)
from datamodules.sources.masks import (
    Labels,
    LabelValue,
    UnclearMaskError,
    binary_of,
    read_plane,
    require_one_page,
)
from datamodules.sources.own_description import nnunet_labels, read_dataset_json
from datamodules.sources.volume_files import VolumeFile, is_volume_file

VALUES_SHOWN = 5
"""Values that a message lists; the others are counted."""

Shape = tuple[int, int]


def parse_labels(pairs: Sequence[str]) -> Labels:
    """Read ``structure=value`` pairs, several values joined by commas.

    ``background`` takes values that no structure means.

    Raises:
        UserError: if a pair is none, a value stands twice, or no lungs are among them.
    """
    labels: dict[str, frozenset[LabelValue]] = {}
    for pair in pairs:
        name, _, values = pair.partition("=")
        if name not in (*STRUCTURES, BACKGROUND) or name in labels:
            raise UserError(
                f"--labels {pair}", repr(name), f"each once: {', '.join((*STRUCTURES, BACKGROUND))}"
            )
        read = [_label_value(value) for value in values.split(",")]
        if None in read:
            expected = "whole numbers above 0, as heart=3,4; or '#ff0000', page2, alpha"
            raise UserError(f"--labels {pair}", repr(values), expected)
        labels[name] = frozenset(value for value in read if value is not None)
    if "lungs" not in labels and not {"left_lung", "right_lung"} <= set(labels):
        found = ", ".join(sorted(labels)) or "nothing"
        raise UserError("--labels", found, "lungs, or left_lung and right_lung")
    require_one_kind("--labels", labels)
    return labels


def _label_value(text: str) -> LabelValue | None:
    if text.isdecimal():
        return int(text) or None
    return parse_label_value(text)


def labels_of(folder: Path, stated: Sequence[str]) -> Labels | None:
    """Return what the values in a folder of masks mean.

    Args:
        folder: the folder of masks; nnU-Net's ``dataset.json`` in it names the labels.
        stated: ``structure=value`` pairs of the user, which go before ``dataset.json``.

    Returns:
        the values of each structure, or None where every mask is a binary mask of the lungs.
    """
    if stated:
        return parse_labels(stated)
    about = folder / "dataset.json"
    if not about.is_file():
        return None
    content = read_dataset_json(about)
    labels = dict(nnunet_labels(about, content))
    known: frozenset[LabelValue] = frozenset().union(*labels.values())
    others = _numbers(content["labels"]) - known - {0}
    return {**labels, BACKGROUND: others} if others else labels


def _numbers(stated: object) -> frozenset[int]:
    """Return every whole number in nnU-Net's table of labels, whichever way round it is."""
    if isinstance(stated, dict):
        return frozenset().union(*(_numbers(part) for part in (*stated, *stated.values())))
    if isinstance(stated, list):
        return frozenset().union(*(_numbers(part) for part in stated))
    whole = isinstance(stated, int) or (isinstance(stated, str) and stated.isdecimal())
    return frozenset({int(str(stated))}) if whole else frozenset()


def read_structures(path: Path, labels: Labels | None) -> dict[str, Mask]:
    """Return the masks ``(H, W)`` of a file; ``lungs`` is always among them.

    Args:
        path: the file.
        labels: the values of each structure; None for a binary mask of the lungs.

    Raises:
        DataError: if the file is damaged, lossy, coloured or no volume of one slice, or holds
            values that mean nothing.
    """
    is_volume = is_volume_file(path)
    try:
        if labels is None and not is_volume:
            return {"lungs": _read_lungs(path)}
        if labels is not None and not is_volume and not _are_numbers(labels):
            masks = read_labelled(path, labels)
            masks.pop(BACKGROUND, None)
        else:
            values = _read_values(path)
            _require_known(path, values, labels)
            masks = _structures(values, labels)
    except UnclearMaskError as error:
        todo = error.todo or "save hard masks of the lungs, 0 and 255"
        if error.proposal and not error.todo:
            todo = f"say what they mean, e.g. {as_arguments(error.proposal)}"
        raise DataError(error.where, error.found, error.expected, todo, error.kind) from None
    if "lungs" not in masks:
        masks["lungs"] = masks["left_lung"] | masks["right_lung"]
    return masks


def _structures(values: NDArray[np.integer], labels: Labels | None) -> dict[str, Mask]:
    if labels is None:
        return {"lungs": values != 0}
    return {name: np.isin(values, list(own)) for name, own in labels.items() if name != BACKGROUND}


def _are_numbers(labels: Labels) -> bool:
    return all(isinstance(value, int) for own in labels.values() for value in own)


def _read_lungs(path: Path) -> Mask:
    """Return a binary mask without smooth edges; one that is lung from edge to edge is allowed."""
    _require_lossless(path)
    plane = read_plane(path)
    if plane.colours:
        return binary_of(path, plane)
    _require_known(path, plane.values, None)
    return cast("Mask", plane.values != 0)


def read_scan(path: Path, series: ScanSlices, labels: Labels | None) -> Mask:
    """Return the lungs on a CT scan's grid ``(slices, H, W)``, as a volume's header places it.

    Args:
        path: a volume that SimpleITK reads.
        series: the scan.
        labels: the values of each structure; None for a binary mask of the lungs.

    Raises:
        DataError: if the file is damaged, its grid is not the scan's, or it holds values that mean
            nothing.
    """
    if not is_volume_file(path):
        raise DataError(path, "a picture", "a volume of the whole scan", "save it as NIfTI")
    if labels is not None and not _are_numbers(labels):
        raise DataError(path, "a volume, which has numbers only", "--labels of whole numbers")
    values = whole_numbers_of(path, VolumeFile(path).values())
    _require_known(path, values, labels)
    return read_volume_mask(path, series, None if labels is None else _lung_values(labels))


def _lung_values(labels: Labels) -> frozenset[int]:
    lungs = labels.get("lungs") or labels["left_lung"] | labels["right_lung"]
    return frozenset(value for value in lungs if isinstance(value, int))


def _require_known(path: Path, values: NDArray[np.integer], labels: Labels | None) -> None:
    """Refuse values that mean nothing."""
    present = np.unique(values).tolist()
    if labels is None:
        if len(present) > 2 or (len(present) == 2 and present[0] != 0):
            todo = "say what they mean, e.g. --labels left_lung=1 right_lung=2 heart=3"
            if len(present) > 20:
                todo = "save hard masks of the lungs, 0 and 255"
            raise DataError(path, _values(present), "0 and one other value, which is lung", todo)
        return
    known = frozenset().union(*labels.values())
    unknown = [value for value in present if value != 0 and value not in known]
    if unknown:
        told = ", ".join(f"{name}={_join(own)}" for name, own in labels.items())
        todo = (
            f"add them to --labels, or background={_join(unknown[:VALUES_SHOWN])} to leave them out"
        )
        raise DataError(path, _values(unknown), f"0 and the labels {told}", todo)


def _values(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:VALUES_SHOWN]))
    if len(values) > VALUES_SHOWN:
        return f"{len(values)} values: {shown} … {values[-1]}"
    return f"the value{'s' if len(values) > 1 else ''} {shown}"


def _join(values: Iterable[object]) -> str:
    return ",".join(sorted(map(str, values), key=lambda text: (len(text), text)))


def _require_lossless(path: Path) -> None:
    with open_image(path) as image:
        if image.format in JPEGS:
            raise DataError(path, "a JPEG file", "a lossless format", "save the masks as PNG")


def _read_values(path: Path) -> NDArray[np.integer]:
    if is_volume_file(path):
        return read_whole_numbers(path)
    _require_lossless(path)
    with open_image(path) as image:
        require_one_page(path, image)
        if image.mode not in (*EIGHT_BITS, *SIXTEEN_BITS):
            raise DataError(path, f"pixels of mode {image.mode}", "whole numbers", "save as PNG")
        values = np.asarray(ImageOps.exif_transpose(image))
        values = values.astype(np.uint8) if values.dtype == np.bool_ else values
    if values.ndim == 2:
        return values
    colours = values[..., :3] if image.mode.startswith("RGB") else values[..., :1]
    if (colours != colours[..., :1]).any():
        raise DataError(path, "colours", "grey values or a palette", "save the masks as grey PNG")
    return colours[..., 0]


def to_scored_grid(
    path: Path, masks: Mapping[str, Mask], film: Shape, scored: Shape, resize: bool
) -> dict[str, Mask]:
    """Return a file's masks on the grid that is scored.

    From the film's own grid they come as the reference does: pixels at least half covered.

    Args:
        path: the file, for messages.
        masks: each structure's mask.
        film: the film's (height, width).
        scored: the scored grid's.
        resize: take a mask of any other size for the whole film, stretched, and resize it too: by
            area when shrinking, bilinearly when growing, pixels at least half covered.

    Raises:
        DataError: if the size is neither the film's nor the scored grid's, and not to be resized.
    """
    found = next(iter(masks.values())).shape
    if found not in (film, scored) and not resize:
        expected = f"the film's {_size(film)}"
        expected += "" if scored == film else f", or {_size(scored)} as it is scored"
        todo = "map the mask back to its film; --resize stretches it onto the film"
        if film[0] != film[1] and found in (film[::-1], scored[::-1]):
            todo = "transpose it: its rows and columns are exchanged"
        raise DataError(path, f"a mask of {_size(found)}", expected, todo)
    return {name: resize_mask(mask, scored) for name, mask in masks.items()}


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]}×{shape[0]} pixels"


def require_sides(folder: Path, swapped: int, total: int) -> None:
    """Refuse masks whose left and right are exchanged in most cases.

    Args:
        folder: the folder of masks.
        swapped: cases with the left lung at the image's left.
        total: cases with both lungs.

    Raises:
        DataError: if they are more than half.
    """
    if 2 * swapped > total:
        raise DataError(
            folder,
            f"left_lung at the image's left in {swapped} of {total} masks",
            "the patient's left lung at the image's right",
            "exchange the labels of left_lung and right_lung, or mirror the masks back",
        )


def require_backgrounds(folder: Path, bordering: int, total: int) -> None:
    """Refuse masks of which most cover most of their border: they are inverted.

    Args:
        folder: the folder of masks.
        bordering: masks that cover more than half of their border.
        total: all masks.

    Raises:
        DataError: if they are more than half.
    """
    if 2 * bordering > total:
        raise DataError(
            folder,
            f"lung along most of the border in {bordering} of {total} masks",
            "background around the lungs",
            "exchange lung and background: lung is the value that is not 0",
            kind="inverted",
        )


def sides(masks: Mapping[str, Mask]) -> bool | None:
    """Tell whether left and right stand where they should; None where a side is empty."""
    if not all(side in masks and masks[side].any() for side in ("left_lung", "right_lung")):
        return None
    try:
        check_sides(Path(), masks)
    except DataError:
        return False
    return True

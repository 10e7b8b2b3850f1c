"""The masks of a user's own data set: read by its labels, refused where that would be a guess."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from contract.arrays import Mask
from contract.errors import DataError
from datamodules.sources.base import Case, check_sides
from datamodules.sources.files import open_image, orientation_of
from datamodules.sources.flat_volumes import read_whole_numbers
from datamodules.sources.mask_labels import as_yaml, label_kind, read_labelled
from datamodules.sources.mask_levels import part_centres
from datamodules.sources.masks import LabelValue, UnclearMaskError, read_binary, require_background
from datamodules.sources.own_description import Description
from datamodules.sources.volume_files import is_volume_file

SIDEWAYS = 5
"""Orientations from this on exchange rows and columns."""
LUNGS = ("lungs", "left_lung", "right_lung")


class OwnMasks:
    """Reads the masks of one data set.

    Args:
        about: the description of the data set.
    """

    def __init__(self, about: Description) -> None:
        self._about = about
        self._one_file = "" in about.masks

    def read(
        self, case: Case, shape: tuple[int, int] | None
    ) -> tuple[dict[str, Mask], dict[str, LabelValue]]:
        """Return each structure's mask ``(H, W)``, and the level of each binary file's foreground.

        Args:
            case: the case.
            shape: its film's (height, width), or None where that is not to be checked.

        Raises:
            DataError: if a mask is damaged, cannot be read without a guess, is of another size
                than its film, covers the border, is without lungs, or has them exchanged.
        """
        try:
            masks, levels = self._decode(case)
            if shape is not None:
                self._require_shape(case, masks, shape)
            self._require_plausible(case, masks)
        except UnclearMaskError as error:
            raise self._with_way_out(error) from None
        return masks, levels

    def _decode(self, case: Case) -> tuple[dict[str, Mask], dict[str, LabelValue]]:
        levels: dict[str, LabelValue] = {}
        if self._about.labels is not None:
            (path,) = case.mask_files
            masks = read_labelled(path, self._about.labels)
        else:
            masks = {}
            for key in self._about.masks:
                structure = key or "lungs"
                masks[structure], level = read_binary(case.masks[structure][0])
                if level is not None:
                    levels[structure] = level
        if "lungs" not in masks:
            shapes = {masks[side].shape for side in ("left_lung", "right_lung")}
            if len(shapes) > 1:
                sizes = " and ".join(f"{w}×{h}" for h, w in sorted(shapes))
                raise DataError(
                    case.mask_files[0], f"masks of {sizes} pixels", "one size, their film's",
                    kind="mismatched",
                )  # fmt: skip
            masks["lungs"] = masks["left_lung"] | masks["right_lung"]
        return masks, levels

    def _require_shape(self, case: Case, masks: Mapping[str, Mask], shape: tuple[int, int]) -> None:
        for structure, mask in masks.items():
            found = mask.shape
            if found == shape:
                continue
            todo = "save mask and film on one grid"
            if found == shape[::-1] and _orientation(case.image) >= SIDEWAYS:
                todo = (
                    "turn the mask as its film is: the film's EXIF orientation turns it, and the "
                    "mask fits the film as it is stored only"
                )
            elif found == shape[::-1]:
                todo = "turn the mask: its rows and columns are exchanged"
            raise DataError(
                case.masks[structure][0],
                f"a mask of {found[1]}×{found[0]} pixels",
                f"its image's {shape[1]}×{shape[0]}",
                todo,
                kind="mismatched",
            )

    def _require_plausible(self, case: Case, masks: Mapping[str, Mask]) -> None:
        labels = self._about.labels or {}
        for structure in LUNGS:
            if structure in masks and structure in case.masks:
                path = case.masks[structure][0]
                require_background(path, masks[structure], labels.get(structure, ()))
        path = case.masks["lungs"][0]
        if not masks["lungs"].any():
            found = "a mask without lungs"
            if labels:
                found += f"; {self._values(path)}"
            raise DataError(path, found, "some foreground", "mend mask or labels", "empty_mask")
        check_sides(path, masks)
        require_side_by_side(path, masks)

    def _values(self, path: Path) -> str:
        if is_volume_file(path):
            values = np.unique(read_whole_numbers(path))[:8].tolist()
        else:
            with open_image(path) as image:
                values = np.unique(np.asarray(image))[:8].tolist()
        return f"its values are {values}"

    def _with_way_out(self, error: UnclearMaskError) -> DataError:
        todo, proposal = error.todo, error.proposal
        words = "check what each value means"
        if not todo and proposal and self._one_file:
            if any(label_kind(value) in ("value", "colour") for value in proposal.values()):
                words = "check which is which"
            todo = f"state in {self._about.file}, after a look ({words}): {as_yaml(proposal)}"
        elif not todo and error.kind == "all_lung":
            todo = "draw the mask again, or take the case out of the data set"
        elif not todo:
            todo = "save the mask as a grey PNG of 0 and 255, lung 255"
        return DataError(error.where, error.found, error.expected, todo, error.kind)


def _orientation(path: Path) -> int:
    """Return a picture's EXIF orientation: 1 where it is upright or says nothing."""
    try:
        with open_image(path) as image:
            return orientation_of(image)
    except DataError:  # no picture: a DICOM file
        return 1


def require_side_by_side(path: Path, masks: Mapping[str, Mask]) -> None:
    """Refuse two lungs of which one lies above the other: the mask is turned by 90°.

    Args:
        path: the file, for messages.
        masks: masks ``(H, W)`` by structure, ``lungs`` among them.

    Raises:
        DataError: if they do.
    """
    sides = [masks.get(side) for side in ("left_lung", "right_lung")]
    if all(mask is not None and mask.any() for mask in sides):
        moments = [cv2.moments(mask.astype(np.uint8), True) for mask in sides if mask is not None]
        centres = [(m["m10"] / m["m00"], m["m01"] / m["m00"]) for m in moments]
    else:
        centres = part_centres(masks["lungs"])
    if len(centres) < 2:
        return
    along, down = (abs(centres[0][axis] - centres[1][axis]) for axis in (0, 1))
    if down > 2 * along:
        todo = "turn the mask as its film is shown"
        if is_volume_file(path):
            todo = "save its axes as (x, y): of an array of rows nibabel wants the transpose"
        raise DataError(
            path,
            f"one lung above the other: {down:.0f} pixels apart down, {along:.0f} along",
            "lungs side by side, on a film that stands upright",
            todo,
            kind="turned",
        )

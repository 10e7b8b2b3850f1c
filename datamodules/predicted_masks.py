"""Masks that another tool predicted: which file is whose, and each structure on the scored grid.

A file is a case's if its name is the case id, with one of ``SUFFIXES`` or without, and an ending
out of ``ENDINGS``. nnU-Net's folders of predictions are such folders; its ``dataset.json`` names
the labels. Where two test sets have a case id in common, each set's masks lie in a folder of the
set's name inside the folder.

PNG, BMP and TIFF files hold labels or a binary mask, without loss. NIfTI files are read as nnU-Net
writes them: axes (x, y) or (x, y, 1), x along the film's rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.errors import DataError, UserError
from contract.words import BACKGROUND, STRUCTURES
from datamodules.preprocessing import resize_mask
from datamodules.sources.base import Case, check_sides
from datamodules.sources.files import EIGHT_BITS, SIXTEEN_BITS, list_files, open_image
from datamodules.sources.own_description import Labels, nnunet_labels, read_dataset_json
from datamodules.splits import Key

NIFTI = (".nii.gz", ".nii")
ENDINGS = (*NIFTI, ".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg")
"""JPEG files are found, so that their refusal can say why."""
SUFFIXES = ("", "_mask", "-mask", "_masks", "_seg", "_segmentation", "_pred", "_prediction",
            "_label", "_labels", "_lung", "_lungs")  # fmt: skip
COMPANIONS = (".json", ".npz", ".npy", ".pkl", ".csv", ".txt", ".log", ".md")
"""Files that tools leave beside their masks; they are no masks, and nothing is said of them."""
SHOWN = 5
"""Names that a message lists; the others are counted."""

Mask = NDArray[np.bool_]
Shape = tuple[int, int]


@dataclass(frozen=True)
class MaskFiles:
    """The files of a folder of masks.

    Attributes:
        of: the file of each test case.
        extra: files that look like masks and belong to no test case.
    """

    of: Mapping[Key, Path]
    extra: tuple[Path, ...]


def find_masks(folder: Path, cases: Sequence[Case]) -> MaskFiles:
    """Find the mask file of every test case.

    Args:
        folder: the folder of masks.
        cases: the test cases.

    Raises:
        DataError: if a case has no mask, or several.
    """
    ids: dict[str, list[Case]] = {}
    for case in cases:
        ids.setdefault(case.case_id, []).append(case)
    files = {None: _masks_in(folder)}
    for dataset in {case.dataset for case in cases}:
        if (folder / dataset).is_dir():
            files[dataset] = _masks_in(folder / dataset)
    shared = sorted(case_id for case_id, own in ids.items() if len(own) > 1)
    found: dict[Key, Path] = {}
    missing = []
    for case in cases:
        key = (case.dataset, case.case_id)
        places = [case.dataset] if case.case_id in shared else [case.dataset, None]
        paths = [path for place in places for path in _of(case.case_id, files.get(place, {}), ids)]
        if len(paths) > 1:
            told = " and ".join(path.name for path in paths[:2])
            raise DataError(paths[1].parent, f"{told}", f"one mask of case {case.case_id}",
                            "remove one")  # fmt: skip
        if paths:
            found[key] = paths[0]
        else:
            missing.append(case.case_id)
    if missing:
        todo = "predict these too: a system is scored on every test case; an empty mask is valid"
        if set(missing) & set(shared):
            todo = f"put each data set's masks in a folder of its name, as in {folder}/<data set>"
        named = f"<case id>.png, such as {missing[0]}.png"
        raise DataError(folder, f"no mask of {_some(missing)}", named, todo)
    taken = set(found.values())
    every = [path for own in files.values() for path in own.values()]
    return MaskFiles(found, tuple(sorted(path for path in every if path not in taken)))


def _masks_in(folder: Path) -> dict[str, Path]:
    return {
        name: path
        for name, path in list_files(folder).items()
        if not name.startswith(".") and path.suffix.lower() not in COMPANIONS
    }


def _of(case_id: str, files: Mapping[str, Path], ids: Mapping[str, object]) -> list[Path]:
    """Return a case's files: a name that is itself another case's id is that case's."""
    stems = [case_id + suffix for suffix in SUFFIXES if not suffix or case_id + suffix not in ids]
    names = (stem + ending for stem in stems for ending in _spelled(ENDINGS))
    return [files[name] for name in names if name in files]


def _spelled(endings: Iterable[str]) -> list[str]:
    return [spelled for ending in endings for spelled in (ending, ending.upper())]


def _some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    counted = f"{len(names)} cases: " if len(names) > 1 else ""
    return counted + ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def parse_labels(pairs: Sequence[str]) -> Labels:
    """Read ``structure=value`` pairs, several values joined by commas.

    ``background`` takes values that no structure means.

    Raises:
        UserError: if a pair is none, a value stands twice, or no lungs are among them.
    """
    labels: dict[str, frozenset[int]] = {}
    for pair in pairs:
        name, _, values = pair.partition("=")
        if name not in (*STRUCTURES, BACKGROUND) or name in labels:
            raise UserError(
                f"--labels {pair}", repr(name), f"each once: {', '.join((*STRUCTURES, BACKGROUND))}"
            )
        numbers = values.split(",")
        if not all(number.isdecimal() and int(number) > 0 for number in numbers):
            raise UserError(f"--labels {pair}", repr(values), "whole numbers above 0, as heart=3,4")
        labels[name] = frozenset(map(int, numbers))
    if "lungs" not in labels and not {"left_lung", "right_lung"} <= set(labels):
        found = ", ".join(sorted(labels)) or "nothing"
        raise UserError("--labels", found, "lungs, or left_lung and right_lung")
    return labels


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
    known = frozenset().union(*labels.values())
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
    values = _read_values(path)
    present = np.unique(values).tolist()
    if labels is None:
        if len(present) > 2 or (len(present) == 2 and present[0] != 0):
            grey = len(present) > 20
            todo = "save hard masks of the lungs, 0 and 255" if grey else (
                "say what they mean, e.g. --labels left_lung=1 right_lung=2 heart=3"
            )  # fmt: skip
            raise DataError(path, _values(present), "0 and one other value, which is lung", todo)
        return {"lungs": values != 0}
    known = frozenset().union(*labels.values())
    unknown = [value for value in present if value != 0 and value not in known]
    if unknown:
        told = ", ".join(f"{name}={_join(own)}" for name, own in labels.items())
        todo = f"add them to --labels, or background={_join(unknown[:SHOWN])} to leave them out"
        raise DataError(path, _values(unknown), f"0 and the labels {told}", todo)
    masks = {name: np.isin(values, list(own)) for name, own in labels.items() if name != BACKGROUND}
    if "lungs" not in masks:
        masks["lungs"] = masks["left_lung"] | masks["right_lung"]
    return masks


def _values(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:SHOWN]))
    if len(values) > SHOWN:
        return f"{len(values)} values: {shown} … {values[-1]}"
    return f"the value{'s' if len(values) > 1 else ''} {shown}"


def _join(values: Iterable[int]) -> str:
    return ",".join(map(str, sorted(values)))


def _read_values(path: Path) -> NDArray[np.integer]:
    if path.name.lower().endswith(NIFTI):
        return _read_nifti(path)
    with open_image(path) as image:
        if image.format == "JPEG":
            raise DataError(path, "a JPEG file", "a lossless format", "save the masks as PNG")
        if image.mode not in (*EIGHT_BITS, *SIXTEEN_BITS):
            raise DataError(path, f"pixels of mode {image.mode}", "whole numbers", "save as PNG")
        values = np.asarray(image)
        values = values.astype(np.uint8) if values.dtype == np.bool_ else values
    if values.ndim == 2:
        return values
    colours = values[..., :3] if image.mode.startswith("RGB") else values[..., :1]
    if (colours != colours[..., :1]).any():
        raise DataError(path, "colours", "grey values or a palette", "save the masks as grey PNG")
    return colours[..., 0]


def _read_nifti(path: Path) -> NDArray[np.integer]:
    import SimpleITK

    try:
        values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    except Exception as error:  # SimpleITK raises RuntimeError for whatever is wrong
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise DataError(path, f"no readable NIfTI file ({reason})", "a whole mask") from None
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2:
        found = " × ".join(map(str, values.shape[::-1]))
        raise DataError(path, f"a volume of {found}", "one film: axes (x, y) or (x, y, 1)")
    whole: NDArray[np.integer] = np.rint(values).astype(np.int32)
    if (whole != values).any():
        raise DataError(path, "fractions", "whole numbers", "save hard masks, no probabilities")
    return whole


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


def sides(masks: Mapping[str, Mask]) -> bool | None:
    """Tell whether left and right stand where they should; None where a side is empty."""
    if not all(side in masks and masks[side].any() for side in ("left_lung", "right_lung")):
        return None
    try:
        check_sides(Path(), masks)
    except DataError:
        return False
    return True

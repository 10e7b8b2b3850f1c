"""Masks that another tool predicted: which file is whose.

A file is a case's if its name is the case id, with one of ``NAME_ENDINGS`` or without, and an
ending out of ``ENDINGS``. nnU-Net's folders of predictions are such folders. Where two test sets
have a case id in common, each set's masks lie in a folder of the set's name inside the folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.errors import DataError
from datamodules.sources.base import Case
from datamodules.sources.files import VOLUME_ENDINGS, list_files
from datamodules.splits import Key

ENDINGS = (*VOLUME_ENDINGS, ".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg")
"""JPEG files are found, so that their refusal can say why."""
NAME_ENDINGS = ("", "_mask", "-mask", "_masks", "_seg", "_segmentation", "_pred", "_prediction",
                "_label", "_labels", "_lung", "_lungs")  # fmt: skip
COMPANIONS = (".json", ".npz", ".npy", ".raw", ".zraw", ".pkl", ".csv", ".txt", ".log", ".md")
"""Files that tools leave beside their masks; they are no masks, and nothing is said of them."""
NAMES_SHOWN = 5
"""Names that a message lists; the others are counted."""


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
    files: dict[str | None, dict[str, Path]] = {None: _masks_in(folder)}
    for dataset in {case.dataset for case in cases}:
        if (folder / dataset).is_dir():
            files[dataset] = _masks_in(folder / dataset)
    shared = sorted(case_id for case_id, own in ids.items() if len(own) > 1)
    found: dict[Key, Path] = {}
    missing = []
    for case in cases:
        key = (case.dataset, case.case_id)
        places: list[str | None] = [case.dataset]
        places += [] if case.case_id in shared else [None]
        paths = [path for place in places for path in _of(case.case_id, files.get(place, {}), ids)]
        if len(paths) > 1:  # films and masks may lie in one folder
            paths = [path for path in paths if path.resolve() != case.image.resolve()]
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
        taken = set(found.values())
        strange = [
            path.name for own in files.values() for path in own.values() if path not in taken
        ]
        if strange:
            named += f" (files of no case: {_some(strange)})"
        raise DataError(folder, f"no mask of {_cases(missing)}", named, todo)
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
    stems = [
        case_id + suffix for suffix in NAME_ENDINGS if not suffix or case_id + suffix not in ids
    ]
    names = (stem + ending for stem in stems for ending in _spelled(ENDINGS))
    return [files[name] for name in names if name in files]


def _spelled(endings: Iterable[str]) -> list[str]:
    return [spelled for ending in endings for spelled in (ending, ending.upper())]


def _cases(names: Sequence[str]) -> str:
    return _some(names).replace(": ", " cases: ", 1)


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    counted = f"{len(names)}: " if len(names) > 1 else ""
    return counted + ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")

"""Which files of a user's folders are whose, by the patterns of their names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from contract.errors import DataError
from datamodules.sources.files import list_files, list_folders

NAMED_IDS = 5


def files_by_id(folder: Path, pattern: str, endings: tuple[str, ...]) -> dict[str, Path]:
    """Return the files whose names fit a pattern, by the id that stands for ``{id}``.

    Args:
        folder: the folder.
        pattern: a file name with one ``{id}``; ``.*`` in it is any of the endings.
        endings: those of the files that count, in small letters with their dot.

    Raises:
        DataError: if two files are of one case, or a name is no UTF-8 or holds control characters.
    """
    any_ending = f"(?i:{'|'.join(map(re.escape, endings))})"
    before, after = (re.escape(part).replace(r"\.\*", any_ending) for part in pattern.split("{id}"))
    named = re.compile(f"{before}(.+){after}", re.DOTALL)
    found: dict[str, Path] = {}
    for name, path in list_files(folder).items():
        match = named.fullmatch(name)
        if match is None or name.startswith(".") or not name.lower().endswith(endings):
            continue
        require_plain_name(path)
        other = found.setdefault(match[1], path)
        if other != path:
            raise DataError(path, f"the same case as {other.name}", "one file a case")
    return found


def content_of(folder: Path) -> str:
    """Return in words what a folder holds, for messages about what it does not.

    Raises:
        DataError: if it is missing or cannot be read.
    """
    names = [name for name in list_files(folder) if not name.startswith(".")]
    folders = list_folders(folder)
    parts = [f"{len(names)} files: {some(names)}"] if names else []
    if folders:
        parts.append(
            f"{len(folders)} folders, which are not entered: {some(f.name for f in folders)}"
        )
    return "; ".join(parts) or "nothing"


def require_plain_name(path: Path) -> None:
    """Refuse a file name that tables and configurations cannot hold.

    Raises:
        DataError: if it is no UTF-8, or holds a newline or another control character.
    """
    name = path.name
    odd = [letter for letter in name if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")]
    if odd:
        told = name.encode("utf-8", "backslashreplace").decode()
        what = "bytes that are no UTF-8" if "\ud800" <= odd[0] <= "\udfff" else repr(odd[0])
        raise DataError(
            path.parent,
            f"the file name {told!r}, which holds {what}",
            "names in UTF-8 without control characters",
            "rename the file",
            kind="odd_name",
        )


def without_masks(
    images: Mapping[str, Path], masks: Iterable[Mapping[str, Path]]
) -> dict[str, Path]:
    """Return the images without the masks that lie among them.

    A file that both patterns mean is the mask of the case that the masks' pattern tells. Only
    where there is no such image, but a mask of the file itself, it is an image.

    Args:
        images: files by the id that the images' pattern tells.
        masks: for each structure files by the id that the masks' pattern tells.
    """
    owners: dict[Path, str] = {}
    of_ids: set[str] = set()
    for files in masks:
        owners |= {path: case_id for case_id, path in files.items()}
        of_ids |= set(files)
    return {
        case_id: path
        for case_id, path in images.items()
        if path not in owners or (owners[path] not in images and case_id in of_ids)
    }


def some(names: Iterable[str]) -> str:
    """Return the first of some names, sorted."""
    ordered = sorted(names)
    return ", ".join(ordered[:NAMED_IDS]) + (" …" if len(ordered) > NAMED_IDS else "")

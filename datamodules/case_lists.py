"""A user's own lists of case ids: which cases train, validate and test, as a file says it.

Two kinds of files are read.

**nnU-Net's** ``splits_final.json``: a list of folds, each ``{"train": […], "val": […]}``. nnU-Net
scores a fold's network on its ``val``, so these are the cases that are **tested** here; cases that
choose a checkpoint are taken out of ``train`` by the protocol's ``validation``, since what is
tested chooses nothing.

**A CSV file** (``,``, ``;`` or tabs) with a line a case and the columns

- ``case_id``;
- ``split``: ``train``, ``validation``, ``test`` or ``unused``;
- ``fold``, optional: a whole number; a case has a line in each fold then;
- ``dataset``, optional: the data set's name, where two sets of a protocol share ids.

Where it names cases that validate, these do; otherwise ``validation`` takes them out of ``train``.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from contract.errors import UserError

LISTED_SIDES = ("train", "validation", "test", "unused")
"""What a case may do in a fold."""

COLUMNS = ("case_id", "split", "fold", "dataset")
EXPECTED = "nnU-Net's splits_final.json, or a CSV file with the columns case_id and split"

ListedKey = tuple[str, str]
"""A case's data set, empty where the file does not say it, and id."""


@dataclass(frozen=True)
class CaseLists:
    """What a file of lists says.

    Attributes:
        file: the file.
        folds: for each fold what each case does, see ``LISTED_SIDES``.
    """

    file: Path
    folds: tuple[Mapping[ListedKey, str], ...]

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that name the content, whatever its format or order."""
        text = json.dumps(
            [sorted([*key, side] for key, side in fold.items()) for fold in self.folds]
        )
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def read_case_lists(path: Path) -> CaseLists:
    """Read a file of lists.

    Raises:
        UserError: if the file is absent, of another kind, or names a case twice in a fold or as
            tested in two.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(path, f"no readable file ({error.strerror})", EXPECTED) from None
    except ValueError:
        found = "no text in UTF-8"
        if path.suffix.lower() == ".pkl":
            found = "a pickle, which nnU-Net wrote in its first version"
        raise UserError(path, found, EXPECTED, "export the lists again") from None
    folds = _json_folds(path, text) if path.suffix.lower() == ".json" else _csv_folds(path, text)
    tested: dict[ListedKey, str] = {}
    for name, fold in folds.items():
        for key in (key for key, side in fold.items() if side == "test"):
            if key in tested:
                found = f"case {_told(key)} tested in fold {tested[key]} and in fold {name}"
                raise UserError(path, found, "each case tested once", "mend the lists")
            tested[key] = name
    return CaseLists(path, tuple(folds.values()))


def write_case_lists(folder: Path, folds: Sequence[Mapping[str, Sequence[ListedKey]]]) -> None:
    """Write lists in both formats: ``cases.csv``, and ``splits_final.json`` for nnU-Net.

    nnU-Net's has neither validation, which joins ``train``, nor unused cases, nor data sets.

    Args:
        folder: where to write; it is made.
        folds: for each fold the cases of each side.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "cases.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("dataset", "case_id", "split", "fold"))
        for number, fold in enumerate(folds):
            table.writerows((*key, side, number) for side in LISTED_SIDES for key in fold[side])
    nnunet = [
        {
            "train": sorted(case_id for _, case_id in (*fold["train"], *fold["validation"])),
            "val": sorted(case_id for _, case_id in fold["test"]),
        }
        for fold in folds
    ]
    (folder / "splits_final.json").write_text(json.dumps(nnunet, indent=4), encoding="utf-8")


def _json_folds(path: Path, text: str) -> dict[str, dict[ListedKey, str]]:
    form = 'a list of folds, each {"train": [ids], "val": [ids]}, as nnU-Net writes it'
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(path, f"no readable JSON ({error})", form) from None
    if not isinstance(content, list) or not content:
        raise UserError(path, f"a {_kind(content)}", form)
    folds = {}
    for number, stated in enumerate(content):
        where = f"{path}, fold {number}"
        if not isinstance(stated, dict) or set(stated) != {"train", "val"}:
            keys = sorted(stated) if isinstance(stated, dict) else _kind(stated)
            raise UserError(where, f"{keys}", '{"train": [ids], "val": [ids]}')
        fold: dict[ListedKey, str] = {}
        for key, side in (("train", "train"), ("val", "test")):
            ids = stated[key]
            if not isinstance(ids, list) or not all(isinstance(one, str) and one for one in ids):
                raise UserError(f"{where}: {key}", "something else than ids", "a list of case ids")
            _enter(where, fold, ((("", case_id), side) for case_id in ids))
        folds[str(number)] = fold
    return folds


def _csv_folds(path: Path, text: str) -> dict[str, dict[ListedKey, str]]:
    lines = text.replace("\r\n", "\n").split("\n")
    delimiter = max(",;\t", key=lines[0].count)
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UserError(path, f"no readable table ({error})", EXPECTED) from None
    columns = [name.strip().lower() for name in rows[0]]
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown or not {"case_id", "split"} <= set(columns) or len(set(columns)) < len(columns):
        raise UserError(f"{path}, row 1", f"columns {columns}", f"some of {', '.join(COLUMNS)}, "
                        "case_id and split among them")  # fmt: skip
    folds: dict[int, dict[ListedKey, str]] = {}
    for number, cells in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{path}, row {number}"
        if len(cells) != len(columns):
            raise UserError(where, f"{len(cells)} cells", f"{len(columns)}, as the first line")
        said = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        if not said["case_id"]:
            raise UserError(where, "no case_id", "a case in each line")
        if said["split"] not in LISTED_SIDES:
            raise UserError(
                f"{where}: split", repr(said["split"]), f"one of {', '.join(LISTED_SIDES)}"
            )
        fold = said.get("fold", "0")
        if not fold.isdecimal():
            raise UserError(f"{where}: fold", repr(fold), "a whole number")
        key = (said.get("dataset", ""), said["case_id"])
        _enter(where, folds.setdefault(int(fold), {}), [(key, said["split"])])
    if not folds:
        raise UserError(path, "no line", "a line a case")
    return {str(number): fold for number, fold in sorted(folds.items())}


def _enter(
    where: str, fold: dict[ListedKey, str], entries: Iterable[tuple[ListedKey, str]]
) -> None:
    for key, side in entries:
        if key in fold:
            found = f"case {_told(key)} a second time ({fold[key]}, then {side})"
            raise UserError(where, found, "each case once in a fold", "mend the lists")
        fold[key] = side


def _told(key: ListedKey) -> str:
    return " ".join(part for part in key if part)


def _kind(content: object) -> str:
    names = {dict: "mapping", list: "list without folds", str: "text", type(None): "null"}
    return names.get(type(content), type(content).__name__)

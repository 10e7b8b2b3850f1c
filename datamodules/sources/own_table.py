"""The CSV table of a user's own data set: patients, subgroups and pixel spacing."""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from contract.arrays import Spacing
from contract.errors import DataError

NO_STRATUM = "all"
EMPTY_WORDS = ("nan", "na", "n/a", "#n/a", "none", "null", "<na>", "nat", "unknown", "-", "?")
"""What programs write for an empty cell; such a patient is not one patient of that name."""
NO_WORDS_IN = ("patient_id", "spacing_mm", "spacing_row", "spacing_col")
"""The columns in which these words mean nothing; a finding may well be ``none``."""


@dataclass(frozen=True)
class CaseEntry:
    """What a table tells of a case.

    Attributes:
        patient: the patient's id, or None where the cell is empty.
        stratum: the group by which splits are stratified.
        attributes: all other columns whose cell is not empty.
        spacing: mm from one pixel to the next, down and along, or None.
    """

    patient: str | None = None
    stratum: str = NO_STRATUM
    attributes: dict[str, str] = field(default_factory=dict)
    spacing: Spacing | None = None


def read_case_table(path: Path) -> dict[str, CaseEntry]:
    """Return the rows by case id.

    The first line names the columns; ``,``, ``;`` or a tab separates them. Empty cells at a line's
    end are passed over. Read by ``csv``, since pandas fills up short rows and reads ids as numbers,
    where an error shall name the row.

    Raises:
        DataError: if the file is unreadable, has no ``case_id`` column, names a case twice or
            states an impossible spacing.
    """
    lines = _lines(path)
    columns = [name.strip().lower() for name in _without_tail(lines[0][1], 0)] if lines else []
    if "case_id" not in columns or len(set(columns)) < len(columns):
        raise DataError(path, f"columns {columns}", "case_id among them, each name once")
    rows: dict[str, CaseEntry] = {}
    numbers: dict[str, int] = {}
    for number, raw in lines[1:]:
        if not any(cell.strip() for cell in raw):
            continue
        where = f"{path}, line {number}"
        cells = _without_tail(raw, len(columns))
        if len(cells) != len(columns):
            raise DataError(where, f"{len(cells)} cells", f"{len(columns)}, as the first line")
        found = {k: v.strip() for k, v in zip(columns, cells, strict=True) if v.strip()}
        case_id = found.pop("case_id", "")
        if not case_id:
            raise DataError(where, "no case_id", "one in each line", "complete or remove the line")
        if case_id in rows:
            raise DataError(
                where,
                f"case_id {case_id!r}, as in line {numbers[case_id]}",
                "each case once",
                "remove one of both lines",
            )
        rows[case_id], numbers[case_id] = _row(where, found), number
    return rows


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return the cells of each record with the number of its first line."""
    try:
        content = path.read_bytes()
        utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if utf_16 else "utf-8-sig")
    except OSError as error:
        raise DataError(path, f"no readable table ({error.strerror})", "a CSV file") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}",
            f"bytes that are no UTF-8 ({content[error.start : error.start + 4]!r})",
            "a CSV file in UTF-8",
            "save it anew; Excel calls the format 'CSV UTF-8'",
        ) from None
    head = text.split("\n", 1)[0]
    # Not splitlines, for which U+2028 and its like end a line.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    found, number = [], 1
    try:
        for cells in reader:
            found.append((number, cells))
            number = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {number}", f"no readable table ({error})", "a CSV file in UTF-8"
        ) from None
    return found


def _without_tail(cells: list[str], least: int) -> list[str]:
    """Return cells without the empty ones that trailing separators leave beyond so many."""
    end = len(cells)
    while end > least and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def explain_ids(images: set[str], others: set[str], table: bool) -> str:
    """Return what to do about ids that differ from the images' by the way they are written.

    Args:
        images: the images' ids.
        others: the ids that should be the same.
        table: whether these are a table's, or those of mask files.

    Returns:
        empty where no known difference explains most of them.
    """
    missing, strange = images - others, others - images
    whose = "the table's ids" if table else "the masks' names"
    for told, mend, written in _WRITINGS:
        wanted = {written(case_id) for case_id in missing}
        if 2 * len(wanted & {written(case_id) for case_id in strange}) > len(strange):
            fix = mend if table else "mend mask_name, or rename the files"
            return f"{whose} {told}: {fix}"
    return ""


def _plain(case_id: str) -> str:
    return unicodedata.normalize("NFC", case_id).strip().casefold()


def _without_ending(case_id: str) -> str:
    return re.sub(r"(\.(png|jpe?g|tiff?|bmp|dcm|dicom|nii|gz|gif))+$", "", case_id, flags=re.I)


_WRITINGS: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    (
        "lost zeros before the number",
        "write them as the images' names have them (in Excel: a column of text)",
        lambda case_id: re.sub(r"\d+", lambda digits: str(int(digits[0])), case_id),
    ),
    (
        "are fractions",
        "write whole numbers, as the images' names have them",
        lambda case_id: re.sub(r"\.0+$", "", re.sub(r"^0+(?=\d)", "", case_id)),
    ),
    ("have endings", "leave the endings out", _without_ending),
    (
        "have folders before them",
        "leave the folders out",
        lambda case_id: _without_ending(re.split(r"[/\\]", case_id)[-1]),
    ),
    ("are written otherwise (case or letters)", "write them as the images' names", _plain),
    (
        "have other separators",
        "write them as the images' names have them",
        lambda case_id: re.sub(r"[\s_.-]+", " ", _plain(case_id)),
    ),
)
"""How ids are miswritten: what to say, what to do, and what makes both alike."""


def _row(where: str, found: dict[str, str]) -> CaseEntry:
    for column in NO_WORDS_IN:
        if found.get(column, "").lower() in EMPTY_WORDS:
            del found[column]
    spacing = _spacing(where, found)
    patient = found.pop("patient_id", None)
    stratum = found.pop("stratum", None) or found.get("subgroup", NO_STRATUM)
    return CaseEntry(patient, stratum, found, spacing)


def _spacing(where: str, found: dict[str, str]) -> Spacing | None:
    both = found.pop("spacing_mm", None)
    down, along = found.pop("spacing_row", both), found.pop("spacing_col", both)
    if down is None and along is None:
        return None
    try:
        sides = (float(down or ""), float(along or ""))
    except ValueError:
        sides = (math.nan, math.nan)
    if not all(0 < side < 1000 for side in sides):
        found_text = f"a spacing of {down} × {along}"
        raise DataError(where, found_text, "spacing_mm, or spacing_row and spacing_col, in mm")
    return sides

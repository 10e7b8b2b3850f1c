"""The CSV table of a user's own data set: patients, subgroups and pixel spacing."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path

from contract.arrays import Spacing
from contract.errors import DataError

NO_STRATUM = "all"


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

    The first line names the columns; ``,``, ``;`` or a tab separates them. Read by ``csv``, since
    pandas fills up short rows and reads ids as numbers, where an error shall name the row.

    Raises:
        DataError: if the file is unreadable, has no ``case_id`` column, names a case twice or
            states an impossible spacing.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        head = lines[0] if lines else ""
        numbered = list(enumerate(csv.reader(lines, delimiter=max(",;\t", key=head.count)), 1))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(path, f"no readable table ({error})", "a CSV file in UTF-8") from None
    columns = [name.strip().lower() for name in numbered[0][1]] if numbered else []
    if "case_id" not in columns or len(set(columns)) < len(columns):
        raise DataError(path, f"columns {columns}", "case_id among them, each name once")
    rows: dict[str, CaseEntry] = {}
    for number, cells in numbered[1:]:
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{path}, row {number}"
        if len(cells) != len(columns):
            raise DataError(where, f"{len(cells)} cells", f"{len(columns)}, as the first line")
        found = {k: v.strip() for k, v in zip(columns, cells, strict=True) if v.strip()}
        case_id = found.pop("case_id", "")
        if not case_id or case_id in rows:
            raise DataError(where, f"case_id {case_id!r}", "each case once")
        rows[case_id] = _row(where, found)
    return rows


def _row(where: str, found: dict[str, str]) -> CaseEntry:
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

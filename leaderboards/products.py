"""What a leaderboard's folder holds, so that a missing or torn file of it is noticed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from contract.cell_record import CellKey, CellRecord
from contract.files import digest_of, read_object, write_atomically

PRODUCTS = "products.json"
"""Written last: the digest of every other file, and the rows that they were made from."""


def rows_behind(cells: Iterable[CellRecord]) -> dict[str, str | None]:
    """Return the digest of each finished cell's rows, by ``system/protocol/seed``."""
    return {_name(cell.key): cell.rows_digest for cell in cells if cell.is_done}


def _name(key: CellKey) -> str:
    return "/".join(map(str, key))


def vouch(folder: Path, names: Iterable[str], cells: Iterable[CellRecord]) -> None:
    """Record what was written.

    Args:
        folder: the leaderboard's folder.
        names: the files in it, ``/`` between folders.
        cells: the cells that it shows.
    """
    content = {
        "files": {name: digest_of(folder / name) for name in sorted(names)},
        "rows": rows_behind(cells),
    }
    write_atomically(folder / PRODUCTS, json.dumps(content, indent=1))


def faults(folder: Path, cells: Mapping[CellKey, CellRecord | None]) -> list[str]:
    """Return in words what is missing or torn, or was made from other rows.

    Args:
        folder: the leaderboard's folder.
        cells: the record of each cell of the suite as it is composed today, None for one that is
            not done; cells of other names, such as of scored masks, are passed over.
    """
    content = read_object(folder / PRODUCTS, largest=1 << 26)
    files, behind = content.get("files"), content.get("rows")
    if not isinstance(files, dict) or not isinstance(behind, dict) or not files:
        return [f"{PRODUCTS} is missing or torn"]
    found = [f"{name} {said}" for name in files if (said := _fault(folder, name, files[name]))]
    rows = rows_behind(record for record in cells.values() if record is not None)
    known = {_name(key) for key in cells}
    if rows != {name: digest for name, digest in behind.items() if name in known}:
        found.append("the rows of its cells are others by now")
    return found


def _fault(folder: Path, name: str, digest: object) -> str:
    try:
        return "" if digest_of(folder / name) == digest else "is torn or was changed"
    except (OSError, ValueError):
        return "is missing or cannot be read"

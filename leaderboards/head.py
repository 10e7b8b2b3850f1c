"""The head of a leaderboard: the first systems of each protocol, for a page on something else."""

from __future__ import annotations

import pandas as pd

from contract.words import STRUCTURES
from leaderboards import wording
from leaderboards.markdown import FLOOR, PHANTOM_BANNER, Meta, table_columns
from leaderboards.statistics.comparisons import PRACTICALLY_EQUAL
from leaderboards.texts import escape, grid

_SHOWN = {
    "#": "#",
    "system": "system",
    "Dice [95 % CI]": "Dice [95 % interval]",
    "IoU": "IoU",
    "HD95 px": "HD95 px",
    "n": "films",
}
"""Columns of the leaderboard's tables, and what they are called here."""
_NEAR = "≈"


def ranked_lungs(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a leaderboard that tell of films' lungs and are ranked.

    Args:
        table: rows in ``contract.rows.LEADERBOARD_SCHEMA``.
    """
    lungs = (table["structure"] == STRUCTURES[0]) & (table["unit"] == "image")
    return table[lungs & table["rank"].notna()]


def head_of(table: pd.DataFrame, meta: Meta, most: int) -> str:
    """Return the first systems of each protocol and what must stand under them, in Markdown.

    Every value is written as the leaderboard's own page writes it. Protocols without a ranked row
    are left out, and nothing at all is returned where none has one; the floor is shown wherever it
    was measured.

    Args:
        table: rows in ``contract.rows.LEADERBOARD_SCHEMA``, as ``tables.build`` orders them.
        meta: what surrounds them; its protocols are shown, in its order.
        most: systems a protocol, the floor not counted where it is not among them.
    """
    ranked = ranked_lungs(table)
    shown = {
        title: rows[(rows["rank"].rank(method="first") <= most) | (rows["system"] == FLOOR)]
        for title, rows in (
            (title, ranked[ranked["protocol"] == name]) for name, title in meta.protocols.items()
        )
        if len(rows)
    }
    if not shown:
        return ""
    lines = [
        ["" if place else escape(title), *cells]
        for title, rows in shown.items()
        for place, cells in enumerate(_cells(rows, meta))
    ]
    parts = [PHANTOM_BANNER] if ranked["phantom"].any() else []
    parts.append(grid(("trained → tested", *_SHOWN.values()), lines, left=3))
    said = _notes(shown, meta)
    if any(_NEAR in line[1] for line in lines):
        said.append(f"{_NEAR} Less than {PRACTICALLY_EQUAL} below the first: practically equal.")
    return "\n\n".join([*parts, *([" ".join(said)] if said else [])])


def _cells(rows: pd.DataFrame, meta: Meta) -> list[tuple[str, ...]]:
    columns, _ = table_columns(rows, meta)
    return list(zip(*(columns[name] for name in _SHOWN), strict=True))


def _notes(shown: dict[str, pd.DataFrame], meta: Meta) -> list[str]:
    """What the leaderboard says under its tables, once where it is the same for all of them."""
    seeds = {title: " ".join(wording.one_seed(rows)) for title, rows in shown.items()}
    alike = len(set(seeds.values())) == 1
    said = [text if alike else f"{title}: {text}" for title, text in seeds.items() if text]
    systems = [name for rows in shown.values() for name in rows["system"]]
    reduced = any(rows["reduced"].any() for rows in shown.values())
    return [
        *(said[:1] if alike else said),
        *meta.chosen_in_sight(systems),
        *([wording.REDUCED] if reduced else []),
    ]

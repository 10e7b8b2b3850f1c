"""How one value of the leaderboard is written: numbers, ranks, epochs, and text made harmless."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from leaderboards.statistics.comparisons import PRACTICALLY_EQUAL


def escape(text: object) -> str:
    """Make any text harmless in a Markdown table: no markup, no HTML, one line."""
    line = " ".join(str(text).split())
    line = "".join(character for character in line if character.isprintable())
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        line = line.replace(character, entity)
    return re.sub(r"([\\`*\[\]|]|^[#+=~-])", r"\\\1", line)


def grid(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 2) -> str:
    """A Markdown table of cells that are escaped already; columns past ``left`` align right.

    Two lines, where pandas needs another package and pads a table of long footnotes to its widest.
    """
    rules = ["---" if place < left else "---:" for place in range(len(header))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rules, *rows))


def number(value: float, digits: int) -> str:
    """Fixed digits; a dash where undefined."""
    return "–" if pd.isna(value) else f"{value:.{digits}f}"


def mean_text(row: Mapping[str, Any], metric: str, digits: int) -> str:
    """A mean, and its own n where that is less than the row's."""
    cases = row[f"{metric}_n"]
    fewer = f" (n = {cases})" if 0 < cases < row["n_cases"] else ""
    return number(row[f"{metric}_mean"], digits) + fewer


def epoch_text(row: Mapping[str, Any]) -> str:
    """The epochs behind the tested weights, over seeds and folds; a dash where not known."""
    low, high = row["tested_epoch_min"], row["tested_epoch_max"]
    if pd.isna(low):
        return "–"
    return str(low) if low == high else f"{low}–{high}"


def count_of(count: int, most: int) -> str:
    """A count, and what it falls short of."""
    return str(count) if count == most else f"{count} of {most}"


def rank_text(row: Mapping[str, Any], best: float) -> str:
    """A rank, with ≈ where practically equal to the best mean; a dash outside the ranking."""
    if pd.isna(row["rank"]):
        return "–"
    near = row["rank"] > 1 and best - row["dice_mean"] < PRACTICALLY_EQUAL
    return f"{row['rank']} ≈" if near else str(row["rank"])

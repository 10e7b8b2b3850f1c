"""Writes the table of docs/lung_baseline.md from the rows of its trials.

    python docs/make_trials.py

Rows stand in leaderboards/measured/trials.parquet: Shenzhen's test films, lungs alone.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from marks import filled

HERE = Path(__file__).parent
PAGE = HERE / "lung_baseline.md"
ROWS = HERE.parent / "leaderboards" / "measured" / "trials.parquet"


def trials_table(rows: pd.DataFrame) -> str:
    """Return the means of each trial as a Markdown table, in the order of the rows.

    Args:
        rows: columns ``trial``, ``dice``, ``hausdorff95_px`` and ``assd_px``, a row for each film.
    """
    lines = [
        "| trial | films | Dice | median | HD95 (px) | ASSD (px) |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for trial, films in rows.groupby("trial", sort=False):
        means = films[["dice", "hausdorff95_px", "assd_px"]].mean()
        lines.append(
            f"| {trial} | {len(films)} | {means['dice']:.4f} | {films['dice'].median():.4f} "
            f"| {means['hausdorff95_px']:.1f} | {means['assd_px']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    told = filled(PAGE.read_text("utf-8"), "trials", trials_table(pd.read_parquet(ROWS)))
    PAGE.write_text(told, encoding="utf-8")

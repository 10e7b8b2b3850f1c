"""Writes the tables of docs/lung_baseline.md from the rows of its trials.

    python docs/make_trials.py
    python docs/make_trials.py --runs RUNS

Rows stand in leaderboards/measured: trials.parquet, Shenzhen's test films, and two_seeds.parquet,
those of m_to_s and s_to_m; lungs alone. The second form first takes the latter from two seeds
below RUNS and from their masks together, as ``predict`` and ``score`` made them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from marks import filled

from contract.cell_folder import CellFolder

HERE = Path(__file__).parent
PAGE = HERE / "lung_baseline.md"
BOARD = HERE.parent / "leaderboards" / "measured"
ROWS, TOGETHER = BOARD / "trials.parquet", BOARD / "two_seeds.parquet"
SUMMED = ["dice", "hausdorff95_px", "assd_px"]
SCORED = {
    "seed 0": ("lung_baseline", 0),
    "seed 1": ("lung_baseline", 1),
    "both together": ("lung_baseline_two_seeds", 0),
}
"""Cells of a protocol, by what the table calls them."""


def rows_together(runs: Path) -> pd.DataFrame:
    """Return each film's values of two seeds and of their masks together, of both protocols.

    Args:
        runs: a runs folder with these cells in its suite ``measured``.
    """
    parts = []
    for protocol, hospitals in (("m_to_s", "M→S"), ("s_to_m", "S→M")):
        for trial, (system, seed) in SCORED.items():
            folder = runs / "measured" / "cells" / system / protocol / f"seed-{seed}"
            films = CellFolder(folder).read_rows().to_pandas()
            films = films.query("reference == 'plain' and structure == 'lungs'")
            parts.append(films[["case_id", *SUMMED]].assign(trial=f"{hospitals}, {trial}"))
    return pd.concat(parts, ignore_index=True)


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
        means = films[SUMMED].mean()
        lines.append(
            f"| {trial} | {len(films)} | {means['dice']:.4f} | {films['dice'].median():.4f} "
            f"| {means['hausdorff95_px']:.1f} | {means['assd_px']:.2f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--runs", type=Path, help="a runs folder to take the two seeds from")
    runs = parser.parse_args(arguments).runs
    if runs is not None:
        rows_together(runs).to_parquet(TOGETHER, index=False)
    page = PAGE.read_text("utf-8")
    for name, rows in (("trials", ROWS), ("together", TOGETHER)):
        page = filled(page, name, trials_table(pd.read_parquet(rows)))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

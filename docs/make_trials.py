"""Writes the tables of docs/lung_baseline.md from the rows of its trials.

    python docs/make_trials.py
    python docs/make_trials.py --runs RUNS

Rows stand in leaderboards/measured: trials.parquet, Shenzhen's test films, and two_seeds.parquet,
those of m_to_s and s_to_m; lungs alone. What was aimed at stands beside the suite's own tables
and docs/quick.md. The second form first takes the latter from two seeds
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
QUICK = HERE / "quick.md"
BOARD = HERE.parent / "leaderboards" / "measured"
ROWS, TOGETHER = BOARD / "trials.parquet", BOARD / "two_seeds.parquet"
SUMMED = ["dice", "hausdorff95_px", "assd_px"]
SCORED = {
    "seed 0": ("lung_baseline", 0),
    "seed 1": ("lung_baseline", 1),
    "both together": ("lung_baseline_two_seeds", 0),
}
"""Cells of a protocol, by what the table calls them."""
AIMS = {"m_to_s": ("M→S", {"dice_mean": 0.950, "dice_mean_clean": 0.957}),
        "s_to_m": ("S→M", {"dice_mean": 0.964})}  # fmt: skip
NEARER, MINUTES = 0.20, 30
"""How much nearer than in ``unet``'s quick row surfaces were to be, and a cell's longest time."""


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


def aims_table() -> str:
    """Return what was aimed at and what was reached as a Markdown table."""
    board = pd.read_csv(BOARD / "leaderboard" / "leaderboard.csv").query("structure == 'lungs'")
    lines = ["| what | aim | reached | |", "|---|--:|--:|---|"]

    def line(what: str, aim: str, reached: str, met: bool) -> None:
        lines.append(f"| {what} | {aim} | {reached} | {'met' if met else 'missed'} |")

    for protocol, (hospitals, dices) in AIMS.items():
        rows = board[board["protocol"] == protocol].set_index("system")
        own, rival = rows.loc["lung_baseline"], rows.loc["nnunet_128"]
        for column, aim in dices.items():
            cases = "clean films" if column.endswith("clean") else f"{own['n_cases']} films"
            line(f"{hospitals}, mean Dice of {cases}", f"at least {aim:.3f}",
                 f"{own[column]:.4f}", own[column] >= aim)  # fmt: skip
        quick = _quick_row(protocol)
        for name, column in (("HD95", "hausdorff95_px_mean"), ("ASSD", "assd_px_mean")):
            before = float(quick[f"{name} px"])
            change = own[column] / before - 1
            line(f"{hospitals}, {name} beside `unet` of `quick`, {before:.2f} px",
                 f"{-NEARER:.0%}", f"{own[column]:.2f} px, {change:+.0%}",
                 change <= -NEARER)  # fmt: skip
        line(f"{hospitals}, mean Dice beside nnU-Net's pipeline, as many cores and minutes",
             f"above {rival['dice_mean']:.4f}", f"{own['dice_mean']:.4f}",
             own["dice_mean"] > rival["dice_mean"])  # fmt: skip
    cells = (BOARD / "cells" / "lung_baseline").glob("[ms]_to_[ms]/seed-*")
    minutes = [(CellFolder(cell).record.wall_s or 0) / 60 for cell in sorted(cells)]
    line("minutes a cell, on one of two cores", f"at most {MINUTES}",
         f"{min(minutes):.1f} to {max(minutes):.1f}", max(minutes) <= MINUTES)  # fmt: skip
    return "\n".join(lines)


def _quick_row(protocol: str) -> dict[str, str]:
    """Return the row of ``unet`` in a protocol's table of docs/quick.md, by its heads."""
    section = QUICK.read_text("utf-8").split(f"### Protocol {protocol}\n")[1]
    table = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    row = next(row for row in cells if row[1].startswith("unet "))
    return dict(zip(cells[0], row, strict=True))


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
    page = filled(page, "aims", aims_table())
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Writes leaderboards/measured/leaderboard and docs/measured.md from the rows that are committed.

    python docs/make_committed.py
    python docs/make_committed.py --runs RUNS --data-root DATA

The second first takes over what the suite ``measured`` has finished below RUNS: each cell's
config, record and rows, nothing else; and, of the films that they test, which reference masks the
audit doubts. Every number of the page is one of those.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from make_measured import Measured, page

from benchmark.planning.library import load_settings, load_suite
from contract.cell_folder import CellFolder, recorded_cells_of
from contract.cell_record import CellRecord
from datamodules.checks.audit import suspects
from datamodules.sources import open_source
from leaderboards.board import build_leaderboard

HERE = Path(__file__).parent
SUITE = "measured"
COMMITTED = HERE.parent / "leaderboards" / SUITE
DOUBTED = "suspects.csv"
KEPT = ("leaderboard.md", "leaderboard.csv", "leaderboard.html")
"""What is committed of a leaderboard; the others follow from the rows as well."""
ABOUT = """\
Every network but `lung_baseline` is a fraction of its paper's width, trained on small pictures for
a few epochs, most with the same learning rate, and each row says so: the order of such rows is
that of these small networks after so short a training, and **no** statement about the systems of
the papers. `lung_baseline` was made for this size and this time.

The films were copies, reduced and squashed to a square, so that distances are in pixels of that
grid. Wall times were taken while the machine did other work, and say little of it. Cells are added
as they are trained; those of the suite that were not, stand among the cells without a result."""


def take_over(runs: Path, root: Path, committed: Path = COMMITTED) -> int:
    """Copy what lies below a runs folder and is finished; return how many cells that was.

    Args:
        runs: the runs folder.
        root: the data root, whose reference masks are audited.
        committed: the folder to write.
    """
    done = [cell for cell in recorded_cells_of(runs / SUITE) if cell.record.is_done]
    for cell in done:
        place = CellFolder.of(committed, *cell.key)
        place.path.mkdir(parents=True, exist_ok=True)
        for mine, theirs in ((place.config, cell.config), (place.record_file, cell.record_file),
                             (place.rows_file, cell.rows_file)):  # fmt: skip
            shutil.copyfile(theirs, mine)
    tested = {name for cell in done for name in (cell.record.test_on or "").split("+")}
    doubted = suspects([open_source(name, root) for name in sorted(tested)], runs / "cache")
    with (committed / DOUBTED).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("dataset", "case_id"), *sorted(doubted)])
    return len(done)


def derive(folder: Path, committed: Path = COMMITTED) -> Measured:
    """Build the leaderboard of committed rows.

    Args:
        folder: an empty folder to build it in.
        committed: the folder of cells.

    Returns:
        what was measured; its leaderboard lies in ``folder / SUITE / "leaderboard"``.
    """
    shutil.copytree(committed / "cells", folder / SUITE / "cells")
    suite = load_suite(SUITE)
    planned = [
        CellRecord(system, protocol, seed)
        for system in suite.systems for protocol in suite.protocols for seed in suite.seeds
    ]  # fmt: skip
    titles = {name: load_settings("protocols", name)["title"] for name in suite.protocols}
    with (committed / DOUBTED).open(encoding="utf-8", newline="") as file:
        doubted = {(dataset, case) for dataset, case in list(csv.reader(file))[1:]}
    build_leaderboard(
        folder / SUITE, protocols=titles, suspects=doubted, planned=planned, gallery=False
    )
    measured = Measured(folder / SUITE)
    found = {cell.key for cell in measured.cells}
    measured.cells += [record for record in planned if record.key not in found]
    return measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the leaderboard and its page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, help="take over what was finished below this folder")
    parser.add_argument("--data-root", type=Path, help="the data that it was trained on")
    given = parser.parse_args(arguments)
    if given.runs is not None:
        if given.data_root is None:
            sys.exit("--runs needs --data-root, whose reference masks are audited")
        print(f"{take_over(given.runs, given.data_root)} cells taken over")
    with tempfile.TemporaryDirectory() as folder:
        suite = derive(Path(folder))
        board = COMMITTED / "leaderboard"
        board.mkdir(exist_ok=True)
        for name in KEPT:
            shutil.copyfile(Path(folder) / SUITE / "leaderboard" / name, board / name)
            print(board / name)
    (HERE / f"{SUITE}.md").write_text(page(suite, ABOUT, Path(__file__).name), "utf-8")
    print(HERE / f"{SUITE}.md")


if __name__ == "__main__":
    main()

"""Writes leaderboards and pages of the suites whose rows are committed: ``measured`` and others.

    python docs/make_committed.py
    python docs/make_committed.py --runs RUNS --data-root DATA

fills ``leaderboards/SUITE/leaderboard`` and ``docs/SUITE.md``. The second first takes over what
such a suite has finished below RUNS: each cell's config, record and rows, nothing else; and, of
the films that they test, which reference masks the audit doubts. Every number of a page is one of
those.
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
from benchmark.planning.pairs import pair_names
from contract.cell_folder import CellFolder, recorded_cells_of
from contract.cell_record import CellRecord
from datamodules.checks.audit import suspects
from datamodules.sources import open_source
from leaderboards.board import build_leaderboard

HERE = Path(__file__).parent
BOARDS = HERE.parent / "leaderboards"
DOUBTED = "suspects.csv"
KEPT = ("leaderboard.md", "leaderboard.csv", "leaderboard.html")
"""What is committed of a leaderboard; the others follow from the rows as well."""
FILMS = """\
The films were copies, reduced and squashed to a square, so that distances are in pixels of that
grid. Wall times were taken while the machine did other work, and say little of it."""
ABOUT = {
    "measured": f"""\
Every network but `lung_baseline` and nnU-Net's is a fraction of its paper's width, trained on small
pictures for a few epochs, most with the same learning rate, and each row says so: the order of such
rows is that of these small networks after so short a training, and **no** statement about the
systems of the papers. `lung_baseline` was made for this size and this time.

`nnunet_128` is nnU-Net's own pipeline, scored as another tool's masks, on films of 128 × 128
pixels, of which more batches fit into the time than of larger ones. It trained for as long as a
cell of `lung_baseline` takes in all, on one core as well (`docs/make_nnunet.py`); it is made for a
GPU and a thousand epochs.

{FILMS} Cells are added as they are trained; those of the suite that were not, stand among the
cells without a result.""",
    "pairings_small": f"""\
Each generator alone and against five critics, all else equal, as in `pairings`; but three of the
generators are a fraction of their width, and all train on small pictures for a few epochs, in half
of which a critic plays. What a critic adds here need not be what it adds to a network of full size
after a long training.

{FILMS} Cells are added as they are trained; those of the suite that were not, stand among the
cells without a result.""",
}
"""What the numbers of a page cannot say, by suite."""


def take_over(suite: str, runs: Path, root: Path, committed: Path) -> int:
    """Copy what lies below a runs folder and is finished; return how many cells that was.

    Args:
        suite: the suite's name.
        runs: the runs folder.
        root: the data root, whose reference masks are audited.
        committed: the folder to write.
    """
    done = [cell for cell in recorded_cells_of(runs / suite) if cell.record.is_done]
    for cell in done:
        place = CellFolder.of(committed, *cell.key)
        place.path.mkdir(parents=True, exist_ok=True)
        for mine, theirs in ((place.config, cell.config), (place.record_file, cell.record_file),
                             (place.rows_file, cell.rows_file)):  # fmt: skip
            if theirs.is_file():  # masks from elsewhere have no config
                shutil.copyfile(theirs, mine)
        if cell.record.external is not None:  # where they lay on this machine is nobody's business
            place.update(external={**cell.record.external, "folder": "masks"})
    tested = {name for cell in done for name in (cell.record.test_on or "").split("+")}
    doubted = suspects([open_source(name, root) for name in sorted(tested)], runs / "cache")
    with (committed / DOUBTED).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("dataset", "case_id"), *sorted(doubted)])
    return len(done)


def derive(name: str, folder: Path) -> Measured:
    """Build the leaderboard of committed rows.

    Args:
        name: the suite's name.
        folder: an empty folder to build it in.

    Returns:
        what was measured; its leaderboard lies in ``folder / name / "leaderboard"``.
    """
    committed = BOARDS / name
    shutil.copytree(committed / "cells", folder / name / "cells")
    suite = load_suite(name)
    planned = [
        CellRecord(system, protocol, seed)
        for system in (*suite.systems, *sorted(pair_names(suite.generators, suite.critics)))
        for protocol in suite.protocols for seed in suite.seeds
    ]  # fmt: skip
    titles = {name: load_settings("protocols", name)["title"] for name in suite.protocols}
    with (committed / DOUBTED).open(encoding="utf-8", newline="") as file:
        doubted = {(dataset, case) for dataset, case in list(csv.reader(file))[1:]}
    build_leaderboard(
        folder / name, protocols=titles, suspects=doubted, planned=planned, gallery=False
    )
    measured = Measured(folder / name)
    found = {cell.key for cell in measured.cells}
    measured.cells += [record for record in planned if record.key not in found]
    return measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the leaderboard and its page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, help="take over what was finished below this folder")
    parser.add_argument("--data-root", type=Path, help="the data that it was trained on")
    given = parser.parse_args(arguments)
    if given.runs is not None and given.data_root is None:
        sys.exit("--runs needs --data-root, whose reference masks are audited")
    for name, about in ABOUT.items():
        committed = BOARDS / name
        if given.runs is not None and (given.runs / name).is_dir():
            committed.mkdir(exist_ok=True)
            count = take_over(name, given.runs, given.data_root, committed)
            print(f"{name}: {count} cells taken over")
        if not (committed / "cells").is_dir():
            print(f"{name}: no cell is committed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            suite = derive(name, Path(folder))
            board = committed / "leaderboard"
            board.mkdir(exist_ok=True)
            for kept in KEPT:
                shutil.copyfile(Path(folder) / name / "leaderboard" / kept, board / kept)
                print(board / kept)
        (HERE / f"{name}.md").write_text(page(suite, about, Path(__file__).name), "utf-8")
        print(HERE / f"{name}.md")


if __name__ == "__main__":
    main()

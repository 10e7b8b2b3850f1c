"""The command ``score``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark.commands.arguments import (
    Commands,
    add_command,
    change_arguments,
    folder_arguments,
    planned_as_run,
    whole_number,
)

FILE_NAMES_HELP = """A mask file is named by its case id (CHNCXR_0001_0.png, CHNCXR_0001_0_mask.png,
CHNCXR_0001_0.nii.gz), one for each test case of the protocol, on its film's own grid or on the
scored one (the same, its long side at most 1024 pixels). Binary masks are the lungs; label masks
need --labels, or nnU-Net's dataset.json beside them. A CT scan's mask is a volume, named by its
SeriesInstanceUID. More in docs/score.md."""


def add(commands: Commands) -> None:
    """Add ``score``."""
    text = "score masks that any tool predicted; they join the suite's leaderboard"
    home = "the one below --runs with cells of the protocol, or the first that holds it"
    folders = folder_arguments(None, home, "that of the suite's cells, or phantoms")
    parser = add_command(commands, "score", text, _score, folders, change_arguments())
    parser.epilog = FILE_NAMES_HELP
    parser.add_argument("--masks", type=Path, required=True, help="the folder of masks")
    parser.add_argument("--system", required=True, metavar="NAME", help="its name in the tables")
    parser.add_argument("--protocol", required=True, metavar="P", help="whose test cases they are")
    parser.add_argument(
        "--seed", type=whole_number(0), default=0, help="tells several trainings apart, from 0 [0]"
    )
    parser.add_argument(
        "--labels", nargs="+", action="extend", default=[], metavar="STRUCTURE=VALUE",
        help="e.g. left_lung=1 right_lung=2 heart=3,4 background=5 [binary masks of the lungs]",
    )  # fmt: skip
    parser.add_argument(
        "--resize", action="store_true",
        help="stretch masks of other sizes onto their films: by area when shrinking, bilinearly "
        "when growing, pixels at least half covered",
    )  # fmt: skip
    parser.add_argument("--tool", default="", help="what predicted them, in words for the tables")
    parser.add_argument(
        "--train-on", metavar="SETS",
        help="the data sets that it was trained on, as montgomery+jsrt [not known]",
    )  # fmt: skip


def _score(given: argparse.Namespace, extra: Sequence[str]) -> int:
    from benchmark.foreign.external import Predictions, score
    from benchmark.progress import say
    from benchmark.running.rebuild import home_of, rebuild
    from benchmark.running.run import build_suite_leaderboard
    from contract.cell_folder import CellFolder

    as_they_lie = given.suite is None and not given.changes
    if given.suite is None:
        given.suite = home_of(given.protocol, given.runs)
        say(f"suite {given.suite}; --suite names another")
    plan, root = planned_as_run(given)
    masks = Predictions(
        given.masks, given.system, given.protocol, given.seed, tuple(given.labels), given.resize,
        given.tool, given.train_on,
    )  # fmt: skip
    scored = score(plan, masks, given.runs / "cache")
    _print_scores(CellFolder.of(plan.folder, given.system, given.protocol, given.seed).path)
    page = plan.folder / "leaderboard" / "leaderboard.html"
    if as_they_lie:  # the suite's other cells may have been run with changes
        rebuild(plan.folder, given.runs)
    elif scored or not page.is_file():
        build_suite_leaderboard(plan, root, given.runs)
    say(f"leaderboard: {page}")
    return 0


def _print_scores(cell: Path) -> None:
    """Print the mean scores of each structure, with the number of cases that each mean is of."""
    import pandas as pd
    from rich.table import Table

    from benchmark.terminal import console

    rows = pd.read_parquet(cell / "cases.parquet")
    table = Table(title=f"scores of {cell.parent.parent.name}", title_justify="left")
    columns = ("unit", "structure", "n", "Dice", "IoU", "surface Dice", "one mask empty")
    for column in columns:
        table.add_column(column, justify="left" if column in columns[:2] else "right")
    for (unit, structure), own in rows.groupby(["unit", "structure"], sort=False):
        failed = int((own["empty_prediction"] != own["empty_reference"]).sum())
        means = [
            f"{own[metric].mean():.4f}" if own[metric].notna().any() else "–"
            for metric in ("dice", "iou", "nsd")
        ]
        table.add_row(str(unit), str(structure), str(len(own)), *means, str(failed))
    console.print(table)

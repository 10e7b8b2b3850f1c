"""The commands ``plan``, ``status``, ``run`` and ``leaderboard``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from typing import Literal

from benchmark.commands import slurm
from benchmark.commands.arguments import (
    Commands,
    add_command,
    changes,
    folder_arguments,
    planned,
    planned_as_run,
    selected,
    suite_arguments,
    whole_number,
)
from benchmark.launchers.watch import Limits, seconds
from contract.errors import UserError
from contract.files import folder_to_write


def add(commands: Commands) -> None:
    """Add the commands that work on a whole suite."""
    suite = suite_arguments()
    as_run = suite_arguments(folder_arguments(or_root="that of the cells, else phantoms"))
    for name, text, arguments in (
        ("plan", "list the cells, their states and what each trains and tests on; run nothing",
         suite),
        ("status", "list the cells' states with reasons and logs", as_run),
    ):  # fmt: skip
        parser = add_command(commands, name, text, _list_cells, arguments)
        parser.add_argument("--json", action="store_true", help="print a list of objects")
        if name == "plan":
            parser.add_argument(
                "--cost", action="store_true",
                help="parameters, operations, memory and hours of each cell, before it is run",
            )  # fmt: skip
    text = "run what is not done, then build the leaderboard"
    run = add_command(commands, "run", text, _run, suite)
    run.add_argument(
        "--launcher", choices=("auto", "local", "slurm"), default="auto",
        help="auto: SLURM where sbatch and sinfo answer and this is no job, else here [auto]",
    )  # fmt: skip
    slurm.add_site(run)
    run.add_argument(
        "--devices", type=whole_number(1), metavar="N",
        help="GPUs a cell (on SLURM: on each node), or processes a cell where there are none "
        "[1, or the site's gpus_per_node]",
    )  # fmt: skip
    run.add_argument(
        "--cells-per-gpu", type=_cells, metavar="N",
        help="cells that share a GPU (or a group of --devices GPUs); they must fit its memory; "
        "auto: as many as fit by their estimated cost, three at most [1]",
    )  # fmt: skip
    run.add_argument(
        "--jobs", type=whole_number(1), metavar="N",
        help="cells at a time [one a GPU; without GPUs one a CPU core, four at most]",
    )  # fmt: skip
    run.add_argument(
        "--cell-timeout", type=seconds, metavar="TIME", default=Limits.cell_s,
        help="give a cell up that runs longer than 90s, 30m, 2h or 1d in one go; the next run goes "
        "on from its last checkpoint [none]",
    )  # fmt: skip
    run.add_argument(
        "--silence", type=seconds, metavar="TIME", default=Limits.silence_s,
        help="give a cell up that hangs: neither its log nor its progress changed for so long "
        "(or 'none') [30m]",
    )  # fmt: skip
    text = "rebuild the tables from the rows; with --suite, of the cells that are not outdated"
    one = folder_arguments(None, "every suite below --runs", "that of the cells")
    board = add_command(commands, "leaderboard", text, _rebuild, suite_arguments(one))
    board.add_argument("--no-gallery", action="store_true", help="a page without any film")


def _list_cells(given: argparse.Namespace, extra: Sequence[str]) -> int:
    from benchmark.launchers.slurm_queue import tickets_of
    from benchmark.running.report import as_objects, print_cells, print_costs

    # What is said on the way is no JSON.
    with redirect_stdout(sys.stderr) if given.json else nullcontext():
        plan, _ = planned_as_run(given) if given.command == "status" else planned(given)
    cells = selected(given).of(plan)
    tickets, remark = tickets_of(plan.folder)
    if remark:
        print(f"lungbench: {remark}", file=sys.stderr)
    found = {}
    if getattr(given, "cost", False):
        from benchmark.planning.cost import costs

        found = costs(cells)
    title = f"suite {plan.suite.name}: {plan.suite.title}"
    if given.json:
        objects = as_objects(cells, tickets)
        for cell, row in zip(cells, objects, strict=True):
            row |= found[cell.name].as_columns() if cell.name in found else {}
        print(json.dumps(objects, indent=1))
    elif found:
        print_costs(title, cells, found)
    else:
        print_cells(title, cells, given.command == "status", tickets)
    return 2 if plan.left_out else 0


def _cells(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    try:
        return whole_number(1)(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor auto") from None


def _run(given: argparse.Namespace, extra: Sequence[str]) -> int:
    folder_to_write("--runs", given.runs)
    from benchmark.gpus import visible_gpus
    from benchmark.launchers.slurm import is_available
    from benchmark.running.run import run

    if given.launcher == "slurm" or (given.launcher == "auto" and is_available()):
        from benchmark.running.submit import submit_suite

        for flag in ("--cells-per-gpu", "--cell-timeout"):
            if getattr(given, flag[2:].replace("-", "_")) is not None:
                todo = "leave it out; time, nodes and gpus_per_node stand in the site profile"
                raise UserError(flag, "a limit of the local launcher", "--launcher local", todo)
        return submit_suite(slurm.request(given), jobs=given.jobs)
    if given.profile == "gpu" and not visible_gpus():
        expected = "an NVIDIA GPU; its half precision is slow on a CPU, and rows carry its name"
        raise UserError("--profile gpu", "no GPU that may be used", expected, "leave it out here")
    return run(
        given.suite, given.runs, given.data_root, jobs=given.jobs, devices=given.devices or 1,
        cells_per_gpu=given.cells_per_gpu, limits=Limits(given.cell_timeout, given.silence),
        changes=changes(given), extra_systems=given.extra_systems, selection=selected(given),
        keep_going=given.keep_going,
    )  # fmt: skip


def _rebuild(given: argparse.Namespace, extra: Sequence[str]) -> int:
    from benchmark.progress import say
    from benchmark.running.rebuild import rebuild, suites_below
    from benchmark.running.run import build_suite_leaderboard

    gallery = not given.no_gallery
    if given.suite is None:
        for named in ("data_root", "changes", "extra_systems", "systems", "protocols", "seeds"):
            if getattr(given, named):
                raise UserError("leaderboard", "arguments of one suite", "--suite", "name it")
        faulty: list[str] = []

        def tell(text: str) -> None:
            faulty.append(text)
            print(f"lungbench: {text}", file=sys.stderr)

        for name in suites_below(given.runs):
            say(f"suite {name}: its rows as they lie; --suite {name} looks for outdated cells")
            try:
                folder = rebuild(given.runs / name, given.runs, gallery, tell)
            except UserError as error:  # the other suites' tables do not depend on it
                tell(str(error))
            else:
                say(f"leaderboard: {folder / 'leaderboard.html'}")
        return 2 if faulty else 0
    as_run = given.data_root is None
    plan, root = planned_as_run(given)
    states = {cell.state()[0] for cell in plan.cells}
    if as_run and "stale" in states and "done" not in states:
        todo = "name the --data-root, --set and --with of `run`, or leave --suite out"
        raise UserError(plan.folder, "outdated cells only", "a finished one", todo)
    folder = build_suite_leaderboard(plan, root, given.runs, gallery=gallery)
    say(f"leaderboard: {folder / 'leaderboard.html'}")
    return 0

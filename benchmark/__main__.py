"""The command line: ``python -m benchmark <command>``, installed as ``lungbench`` too."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.data_commands import add_data_commands, run_data_command
from contract.errors import UserError

EPILOG = """examples:
  lungbench plan --suite smoke                         what would run, on which cases
  lungbench run --suite smoke                          phantoms, minutes on two cores
  lungbench run --suite quick --data-root /data        real data at a small size
  lungbench run --suite smoke --with my_network.yaml   your own network joins
  lungbench run --suite smoke --set trainer.max_epochs=2
  lungbench fit --config runs/smoke/cells/unet/m_to_s/seed-0/config.yaml --out again
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="lungbench",
        description="Published lung-segmentation systems under the same cross-dataset protocols.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def command(name: str, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=parents)

    suite = argparse.ArgumentParser(add_help=False)
    overrides = argparse.ArgumentParser(add_help=False)
    suite.add_argument("--suite", default="smoke", help="a suite's name or YAML file [smoke]")
    suite.add_argument("--runs", type=Path, default=Path("runs"), help="the runs folder [runs]")
    suite.add_argument(
        "--data-root",
        type=Path,
        help="folder that holds MontgomerySet/, ChinaSet_AllFiles/ … [phantoms, synthetic films]",
    )
    overrides.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="changes",
        help="change every system, e.g. trainer.max_epochs=3 preprocessing.size=128",
    )  # fmt: skip
    for kind, of in (("systems", str), ("protocols", str), ("seeds", int)):
        suite.add_argument(
            f"--{kind}", nargs="+", action="extend", default=[], type=of, metavar="NAME",
            help=f"only these {kind} of the suite [all]",
        )  # fmt: skip
    overrides.add_argument(
        "--with", nargs="+", action="extend", default=[], metavar="FILE", dest="extra_systems",
        help="YAML files of systems that join the suite; they name code to run, so trust them",
    )  # fmt: skip
    for name, text in (
        ("plan", "list the cells, their states and what each trains and tests on; run nothing"),
        ("status", "list the cells' states with reasons and logs"),
    ):
        parsed = command(name, text, suite, overrides)
        parsed.add_argument("--json", action="store_true", help="print a list of objects")
    run = command("run", "run what is not done, then build the leaderboard", suite, overrides)
    run.add_argument("--launcher", choices=("auto", "local"), default="auto", help="where [auto]")
    run.add_argument("--devices", type=int, default=1, help="processes (GPUs) a cell [1]")
    run.add_argument("--jobs", type=int, help="cells at a time [what the machine carries]")
    for name, text in (
        ("fit", "train (or resume) and test one cell from its config.yaml"),
        ("test", "test a checkpoint with a cell's config.yaml"),
    ):
        parsed = command(name, text + "; further --trainer.… and --model.… arguments are passed on")
        parsed.add_argument("--config", type=Path, required=True, help="a cell's config.yaml")
        parsed.add_argument("--out", type=Path, required=True, help="the folder to write")
        parsed.add_argument(
            "--checkpoint-every", type=float, default=30.0, metavar="S",
            help="seconds between two checkpoints [30]",
        )  # fmt: skip
        if name == "test":
            parsed.add_argument("--checkpoint", type=Path, required=True, help="weights (.ckpt)")
    command("perf", "time the hot paths on phantoms, each beside a common way")
    command("leaderboard", "rebuild a suite's tables from its rows", suite, overrides)
    data = command("data", "look after data sets").add_subparsers(
        dest="data_command", required=True, metavar="what"
    )
    add_data_commands(data)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 well, 1 failed cells, 2 wrong use or data."""
    parser = build_parser()
    given, extra = parser.parse_known_args(arguments)
    if extra and given.command not in ("fit", "test"):
        parser.error(f"unknown arguments: {' '.join(extra)}; see lungbench {given.command} --help")
    try:
        return _dispatch(given, extra)
    except UserError as error:
        print(f"lungbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lungbench: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _dispatch(given: argparse.Namespace, extra: list[str]) -> int:
    if given.command in ("fit", "test"):
        from benchmark.fit import fit

        checkpoint = getattr(given, "checkpoint", None)
        fit(given.config, given.out, extra, checkpoint, given.checkpoint_every)
        return 0
    if given.command == "perf":
        from benchmark.perf import perf

        perf()
        return 0
    if given.command == "data":
        return run_data_command(given)
    from benchmark.library import parse_overrides

    changes = parse_overrides(given.changes)
    from benchmark.plan import Selection, make_plan

    selection = Selection(given.systems, given.protocols, given.seeds)
    if given.command == "run":
        from benchmark.run import run

        return run(
            given.suite, given.runs, given.data_root, jobs=given.jobs, devices=given.devices,
            changes=changes, extra_systems=given.extra_systems, selection=selection,
        )  # fmt: skip
    from benchmark.progress import say, shown
    from benchmark.report import as_objects, print_cells
    from benchmark.run import build_suite_leaderboard, data_root

    root = data_root(given.data_root, given.runs)
    plan = make_plan(given.suite, given.runs, root, changes, given.extra_systems, shown)
    if given.command == "leaderboard":
        say(f"leaderboard: {build_suite_leaderboard(plan, root, given.runs) / 'leaderboard.html'}")
    elif given.json:
        print(json.dumps(as_objects(selection.of(plan)), indent=1))
    else:
        title = f"suite {plan.suite.name}: {plan.suite.title}"
        print_cells(title, selection.of(plan), logs=given.command == "status")
    return 0


if __name__ == "__main__":
    sys.exit(main())

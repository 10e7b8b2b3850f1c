"""Arguments that several commands share, and how a command joins the parser."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from contract.names import escaped, odd_signs
from contract.yaml_files import read_yaml

if TYPE_CHECKING:
    from benchmark.planning.plan import Plan, Selection

PROFILES = Path(__file__).parents[1] / "profiles"
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""argparse's sub-parsers, which have no public name."""
Act = Callable[[argparse.Namespace, Sequence[str]], int]
"""What a command does: parsed arguments and unknown ones in, the exit code out."""


def add_command(
    commands: Commands,
    name: str,
    text: str,
    act: Act,
    *parents: argparse.ArgumentParser,
    passes_on: bool = False,
) -> argparse.ArgumentParser:
    """Add a command to the parser.

    Args:
        commands: the parser's commands.
        name: the command.
        text: what it does, in a sentence.
        act: runs it.
        parents: argument groups that it shares with others.
        passes_on: whether ``act`` takes arguments that the parser does not know.
    """
    parser = commands.add_parser(name, help=text, description=text, parents=parents)
    parser.set_defaults(act=act, passes_on=passes_on)
    return parser


def whole_number(least: int) -> Callable[[str], int]:
    """Return what reads a whole number of at least ``least`` for argparse."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least}")
        return int(text)

    return read


def plain_path(text: str) -> Path:
    """Return a folder's path for argparse; it gets into configs, scripts and messages.

    Raises:
        argparse.ArgumentTypeError: if it holds signs that are no text, such as a line break.
    """
    if odd_signs(text):
        raise argparse.ArgumentTypeError(
            f"found {escaped(text)}, with line breaks or signs that are no text; expected a path "
            "that can be printed. To do: rename the folder"
        )
    return Path(text)


PHANTOMS = "phantoms, synthetic films"


def folder_arguments(
    suite: str | None = "smoke", or_else: str = "smoke", or_root: str = PHANTOMS
) -> argparse.ArgumentParser:
    """``--suite``, ``--runs`` and ``--data-root``.

    Args:
        suite: the suite that is meant where none is named.
        or_else: the same in words.
        or_root: in words, the data root where none is named.
    """
    group = argparse.ArgumentParser(add_help=False)
    group.add_argument("--suite", default=suite, help=f"a suite's name or YAML file [{or_else}]")
    group.add_argument(
        "--runs", type=plain_path, default=Path("runs"), help="the runs folder [runs]"
    )
    group.add_argument(
        "--data-root",
        type=plain_path,
        help=f"folder that holds MontgomerySet/, ChinaSet_AllFiles/ … [{or_root}]",
    )
    return group


def profiles() -> list[str]:
    """Return the names of the profiles."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def change_arguments() -> argparse.ArgumentParser:
    """What is changed in a suite; the same changes must be named whenever it is looked at."""
    group = argparse.ArgumentParser(add_help=False)
    group.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="changes",
        help="change every system, e.g. trainer.max_epochs=3 preprocessing.size=128",
    )  # fmt: skip
    group.add_argument(
        "--profile", choices=profiles(), metavar="NAME",
        help=f"a named set of --set values for a kind of machine ({', '.join(profiles())}); rows "
        "are marked with each",
    )  # fmt: skip
    group.add_argument(
        "--with", nargs="+", action="extend", default=[], metavar="FILE", dest="extra_systems",
        help="YAML files of systems that join the suite; they name code to run, so trust them",
    )  # fmt: skip
    group.add_argument(
        "--keep-going", action="store_true",
        help="leave systems with a faulty configuration out, instead of stopping before any starts",
    )  # fmt: skip
    return group


def suite_arguments(folders: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """The folders, which part of the suite is meant, and what is changed in it."""
    parents = [folders or folder_arguments(), change_arguments()]
    group = argparse.ArgumentParser(add_help=False, parents=parents)
    for kind, of in (("systems", str), ("protocols", str), ("seeds", int)):
        group.add_argument(
            f"--{kind}", nargs="+", action="extend", default=[], type=of, metavar="NAME",
            help=f"only these {kind} of the suite [all]",
        )  # fmt: skip
    return group


def selected(given: argparse.Namespace) -> Selection:
    """Return the part of the suite that the arguments ask for."""
    from benchmark.planning.plan import Selection

    return Selection(given.systems, given.protocols, given.seeds)


def changes(given: argparse.Namespace) -> Mapping[str, object]:
    """Return the changes that ``--profile`` and ``--set`` ask for; the latter wins."""
    from benchmark.planning.library import parse_overrides

    stated = parse_overrides(given.changes)
    if given.profile is None:
        return stated
    kept = {key.partition("?")[0] for key in stated}
    profile = read_yaml(PROFILES / f"{given.profile}.yaml")
    return {k: v for k, v in profile.items() if k.partition("?")[0] not in kept} | stated


def planned(given: argparse.Namespace) -> tuple[Plan, Path]:
    """Return the plan of the suite that the arguments name, and its data root.

    Notices go to stderr, so that what is printed stays readable for scripts.
    """
    from benchmark.planning.design import read_design
    from benchmark.planning.plan import plan_design
    from benchmark.progress import shown
    from benchmark.running.run import data_root

    systems = getattr(given, "systems", ())  # not of score
    design = read_design(  # before phantoms are written
        given.suite, changes(given), given.extra_systems, given.data_root, given.keep_going, systems
    )
    root = data_root(given.data_root, given.runs, given.suite)
    plan = plan_design(design, given.runs, root, shown, getattr(given, "protocols", ()), systems)
    for notice in (*plan.notices, *told_left_out(plan)):
        print(f"lungbench: {notice}", file=sys.stderr)
    return plan, root


def told_left_out(plan: Plan) -> list[str]:
    """Return a line on each faulty system that ``--keep-going`` leaves out."""
    return [f"system {name} is left out: {fault}" for name, fault in plan.left_out.items()]


def planned_as_run(given: argparse.Namespace) -> tuple[Plan, Path]:
    """``planned``, on the data root that the suite's cells were run on unless one is named."""
    from benchmark.planning.library import load_suite
    from benchmark.running.rebuild import recorded_root

    if given.data_root is None:
        given.data_root = recorded_root(given.runs / load_suite(given.suite).name)
    return planned(given)

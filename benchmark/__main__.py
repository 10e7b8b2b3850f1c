"""The command line: ``python -m benchmark <command>``, installed as ``lungbench`` too."""

from __future__ import annotations

import argparse
import os
import select
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from benchmark.commands import (
    data,
    export,
    fit,
    library,
    predict,
    publish,
    score,
    slurm,
    speed,
    suites,
)
from benchmark.failures import explain, is_of_machine
from benchmark.garbage import collect_seldom
from contract.cell_folder import CellFolder
from contract.errors import UserError
from contract.suggestions import did_you_mean

GROUPS = (
    suites,
    library,
    slurm,
    fit,
    data,
    score,
    publish,
    predict,
    export,
    speed,
)
"""The commands, in the order in which ``--help`` lists them."""

A_CELL = CellFolder.of(Path("runs") / "smoke", "unet", "m_to_s", seed=0)
EXAMPLES = f"""examples:
  lungbench plan --suite smoke                         what would run, on which cases
  lungbench run --suite smoke                          phantoms, minutes on two cores
  lungbench run --suite quick --data-root /data        real data at a small size
  lungbench run --suite smoke --with my_network.yaml   your own network joins
  lungbench run --suite smoke --set trainer.max_epochs=2
  lungbench fit --config {A_CELL.config.as_posix()} --out again
  lungbench predict --system unet --images my_films --out my_masks
  lungbench list systems                               what there is to choose from
  lungbench show attention_unet                        a system's settings, and its paper's gaps
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="lungbench",
        description="Published lung-segmentation systems under the same cross-dataset protocols.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version, and end")
    commands = parser.add_subparsers(dest="command", metavar="command")
    for group in GROUPS:
        group.add(commands)
    return parser


class _Version(argparse.Action):
    """Prints the version; looking it up takes as long as reading the command line."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"lungbench {version()}")
        parser.exit()


def version() -> str:
    """Return the version of the installed package."""
    import importlib.metadata

    try:
        return importlib.metadata.version("lungbench")
    except importlib.metadata.PackageNotFoundError:  # the code runs from its folder
        return "not installed"


NOBODY_READS = 141
"""The exit code where a pipe was closed early, as by ``| head``; a shell's for SIGPIPE."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 well, 1 failed cells, 2 wrong use or data."""
    collect_seldom()
    try:
        try:
            return _obey(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _is_output_closed():
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # Python flushes once more at its end
        return NOBODY_READS


def _is_output_closed() -> bool:
    """Tell whether nobody reads what is printed any more."""
    if not hasattr(select, "poll"):  # Windows
        return True
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in output.poll(0))


def _obey(arguments: Sequence[str] | None) -> int:
    parser = build_parser()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words:
        parser.print_help()
        return 0
    _check_command(parser, words[0])
    given, extra = parser.parse_known_args(words)
    if given.command is None:
        parser.error(f"no command; one of {', '.join(_commands(parser))}")
    if extra and not given.passes_on:
        known = _commands(parser)[given.command]._option_string_actions
        meant = did_you_mean(extra[0].partition("=")[0], known)
        told = f"unknown arguments: {' '.join(extra)}; {meant}".removesuffix("; ")
        parser.error(f"{told}; see lungbench {given.command} --help")
    try:
        code: int = given.act(given, extra)
    except UserError as error:
        print(f"lungbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lungbench: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError as error:
        if _is_output_closed():
            raise
        print(f"lungbench: {explain(error)}", file=sys.stderr)
        return 1
    except Exception as error:  # a fault of the project or the machine: where, then in words
        if not is_of_machine(error):
            traceback.print_exc()
        print(f"lungbench: {explain(error)}", file=sys.stderr)
        return 1
    return code


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command."""
    subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(subparsers.choices)


def _check_command(parser: argparse.ArgumentParser, word: str) -> None:
    """Refuse a word that is no command, with the command that may be meant."""
    known = _commands(parser)
    if not word.startswith("-") and word not in known:
        told = f"no command {word!r}, but {', '.join(known)}; {did_you_mean(word, known)}"
        parser.error(told.removesuffix("; "))


if __name__ == "__main__":
    sys.exit(main())

"""The command line: ``python -m benchmark <command>``, installed as ``lungbench`` too."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from benchmark.commands import data, fit, predict, publish, score, slurm, speed, suites
from benchmark.failures import explain, is_of_machine
from contract.cell_folder import CellFolder
from contract.errors import UserError

GROUPS = (
    suites,
    slurm,
    fit,
    data,
    score,
    publish,
    predict,
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
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="lungbench",
        description="Published lung-segmentation systems under the same cross-dataset protocols.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for group in GROUPS:
        group.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 well, 1 failed cells, 2 wrong use or data."""
    parser = build_parser()
    given, extra = parser.parse_known_args(arguments)
    if extra and not given.passes_on:
        parser.error(f"unknown arguments: {' '.join(extra)}; see lungbench {given.command} --help")
    try:
        code: int = given.act(given, extra)
    except UserError as error:
        print(f"lungbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lungbench: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except Exception as error:  # a fault of the project or the machine: where, then in words
        if not is_of_machine(error):
            traceback.print_exc()
        print(f"lungbench: {explain(error)}", file=sys.stderr)
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())

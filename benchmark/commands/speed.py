"""The commands ``perf`` and ``torture``, which try the machine."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmark.commands.arguments import Commands, add_command, plain_path
from contract.errors import UserError


def add(commands: Commands) -> None:
    """Add ``perf`` and ``torture``."""
    add_command(commands, "perf", "time the hot paths on phantoms, each beside a common way", _perf)
    text = (
        "kill, damage and starve tiny cells at random moments, and compare their rows with those "
        "of cells that nobody disturbed"
    )
    torture = add_command(commands, "torture", text, _torture)
    torture.add_argument(
        "--minutes", type=float, default=10.0, metavar="N",
        help="how long it goes on; setting up before and mending after take some more [10]",
    )  # fmt: skip
    torture.add_argument("--seed", type=int, metavar="N", help="of all that is random [drawn]")
    torture.add_argument(
        "--home", type=plain_path, metavar="FOLDER",
        help="a new folder for it, such as on the file server to be tried; it stays [a temporary "
        "one, which stays where something went wrong]",
    )  # fmt: skip
    torture.add_argument(
        "--short", action="store_true", help="a few cells of one process each, and no small disk"
    )


def _perf(given: argparse.Namespace, extra: Sequence[str]) -> int:
    from benchmark.perf import perf

    perf()
    return 0


def _torture(given: argparse.Namespace, extra: Sequence[str]) -> int:
    if not 0 < given.minutes < float("inf"):
        raise UserError(f"--minutes {given.minutes}", "no length of time", "more than 0")
    if sys.platform != "linux":
        raise UserError("torture", sys.platform, "Linux, whose processes it looks for")
    if given.home is not None and given.home.exists():
        raise UserError(given.home, "a folder that is there", "a new one", "choose another --home")
    seed = random.randrange(1 << 16) if given.seed is None else given.seed
    home = given.home or Path(tempfile.mkdtemp(prefix="lungbench-torture-"))
    home.mkdir(parents=True, exist_ok=True)
    print(f"--minutes {given.minutes:g} --seed {seed}, in {home}", flush=True)
    from benchmark.torture.torture import Torture

    figures = Torture(home.resolve(), given.minutes, seed, given.short).torture()
    print("\n".join(figures.lines()))
    if figures.is_well and given.home is None:
        shutil.rmtree(home, ignore_errors=True)
    print("nothing lost, nothing believed" if figures.is_well else f"see {home}")
    return 0 if figures.is_well else 1

"""The commands ``perf`` and ``torture``, which try the machine."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmark.commands.arguments import Commands, add_command, plain_path, whole_number
from contract.errors import UserError

PERF_TOPICS = ("scoring", "training", "data", "processes", "gpu")


def add(commands: Commands) -> None:
    """Add ``perf`` and ``torture``."""
    text = (
        "time what matters here beside what others do for the same, as ratios with their spread; "
        "what needs a peer, real data, a GPU or hours that are not there is said to be not measured"
    )
    perf = add_command(commands, "perf", text, _perf)
    perf.add_argument(
        "--only", nargs="+", action="extend", choices=PERF_TOPICS, default=[], metavar="TOPIC",
        help=f"of {', '.join(PERF_TOPICS)} [all]",
    )  # fmt: skip
    perf.add_argument(
        "--out", type=plain_path, metavar="FILE", help="the page to write, Markdown [none]"
    )
    perf.add_argument(
        "--rounds", type=whole_number(1), default=5, metavar="N",
        help="how often a pair is timed at most; long ones less often [5]",
    )  # fmt: skip
    perf.add_argument(
        "--device", choices=("cpu", "gpu"), default=None, help="[gpu where torch can use one]"
    )
    perf.add_argument(
        "--long", action="store_true", help="measure too what takes longer than minutes"
    )
    perf.add_argument(
        "--data-root", type=plain_path, help="real films, for the lines that need them [none]"
    )
    text = (
        "kill, damage and starve tiny cells at random moments, and compare their rows with those "
        "of cells that nobody disturbed"
    )
    torture = add_command(commands, "torture", text, _torture)
    torture.add_argument(
        "--minutes", type=float, default=10.0, metavar="N",
        help="how long it goes on; setting up before and mending after take some more [10]",
    )  # fmt: skip
    torture.add_argument(
        "--seed", type=whole_number(0), metavar="N", help="of all that is random [drawn]"
    )
    torture.add_argument(
        "--home", type=plain_path, metavar="FOLDER",
        help="a new folder for it, such as on the file server to be tried; it stays [a temporary "
        "one, which stays where something went wrong]",
    )  # fmt: skip
    torture.add_argument(
        "--short", action="store_true", help="a few cells of one process each, and no small disk"
    )


def _perf(given: argparse.Namespace, extra: Sequence[str]) -> int:
    if given.rounds < 1:
        raise UserError(f"--rounds {given.rounds}", "no number of rounds", "at least 1")
    if sys.platform != "linux":
        raise UserError("perf", sys.platform, "Linux, which tells and limits a process's cores")
    from benchmark.performance.perf import measure

    measure(given.only, given.out, given.rounds, given.device, given.long, given.data_root)
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

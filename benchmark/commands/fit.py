"""The commands ``fit`` and ``test``: one cell by hand."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark.commands.arguments import Commands, add_command
from benchmark.garbage import collect_as_usual


def add(commands: Commands) -> None:
    """Add the commands that work on one cell's config."""
    for name, text in (
        ("fit", "train (or resume) and test one cell from its config.yaml"),
        ("test", "test a checkpoint with a cell's config.yaml"),
    ):
        text += "; further --trainer.… and --model.… arguments are passed on"
        parser = add_command(commands, name, text, _fit, passes_on=True)
        parser.add_argument("--config", type=Path, required=True, help="a cell's config.yaml")
        parser.add_argument("--out", type=Path, required=True, help="the folder to write")
        parser.add_argument(
            "--checkpoint-every", type=float, default=30.0, metavar="S",
            help="seconds between two checkpoints [30]",
        )  # fmt: skip
        parser.add_argument(
            "--profile", action="store_true",
            help="also leave OUT/profile/: a trace of some steps, which ui.perfetto.dev and "
            "chrome://tracing open, and a table of what took longest; rows stay the same",
        )  # fmt: skip
        if name == "test":
            parser.add_argument("--checkpoint", type=Path, required=True, help="weights (.ckpt)")


def _fit(given: argparse.Namespace, extra: Sequence[str]) -> int:
    from benchmark.cell.peers import follow_leader

    follow_leader()  # libraries take long to load
    from benchmark.cell.fit import fit

    collect_as_usual()
    checkpoint = getattr(given, "checkpoint", None)
    if given.profile:
        extra = [
            *extra,
            "--trainer.profiler.class_path=benchmark.cell.profiling.StepProfiler",
            f"--trainer.profiler.init_args.dirpath={given.out / 'profile'}",
        ]
    fit(given.config, given.out, extra, checkpoint, given.checkpoint_every)
    return 0

"""The command ``publish``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark.commands.arguments import Commands, add_command


def add(commands: Commands) -> None:
    """Add ``publish``."""
    text = "send a suite's leaderboard to Weights & Biases as one run; sent again, it is updated"
    parser = add_command(commands, "publish", text, _publish)
    parser.add_argument("--suite", default="smoke", help="a suite's name or YAML file [smoke]")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the runs folder [runs]")
    parser.add_argument(
        "--data-root", type=Path, help="not read; taken so that the arguments of `run` serve again"
    )
    parser.add_argument("--entity", help="W&B's user or team [WANDB_ENTITY, or the key's own]")
    parser.add_argument("--project", help="W&B's project [WANDB_PROJECT, or lungbench]")
    parser.add_argument(
        "--with-pictures", action="store_true",
        help="send pictures of films too; licences and privacy may forbid it [tables and plots]",
    )  # fmt: skip


def _publish(given: argparse.Namespace, extra: Sequence[str]) -> int:
    from benchmark.publish import publish

    return publish(given.suite, given.runs, given.entity, given.project, given.with_pictures)

"""The command ``publish``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark.commands.arguments import Commands, add_command, plain_path

LEADERBOARD_TABLE = "leaderboard/leaderboard.csv"


def add(commands: Commands) -> None:
    """Add ``publish``."""
    text = "send a suite's leaderboard to Weights & Biases as one run; sent again, it is updated"
    parser = add_command(commands, "publish", text, _publish)
    parser.add_argument(
        "--suite", help="a suite's name or YAML file [every leaderboard below --runs]"
    )
    parser.add_argument(
        "--runs", type=plain_path, default=Path("runs"), help="the runs folder [runs]"
    )
    parser.add_argument(
        "--data-root",
        type=plain_path,
        help="not read; taken so that the arguments of `run` serve again",
    )
    parser.add_argument("--entity", help="W&B's user or team [WANDB_ENTITY, or the key's own]")
    parser.add_argument("--project", help="W&B's project [WANDB_PROJECT, or lungbench]")
    parser.add_argument(
        "--with-pictures", action="store_true",
        help="send pictures of films too; licences and privacy may forbid it [tables and plots]",
    )  # fmt: skip


def _publish(given: argparse.Namespace, extra: Sequence[str]) -> int:
    from benchmark.running.rebuild import suites_below
    from benchmark.tracking.publish import publish

    suites = [given.suite] if given.suite else suites_below(given.runs, LEADERBOARD_TABLE)
    for suite in suites:
        publish(suite, given.runs, given.entity, given.project, given.with_pictures)
    return 0

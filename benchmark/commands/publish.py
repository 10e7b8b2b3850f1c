"""The command ``publish``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmark.commands.arguments import Commands, add_command, folder_arguments


def add(commands: Commands) -> None:
    """Add ``publish``."""
    text = "send a suite's leaderboard to Weights & Biases as one run, which repeats update"
    parser = add_command(commands, "publish", text, _publish, folder_arguments())
    parser.add_argument("--entity", help="W&B's user or team [WANDB_ENTITY, or the key's own]")
    parser.add_argument("--project", help="W&B's project [WANDB_PROJECT, or lungbench]")
    parser.add_argument(
        "--with-pictures", action="store_true",
        help="send pictures of films too; licences and privacy may forbid it [tables and plots]",
    )  # fmt: skip


def _publish(given: argparse.Namespace, extra: Sequence[str]) -> int:
    from benchmark.publish import publish

    return publish(given.suite, given.runs, given.entity, given.project, given.with_pictures)

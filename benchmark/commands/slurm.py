"""The commands ``submit`` and ``cancel``: a suite on a SLURM cluster."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.commands.arguments import (
    Commands,
    add_command,
    changes,
    planned,
    selected,
    suite_arguments,
    whole_number,
)

if TYPE_CHECKING:
    from benchmark.running.submit import Request


def add(commands: Commands) -> None:
    """Add the commands that speak to a cluster."""
    suite = suite_arguments()
    text = "submit what is not done to SLURM, as `run --launcher slurm` does"
    parser = add_command(commands, "submit", text, _submit, suite)
    parser.add_argument(
        "--devices", type=whole_number(1), metavar="N",
        help="processes of a cell on each node [the site's gpus_per_node, or 1]",
    )  # fmt: skip
    add_site(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="print the commands and scripts; submit nothing"
    )
    # For the last job of a submission: what vanished from the queue is submitted again.
    parser.add_argument("--lost", type=Path, help=argparse.SUPPRESS)
    text = "take a suite's queued and running cells back from SLURM; a later run resumes them"
    add_command(commands, "cancel", text, _cancel, suite)


def add_site(parser: argparse.ArgumentParser) -> None:
    """Add ``--site``."""
    parser.add_argument(
        "--site", type=Path, metavar="FILE",
        help="site profile of the cluster [$LUNGBENCH_SITE, or lungbench-site.yaml here]",
    )  # fmt: skip


def request(given: argparse.Namespace) -> Request:
    """Return what the arguments ask to be submitted."""
    from benchmark.launchers.site_profile import find_site
    from benchmark.running.submit import Request

    return Request(
        given.suite, given.runs, given.data_root, find_site(given.site), given.devices,
        changes(given), given.extra_systems, selected(given), given.keep_going,
    )  # fmt: skip


def _submit(given: argparse.Namespace, extra: Sequence[str]) -> int:
    from benchmark.running.submit import resubmit_lost, submit_suite

    if given.lost is not None:
        return resubmit_lost(request(given), given.lost)
    return submit_suite(request(given), given.dry_run)


def _cancel(given: argparse.Namespace, extra: Sequence[str]) -> int:
    from benchmark.launchers.slurm import cancel
    from benchmark.progress import say

    plan, _ = planned(given)
    everything = not (given.systems or given.protocols or given.seeds)
    count = cancel(plan.folder, None if everything else selected(given).of(plan))
    say(f"suite {plan.suite.name}: {count} cells taken back; what they trained is kept")
    return 0

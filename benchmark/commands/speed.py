"""The command ``perf``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmark.commands.arguments import Commands, add_command


def add(commands: Commands) -> None:
    """Add ``perf``."""
    add_command(commands, "perf", "time the hot paths on phantoms, each beside a common way", _perf)


def _perf(given: argparse.Namespace, extra: Sequence[str]) -> int:
    from benchmark.perf import perf

    perf()
    return 0

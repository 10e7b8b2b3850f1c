"""Tables and bars as rich draws them: for those alone who show some, since rich loads slowly."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class _Terminal(Console):
    """A console that leaves a closed pipe to ``main``, as ``print`` does."""

    def on_broken_pipe(self) -> None:
        """Go on with the error, which rich is just handling."""
        raise BrokenPipeError


console = _Terminal(highlight=False, width=None if sys.stdout.isatty() else 180)


def bars() -> Progress:
    """Return rich bars with counts, elapsed time and time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )

"""A plan's cells and their states, for people and for scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from benchmark.cell.cell import Cell, Ticket
from benchmark.progress import console, say

NO_TICKETS: Mapping[Path, Ticket] = {}


def as_objects(
    cells: Sequence[Cell], tickets: Mapping[Path, Ticket] = NO_TICKETS
) -> list[dict[str, Any]]:
    """Return one object a cell for ``--json``.

    Args:
        cells: the cells.
        tickets: places in a cluster's queue, by the cells' folders.
    """
    objects = []
    for cell in cells:
        ticket = tickets.get(cell.folder)
        state, reason = cell.state(ticket)
        train, validation, test = cell.counts
        objects.append(
            {
                "suite": cell.suite,
                "system": cell.system,
                "protocol": cell.protocol,
                "seed": cell.seed,
                "state": state,
                "reason": reason,
                "train_on": cell.train_on,
                "test_on": cell.test_on,
                "n_train": train,
                "n_validation": validation,
                "n_test": test,
                "split_hash": cell.split_hash,
                "config_hash": cell.config_hash,
                "phantom": cell.phantom,
                "reduced": bool(cell.changes),
                "log": str(cell.log),
                "job": ticket.job if ticket else None,
                "job_log": str(ticket.log) if ticket else None,
            }
        )
    return objects


def _plain(text: str) -> Text:
    """Return text for a table's cell: brackets are no colours, and a terminal obeys no sign."""
    return Text("".join(sign if sign.isprintable() else " " for sign in text))


def print_cells(
    title: str,
    cells: Sequence[Cell],
    logs: bool,
    tickets: Mapping[Path, Ticket] = NO_TICKETS,
) -> None:
    """Print a table of the cells.

    Args:
        title: the table's title.
        cells: the cells.
        logs: whether to show log paths instead of counts.
        tickets: places in a cluster's queue, by the cells' folders.
    """
    states: Counter[str] = Counter()
    table = Table(title=title, title_justify="left")
    for column in ("system", "protocol", "seed", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("log" if logs else "train / validation / test", overflow="fold")
    table.add_column("reason", overflow="fold")
    for cell in cells:
        state, reason = cell.state(tickets.get(cell.folder))
        train, validation, test = cell.counts
        counts = f"{train} {cell.train_on} / {validation} / {test} {cell.test_on}"
        counts += " (PHANTOM DATA)" if cell.phantom else ""
        told = str(cell.log) if logs else ("" if cell.problem else counts)
        row = (cell.system, cell.protocol, str(cell.seed), state, told, reason)
        table.add_row(*map(_plain, row))
        states[state] += 1
    console.print(table)
    say(", ".join(f"{number} {state}" for state, number in sorted(states.items())))

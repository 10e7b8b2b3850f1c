"""A plan's cells and their states, for people and for scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cell.cell import Cell, Ticket
from benchmark.progress import on_terminal, say

if TYPE_CHECKING:
    from benchmark.planning.cost import CellCost

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


def _plain(text: str) -> str:
    """Return text for a table's cell: a terminal obeys no sign of it."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table for people; one line a row, nothing folded, where a script may read it."""
    if not on_terminal():
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        print(title)
        for row in (heads, *rows):
            texts = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
            print("  ".join(texts).rstrip())
        return
    from rich.table import Table
    from rich.text import Text

    from benchmark.terminal import console

    table = Table(title=Text(title), title_justify="left")
    for number, head in enumerate(heads):
        table.add_column(head, no_wrap=number < 4, overflow="fold" if number >= 4 else "ellipsis")
    for row in rows:
        table.add_row(*map(Text, row))  # brackets are no colours
    console.print(table)


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
    rows: list[list[str]] = []
    for cell in cells:
        state, reason = cell.state(tickets.get(cell.folder))
        train, validation, test = cell.counts
        counts = f"{train} {cell.train_on} / {validation} / {test} {cell.test_on}"
        counts += " (PHANTOM DATA)" if cell.phantom else ""
        told = str(cell.log) if logs else ("" if cell.problem else counts)
        row = (cell.system, cell.protocol, str(cell.seed), state, told, reason)
        rows.append([_plain(text) for text in row])
        states[state] += 1
    told = "log" if logs else "train / validation / test"
    _print_table(title, ("system", "protocol", "seed", "state", told, "reason"), rows)
    say(", ".join(f"{number} {state}" for state, number in sorted(states.items())))


def print_costs(title: str, cells: Sequence[Cell], found: Mapping[str, CellCost]) -> None:
    """Print what a suite costs, a row a system, and its total.

    Args:
        title: the table's title.
        cells: the cells.
        found: the cost of each cell with data, by the cell's name.
    """
    from rich.table import Table

    from benchmark.planning.cost import CARD, CARD_FLOPS, batches_too_large
    from benchmark.terminal import console

    measured = any(one.hours is not None for one in found.values())
    table = Table(title=title, title_justify="left")
    columns = ["system", "cells", "parameters", "critic", "GFLOP a step", "critic's", "peak GiB"]
    columns += [f"{CARD} h a cell", f"{CARD} h"] + (["h here"] if measured else [])
    for column in columns:
        table.add_column(column, no_wrap=True, justify="left" if column == "system" else "right")
    for system in dict.fromkeys(cell.system for cell in cells):
        own = [found[cell.name] for cell in cells if cell.system == system and cell.name in found]
        if not own:
            continue
        step, hours = own[0].step, [one.card_hours for one in own]
        span = f"{min(hours):.3f}" + (f"–{max(hours):.3f}" if max(hours) > min(hours) else "")
        row = [
            system, str(len(own)), f"{step.generator_parameters:,}",
            f"{step.critic_parameters:,}" if step.critic_parameters else "",
            f"{step.generator_flop / 1e9:,.1f}",
            f"{step.critic_flop / 1e9:,.1f}" if step.critic_flop else "",
            f"{max(one.step.peak_bytes for one in own) / 2**30:.1f}", span, f"{sum(hours):.2f}",
        ]  # fmt: skip
        row += [f"{sum(one.hours or 0.0 for one in own):.2f}"] if measured else []
        table.add_row(*row)
    console.print(table)
    total = sum(one.card_hours for one in found.values())
    told = f"{len(found)} cells: {total:.1f} hours on an {CARD} that reaches "
    told += f"{CARD_FLOPS / 1e12:.0f} TFLOP/s (assumed, not measured)"
    if measured:
        here = sum(one.hours or 0.0 for one in found.values())
        told += f"; {here:.1f} hours here, as finished cells took"
    for system, (batch, cases) in sorted(batches_too_large(cells).items()):
        told_of = f"its batch of {batch} is larger than {cases} training cases"
        say(f"{system}: {told_of}; such cells fail, and count as nothing")
    absent = len(cells) - len(found)
    say(told + (f"; {absent} cells have no data, and are not counted" if absent else ""))

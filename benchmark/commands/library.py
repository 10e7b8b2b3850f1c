"""The commands ``list`` and ``show``: what there is to choose from, and what it says."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmark.commands.arguments import Commands, add_command
from contract.errors import UserError
from contract.suggestions import did_you_mean

if TYPE_CHECKING:
    from rich.table import Table

KINDS_OF_FILES = ("systems", "protocols", "suites")


def add(commands: Commands) -> None:
    """Add ``list`` and ``show``."""
    text = "list the systems, protocols, suites or data sets that come with the benchmark"
    parser = add_command(commands, "list", text, _list)
    parser.add_argument("kind", choices=(*KINDS_OF_FILES, "datasets"), help="what to list")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    text = "print a system, protocol or suite as it is read: what it extends is merged in"
    parser = add_command(commands, "show", text, _show)
    parser.add_argument("name", help="a name, or a YAML file of your own")
    parser.add_argument(
        "--schema", action="store_true",
        help="print the JSON schema of a kind of file instead, for editors: system, protocol, "
        "suite, dataset or site",
    )  # fmt: skip


def _list(given: argparse.Namespace, extra: Sequence[str]) -> int:
    from benchmark.planning.catalogue import catalogue

    entries = catalogue(given.kind)
    if given.json:
        print(json.dumps(entries, indent=1))
        return 0
    from benchmark.terminal import console

    console.print(_table(given.kind, entries))
    return 0


def _table(kind: str, entries: Sequence[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(title=f"{len(entries)} {kind}", title_justify="left")
    for column in entries[0]:
        right = column in ("cells", "parameters")
        table.add_column(column, no_wrap=column == "name", justify="right" if right else "left")
    for entry in entries:
        table.add_row(*map(_cell, entry.values()))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _show(given: argparse.Namespace, extra: Sequence[str]) -> int:
    from benchmark.planning.catalogue import kind_of, resolved

    if given.schema:
        from benchmark.planning.language import FILE_KINDS
        from contract.language import json_schema

        if given.name not in FILE_KINDS:
            known = ", ".join(FILE_KINDS)
            todo = did_you_mean(given.name, FILE_KINDS)
            raise UserError("show --schema", repr(given.name), f"one of {known}", todo)
        print(json.dumps(json_schema(FILE_KINDS[given.name], given.name), indent=2))
        return 0
    kind = kind_of(given.name)
    print(resolved(kind, given.name), end="")
    return 0

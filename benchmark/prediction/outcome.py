"""What becomes of segmented films and CT scans alike: the table, and what a person is told."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.prediction.predictor import Model, Predictor
from benchmark.progress import say
from contract.errors import UserError
from contract.files import write_atomically
from contract.spreadsheets import in_a_cell

PREDICTIONS_TABLE = "predictions.csv"

TableRow = dict[str, Any]


def introduction(model: Model, networks: Predictor) -> str:
    """Return what predicts, in words."""
    told = f"{model.name}: {len(networks)} network{'s' if len(networks) > 1 else ''}"
    kind = {"image": "films", "scan": "CT scans"}[model.unit]
    return f"{told}, trained on PHANTOM DATA: synthetic {kind}" if model.phantom else told


def tell_of(row: TableRow) -> None:
    """Say that a file failed, or what is to be known of it."""
    if row["error"]:
        say(f"FAILED {row['file']}: {row['error']}")
    elif row["remarks"]:
        say(f"{row['file']}: {row['remarks']}")


def sum_up(rows: Sequence[TableRow], kind: str, out: Path) -> int:
    """Say how many files of a kind were segmented, and where the results are.

    Returns:
        How many failed.
    """
    failed = sum(bool(row["error"]) for row in rows)
    flagged = sum(row.get("flagged") is True for row in rows)
    say(
        f"{len(rows) - failed} of {len(rows)} {kind} segmented, {flagged} of them flagged, "
        f"{failed} failed; masks, overlays and {PREDICTIONS_TABLE} are in {out}"
    )
    return failed


def without_place(error: UserError) -> str:
    """Return an error's text without the file that it names."""
    return str(error).removeprefix(f"{error.where}: ")


def structures_of(networks: Predictor) -> list[str]:
    """Return what networks find: their structures without the background, ``lungs`` always."""
    structures = [name for name in networks.structures if name != "background"]
    return structures + ([] if "lungs" in structures else ["lungs"])


def write_table(path: Path, rows: Sequence[TableRow], columns: Sequence[str]) -> None:
    """Write a table of predictions: a line a row, an empty field for what is undefined."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _shown(value) for key, value in row.items()})
    write_atomically(path, text.getvalue())


def _shown(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else in_a_cell(value)

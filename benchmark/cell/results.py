"""What a finished cell leaves: its rows, and where they come from."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa

from contract.cell_folder import CellFolder
from contract.rows import CASE_SCHEMA
from datamodules.splits import Split

COMMIT = "LUNGBENCH_COMMIT"
"""Tells the commit of a copy that has no git."""


def in_order(rows: list[dict[str, Any]], split: Split) -> list[dict[str, Any]]:
    """Return the rows in the split's order, each test case exactly once.

    A film is one case, scored once. A scan is one case too: it is scored once as a whole and each
    of its slices once; its own rows stand before those of its slices.

    Raises:
        RuntimeError: if a case is missing, doubled or foreign, or a scan's slices are not all
            there once.
    """
    order = {key: position for position, key in enumerate(split.test)}
    lungs = [row for row in rows if row["structure"] == "lungs"]
    scored = [_case(row) for row in lungs if row["unit"] != "slice"]
    if sorted(scored) != sorted(order):
        raise RuntimeError(
            f"{len(scored)} cases scored ({len(set(scored))} different), {len(order)} in the split"
        )
    _require_slices(lungs)

    def place(row: dict[str, Any]) -> tuple[int, int, str]:
        within = row["slice_index"] if row["unit"] == "slice" else -1
        return order[_case(row)], within, row["structure"]

    return sorted(rows, key=place)


def _case(row: dict[str, Any]) -> tuple[str, str]:
    """The case that a row belongs to: a slice belongs to its scan."""
    return row["test_on"], row["scan_id"] if row["unit"] == "slice" else row["case_id"]


def _require_slices(rows: list[dict[str, Any]]) -> None:
    """Refuse scans without slices, slices without their scan, and slices missing or doubled."""
    scans = {_case(row) for row in rows if row["unit"] == "scan"}
    slices: dict[tuple[str, str], list[int]] = {scan: [] for scan in sorted(scans)}
    for row in rows:
        if row["unit"] == "slice":
            slices.setdefault(_case(row), []).append(row["slice_index"])
    for scan, found in slices.items():
        if scan not in scans or not found or sorted(found) != list(range(len(found))):
            raise RuntimeError(
                f"scan {scan[1]} of {scan[0]}: {len(found)} slices scored, "
                f"{len(set(found))} different; each must be scored once, and the scan once"
            )


def write_rows(out: Path, rows: list[dict[str, Any]], **columns: Any) -> dict[str, Any]:
    """Write a cell's rows as a whole, the same ``columns`` in each row.

    Returns:
        what the cell's record has to say of them.
    """
    table = pa.Table.from_pylist([{**columns, **row} for row in rows], schema=CASE_SCHEMA)
    return CellFolder(out).write_rows(table)


def versions() -> dict[str, str]:
    """Return the version of each library that numbers depend on."""
    packages = ("lungbench", "torch", "pytorch-lightning", "monai", "segmentation-models-pytorch",
                "numpy", "opencv-python-headless")  # fmt: skip
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Return the project's git commit, marked where files were changed since.

    Of a copy without git (in a container, say) it is what ``LUNGBENCH_COMMIT`` says, if anything.
    """
    here = Path(__file__).parent
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip() or os.environ.get(COMMIT) or None

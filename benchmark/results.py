"""What a finished cell leaves: its rows, and where they come from."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytorch_lightning as pl
import torch

from contract.rows import CASE_SCHEMA
from datamodules.splits import Split


def gather(rows: list[dict[str, Any]], trainer: pl.Trainer) -> list[dict[str, Any]]:
    """Return the rows of all processes."""
    if trainer.world_size == 1:
        return rows
    parts: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(parts, rows)
    return [row for part in parts for row in part]


def in_order(rows: list[dict[str, Any]], split: Split) -> list[dict[str, Any]]:
    """Return the rows in the split's order, each test case exactly once.

    Raises:
        RuntimeError: if a case is missing, doubled or foreign.
    """
    order = {key: position for position, key in enumerate(split.test)}
    scored = [(row["test_on"], row["case_id"]) for row in rows if row["structure"] == "lungs"]
    if sorted(scored) != sorted(order):
        raise RuntimeError(
            f"{len(scored)} cases scored ({len(set(scored))} different), {len(order)} in the split"
        )
    return sorted(rows, key=lambda row: (order[row["test_on"], row["case_id"]], row["structure"]))


def write_rows(out: Path, rows: list[dict[str, Any]], **columns: Any) -> None:
    """Write ``cases.parquet`` atomically, the same ``columns`` in each row."""
    table = pa.Table.from_pylist([{**columns, **row} for row in rows], schema=CASE_SCHEMA)
    beside = out / f".cases.parquet.{os.getpid()}"
    pq.write_table(table, beside)
    beside.replace(out / "cases.parquet")


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
    """Return the project's git commit, marked where files were changed since."""
    here = Path(__file__).parent
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip() or None

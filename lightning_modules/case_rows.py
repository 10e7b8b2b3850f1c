"""Rows out of a test: a callback keeps them, on one process or several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytorch_lightning as pl
import torch

from contract.batch import CaseRow
from contract.rows import CASE_SCHEMA, METRICS

PAPERS_OWN = frozenset({"iou_keras_pixelwise", "hausdorff_rowvector"})
"""Metrics that stand beside their papers only, so that their means are not told."""


def from_all_processes(rows: Sequence[CaseRow]) -> list[CaseRow]:
    """Return the rows of all processes, in the order of the processes, on each of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return list(rows)
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, list(rows))
    return [row for part in parts for row in part]


def case_means(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return ``structure/metric`` means over films and whole scans.

    Args:
        rows: one a case and structure; rows of slices are passed over, and undefined values.
    """
    found: dict[str, list[float]] = {}
    for row in rows:
        for metric in METRICS:
            told = row.get(metric) if metric not in PAPERS_OWN else None
            if told is not None and row["unit"] != "slice":
                found.setdefault(f"{row['structure']}/{metric}", []).append(told)
    return {name: float(np.mean(values)) for name, values in sorted(found.items())}


class CaseRows(pl.Callback):
    """Keeps the rows that a test gives, one a case and structure.

    Attributes:
        rows: after ``trainer.test``, on every process, the rows of all of them.
    """

    def __init__(self) -> None:
        self.rows: list[CaseRow] = []
        self._batches: list[Sequence[CaseRow]] = []

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the rows of an earlier test."""
        self.rows, self._batches = [], []

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *batch: Any
    ) -> None:
        """Keep a batch's rows, which ``test_step`` returned, and do not wait for them."""
        self._batches.append(batch[0]["rows"])

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Wait for the rows of all batches."""
        batches, self._batches = self._batches, []
        self.rows = [row for rows in batches for row in rows]

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Bring the rows of all processes together, of those without any case too.

        Lightning leaves out the hooks of a test where a process has nothing to test, but this one.
        """
        if stage == "test":
            self.rows = from_all_processes(self.rows)

    def table(self, **columns: Any) -> pa.Table:
        """Return the rows as ``cases.parquet`` holds them.

        Args:
            columns: what the rows cannot know, such as ``system``, ``protocol``, ``seed`` and
                ``phantom``; what is not given is null.
        """
        return pa.Table.from_pylist([{**columns, **row} for row in self.rows], schema=CASE_SCHEMA)

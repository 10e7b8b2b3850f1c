"""Rows of cases as a cell would write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contract.rows import CASE_SCHEMA

RowMaker = Callable[..., pd.DataFrame]


def make_row(system: str, case: str, dice: float, **given: Any) -> dict[str, Any]:
    """One row; what is not given is what an ordinary chest image has."""
    row: dict[str, Any] = dict.fromkeys(CASE_SCHEMA.names)
    row |= {
        "suite": "smoke", "system": system, "protocol": "m_to_s", "seed": 0,
        "train_on": "montgomery", "test_on": "shenzhen", "case_id": case, "patient_id": case,
        "structure": "lungs", "dice": dice, "iou": dice / (2 - dice), "precision": dice,
        "recall": dice, "accuracy": dice, "auc": dice, "nsd": dice, "hausdorff_px": 9.0,
        "hausdorff95_px": 5.0, "assd_px": 2.0, "reference": "plain", "unit": "image",
        "empty_prediction": False, "empty_reference": False, "height": 64, "width": 64,
        "phantom": False,
    }  # fmt: skip
    return row | given


@pytest.fixture
def make_rows() -> RowMaker:
    """Rows of one system and seed from {case: dice}, all else the same."""

    def make(system: str, dices: dict[str, float], **given: Any) -> pd.DataFrame:
        rows: Iterable[dict[str, Any]] = (
            make_row(system, case, dice, **given) for case, dice in dices.items()
        )
        return pd.DataFrame(rows, columns=CASE_SCHEMA.names)

    return make


@pytest.fixture
def write_cell(tmp_path: Path) -> Callable[..., Path]:
    """Write a cell's folder from its rows, and return the suite's folder."""

    def write(rows: pd.DataFrame, **given: Any) -> Path:
        first = rows.iloc[0]
        cell = {
            "state": "done", "reason": None, "suite": "smoke", "system": first["system"],
            "protocol": first["protocol"], "seed": int(first["seed"]), "config_hash": "abc",
            "n_train": 80, "n_test": rows["case_id"].nunique(), "split_hash": "def",
            "phantom": False, "versions": {"torch": "2.15"}, "commit": "0123abc", "device": "cpu",
            "wall_s": 60.0, "parameters": 1000, "images_per_s": 3.5,
        } | given  # fmt: skip
        name = f"{cell['system']}/{cell['protocol']}/seed-{cell['seed']}"
        folder = tmp_path / "smoke" / "cells" / name
        folder.mkdir(parents=True)
        (folder / "cell.json").write_text(json.dumps(cell))
        if cell["state"] == "done":
            table = pa.Table.from_pandas(rows, schema=CASE_SCHEMA, preserve_index=False)
            pq.write_table(table, folder / "cases.parquet")
        return tmp_path / "smoke"

    return write

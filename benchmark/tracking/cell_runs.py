"""A suite's cells as a leaderboard's W&B run tells of them: their runs, splits and versions."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from contract.cell_folder import recorded_cells_of

SERVER = "https://wandb.ai"
RECORD_COLUMNS = (
    "system", "protocol", "seed", "state", "reason", "external", "n_train", "n_test", "split_hash",
    "config_hash", "commit", "device", "wall_s", "parameters", "wandb_id",
)  # fmt: skip


def read_cells(suite_folder: Path) -> pd.DataFrame:
    """Return a row for each cell of a suite that has a record, with the id of its W&B run."""
    records = [cell.record for cell in recorded_cells_of(suite_folder)]
    return pd.DataFrame(
        [{name: getattr(record, name) for name in RECORD_COLUMNS} for record in records],
        columns=list(RECORD_COLUMNS),
        dtype=object,
    )


def addresses(cells: pd.DataFrame, entity: str | None, project: str) -> list[str | None]:
    """Return the address of each cell's run; None where there is none, or no entity is known."""
    server = os.environ.get("WANDB_BASE_URL", SERVER).replace("//api.wandb.ai", "//wandb.ai")
    home = f"{server.rstrip('/')}/{entity}/{project}/runs"
    return [f"{home}/{run}" if run and entity else None for run in cells["wandb_id"]]


def suite_facts(suite_folder: Path) -> dict[str, Any]:
    """Return what the finished cells were measured with.

    ``splits`` names the division of each protocol, ``splits_digest`` all of them together;
    ``commits`` and ``devices`` are sorted; ``phantom`` tells whether any data is synthetic.
    """
    records = [cell.record for cell in recorded_cells_of(suite_folder)]
    done = [record for record in records if record.is_done]
    splits: dict[str, list[str]] = {}
    for record in done:
        found = splits.setdefault(record.protocol, [])
        found += [record.split_hash] if record.split_hash and record.split_hash not in found else []
    text = json.dumps(sorted((name, sorted(hashes)) for name, hashes in splits.items()))
    versions = {name: v for record in done for name, v in record.versions.items()}
    return {
        "n_cells": len(records),
        "n_done": len(done),
        "splits": {name: ", ".join(sorted(hashes)) for name, hashes in sorted(splits.items())},
        "splits_digest": hashlib.blake2b(text.encode(), digest_size=5).hexdigest(),
        "commits": sorted({record.commit for record in done if record.commit}),
        "devices": sorted({record.device for record in done if record.device}),
        "versions": versions,
        "phantom": any(record.phantom for record in done),
    }

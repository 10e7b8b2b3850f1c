"""Put a leaderboard on disk: ``cases.parquet``, ``leaderboard.csv``, ``leaderboard.md``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from leaderboards import markdown
from leaderboards.markdown import Meta


def write(folder: Path, cases: pa.Table, table: pd.DataFrame, meta: Meta) -> Path:
    """Write the three files, each whole or not at all.

    Args:
        folder: ``<runs>/<suite>/leaderboard``; made where absent.
        cases: rows of all cells, in ``contract.rows.CASE_SCHEMA``.
        table: what ``leaderboards.tables.build`` returned.
        meta: what the Markdown says beside the numbers.

    Returns:
        the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown.page(table, meta)
    replace(folder / "cases.parquet", lambda path: pq.write_table(cases, path))
    replace(
        folder / "leaderboard.csv",
        lambda path: table.to_csv(path, index=False, float_format="%.10g"),
    )
    replace(folder / "leaderboard.md", lambda path: path.write_text(text, "utf-8"))
    return folder


def replace(path: Path, write_to: Callable[[Path], object]) -> None:
    """Write a file beside its place and move it there, so that readers never see half of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write_to(beside)
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)

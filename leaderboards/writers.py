"""Put a leaderboard on disk: rows, tables, the page and its figures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from leaderboards import html, insights, markdown, paper, subgroups, svg
from leaderboards.markdown import Meta


def write(folder: Path, cases: pa.Table, table: pd.DataFrame, meta: Meta) -> Path:
    """Write the rows, the tables, the page with its figures, and what a paper takes over.

    Each file comes whole or not at all.

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
    found = insights.gather(cases, meta.draws)
    served = subgroups.compare(cases, min(meta.draws, subgroups.DRAWS))
    page = html.prepare(table, meta, found, insights.transfer(cases), served)
    rendered = html.render(page)
    replace(folder / "cases.parquet", lambda path: pq.write_table(cases, path))
    frames = {
        "leaderboard.csv": table,
        "comparisons.csv": insights.all_pairs(found),
        "subgroups.csv": served,
    }
    for name, frame in frames.items():
        _write_text(folder / name, frame.to_csv(index=False, float_format="%.10g"))
    data = paper.DataSets.of(
        (row["train_on"], row["test_on"])
        for row in cases.group_by(["train_on", "test_on"]).aggregate([]).to_pylist()
    )
    texts = {
        "leaderboard.md": text,
        "leaderboard.html": rendered,
        "leaderboard.tex": paper.latex(table, meta),
        "methods.md": paper.methods(table, meta, data),
        "references.bib": paper.references(table, data),
    }
    for name, content in texts.items():
        _write_text(folder / name, content)
    _figures(folder / "figures", page)
    return folder


def _write_text(path: Path, content: str) -> None:
    replace(path, lambda beside: beside.write_text(content, "utf-8"))


def _figures(folder: Path, page: html.Page) -> None:
    """Write every figure of the page, and remove those of an earlier one."""
    folder.mkdir(exist_ok=True)
    wanted = {f"{name}.svg": svg.standalone(drawing) for name, drawing in page.panels.items()}
    for old in folder.glob("*.svg"):
        if old.name not in wanted:
            old.unlink()
    for name, content in wanted.items():
        _write_text(folder / name, content)


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

"""Put a leaderboard on disk: rows, tables, the page and its figures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from contract.files import replacing, write_atomically
from contract.rows import LEADERBOARD_SCHEMA
from contract.spreadsheets import in_a_cell
from leaderboards import columns, markdown
from leaderboards.manuscript.latex import latex
from leaderboards.manuscript.methods import methods
from leaderboards.manuscript.references import DataSets, references
from leaderboards.markdown import Meta
from leaderboards.page import html, pdf, svg
from leaderboards.page.galleries import Album
from leaderboards.products import vouch
from leaderboards.published import differences
from leaderboards.statistics.findings import Findings

PAGE = "leaderboard.html"


def write(
    folder: Path, cases: pa.Table, table: pd.DataFrame, meta: Meta, album: Album | None = None
) -> Path:
    """Write the rows, the tables, the page with its figures, and what a paper takes over.

    Each file comes whole or not at all.

    Args:
        folder: ``<runs>/<suite>/leaderboard``; made where absent.
        cases: rows of all cells, in ``contract.rows.CASE_SCHEMA``.
        table: what ``leaderboards.tables.build`` returned.
        meta: what the Markdown says beside the numbers.
        album: pictures of cases for the page; where they show real patients, a second page
            without them is written beside it.

    Returns:
        the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    findings = Findings.of(cases, meta.draws, meta.cells)
    page = html.prepare_page(table, meta, findings, album)
    _write_rows(folder / "cases.parquet", cases)
    rows = pa.Table.from_pandas(table, schema=LEADERBOARD_SCHEMA, preserve_index=False)
    _write_rows(folder / "leaderboard.parquet", rows)
    frames = {"leaderboard": table, "published": differences.from_papers(table), **findings.frames}
    for name, frame in frames.items():
        write_atomically(folder / f"{name}.csv", as_csv(frame))
    data = DataSets.of(
        (row["train_on"], row["test_on"])
        for row in cases.group_by(["train_on", "test_on"]).aggregate([]).to_pylist()
    )
    said = methods(table, meta, data, agreement=not findings.agreed.empty)
    texts = {
        "leaderboard.md": markdown.page(table, meta, findings.added),
        PAGE: html.render(page),
        "COLUMNS.md": columns.as_markdown(),
        "leaderboard.tex": latex(table, meta),
        "methods.md": said,
        "references.bib": references(said),
    }
    if page.album.terms:
        texts[html.PAGE_TO_SHARE] = html.render(html.without_pictures(page))
    else:
        (folder / html.PAGE_TO_SHARE).unlink(missing_ok=True)
    for name, content in texts.items():
        write_atomically(folder / name, content)
    figures = _figures(folder / "figures", page)
    rows_files = ("cases.parquet", "leaderboard.parquet")
    tables = [f"{name}.csv" for name in frames]
    vouch(folder, [*rows_files, *tables, *texts, *figures], meta.cells)
    return folder


def as_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV in which no text is a formula."""
    harmless = table.copy()
    for name in table.select_dtypes(["object", "string", "category"]).columns:
        texts = [in_a_cell(value) for value in table[name]]
        harmless[name] = pd.Series(texts, index=table.index, dtype=object)
    return harmless.to_csv(index=False, float_format="%.10g")


def _write_rows(path: Path, table: pa.Table) -> None:
    with replacing(path) as file:
        pq.write_table(table, file)


def _figures(folder: Path, page: html.Page) -> list[str]:
    """Write every figure of the page as SVG and PDF, and remove those of an earlier one.

    Returns:
        the files, as the leaderboard's folder calls them.
    """
    folder.mkdir(exist_ok=True)
    phantom = page.phantom_panels
    for old in (*folder.glob("*.svg"), *folder.glob("*.pdf")):
        if old.stem not in page.panels:
            old.unlink()
    for name, drawing in page.panels.items():
        alone = svg.standalone(drawing, "PHANTOM DATA" if name in phantom else "")
        write_atomically(folder / f"{name}.svg", alone)
        write_atomically(folder / f"{name}.pdf", pdf.from_svg(alone))
    return [f"{folder.name}/{name}.{kind}" for name in page.panels for kind in ("svg", "pdf")]

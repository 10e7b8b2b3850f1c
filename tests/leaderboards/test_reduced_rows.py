"""A reduced row says so everywhere and no paper's number stands beside it."""

from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest

from contract.rows import CASE_SCHEMA
from leaderboards import markdown, tables
from leaderboards.manuscript.latex import latex
from leaderboards.manuscript.methods import methods
from leaderboards.manuscript.references import DataSets
from leaderboards.page import html
from leaderboards.page.svg import shortened
from leaderboards.published import differences
from leaderboards.statistics.findings import Findings
from tests.helpers.synthetic_rows import suite_cells, suite_rows

SYSTEMS = ["defu_net_dilated", "res_unet_dilated", "unet"]
PROTOCOLS = {"m_to_s": ("montgomery", "shenzhen"), "s_to_m": ("shenzhen", "montgomery")}
CHANGES = [{"key": "trainer.max_epochs", "from": 175, "to": 3}]


@pytest.fixture(scope="module")
def board():
    """Phantom rows in which res_unet_dilated is reduced under one protocol."""
    rows = suite_rows(SYSTEMS, PROTOCOLS, 2, 12, phantom=True).to_pandas()
    hit = (rows["system"] == "res_unet_dilated") & (rows["protocol"] == "m_to_s")
    rows = rows.assign(reduced=hit)
    cells = []
    for cell in suite_cells(SYSTEMS, PROTOCOLS, 2, phantom=True):
        epochs = {"tested_epochs": [40 + cell.seed]}
        if (cell.system, cell.protocol) == ("res_unet_dilated", "m_to_s"):
            epochs |= {"reduced": True, "changes": CHANGES}
        cells.append(replace(cell, **epochs))
    table = tables.build(rows, draws=50, cells=cells)
    cases = pa.Table.from_pandas(rows, schema=CASE_SCHEMA, preserve_index=False)
    return table, markdown.Meta("synthetic", tuple(cells), {}, 50), cases


def row_of(table, system, protocol):
    return table[(table["system"] == system) & (table["protocol"] == protocol)].iloc[0]


def test_the_table_keeps_the_key_and_tells_label_changes_and_epochs(board):
    table, _, _ = board
    row = row_of(table, "res_unet_dilated", "m_to_s")
    assert (row["system"], row["label"]) == ("res_unet_dilated", "res_unet_dilated (reduced)")
    assert row["reduced"] and row["changes"] == "trainer.max_epochs 175 → 3"
    assert (row["tested_epoch_min"], row["tested_epoch_max"]) == (40, 41)
    other = row_of(table, "res_unet_dilated", "s_to_m")
    assert (
        other["label"] == "res_unet_dilated" and not other["reduced"] and pd.isna(other["changes"])
    )


def test_no_published_value_stands_beside_a_reduced_row_and_phantoms_keep_theirs(board):
    table, _, _ = board
    assert pd.isna(row_of(table, "res_unet_dilated", "m_to_s")["published_dice"])
    assert row_of(table, "res_unet_dilated", "s_to_m")["published_dice"] > 0
    assert row_of(table, "defu_net_dilated", "m_to_s")["published_dice"] > 0
    beside = differences.from_papers(table)
    found = set(zip(beside["system"], beside["protocol"], strict=True))
    assert ("res_unet_dilated", "m_to_s") not in found and ("res_unet_dilated", "s_to_m") in found


def test_markdown_latex_and_methods_name_it_and_its_changes(board):
    table, meta, _ = board
    text = markdown.page(table, meta)
    assert "| res_unet_dilated (reduced) |" in text and "| res_unet_dilated |" in text
    assert (
        "- res_unet_dilated (reduced): trainer.max_epochs 175 → 3" in text and "| 40–41 |" in text
    )
    assert r"res\_unet\_dilated (reduced)" in latex(table, meta)
    said = methods(table, meta, DataSets(("montgomery",), ("shenzhen",)))
    assert "res_unet_dilated (reduced)" in said and "trainer.max_epochs 175 → 3" in said


def test_the_page_and_its_figures_name_it(board):
    table, meta, cases = board
    page = html.prepare_page(table, meta, Findings.of(cases, 50))
    text = html.render(page)
    assert "<li><b>res_unet_dilated (reduced)</b>: trainer.max_epochs 175 → 3</li>" in text
    figure = str(page.panels["m_to_s--lungs--plain--image--phantom--dice"])
    assert "res_unet_dilated (reduced)" in figure
    other = str(page.panels["s_to_m--lungs--plain--image--phantom--dice"])
    assert "(reduced)" not in other
    drawn = str(page.panels["published"])
    assert "res_unet_dilated · s_to_m" in drawn and "res_unet_dilated · m_to_s" not in drawn


def test_a_long_name_keeps_its_ends_and_its_marks_in_a_figure():
    pairs = [f"attention_unet_vs_{name} (reduced) †" for name in ("none", "scan", "regression")]
    short = [shortened(name) for name in pairs]
    assert len(set(short)) == 3 and {len(name) for name in short} == {30}
    assert all(name.endswith(" (reduced) †") and "…" in name for name in short)
    assert shortened("unet (reduced) †") == "unet (reduced) †"

"""Only a suite of pairs says what a critic adds: paired by case and seed, against its own start."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from contract.rows import CASE_SCHEMA
from leaderboards import markdown, tables
from leaderboards.page import grids, html
from leaderboards.statistics import critics
from leaderboards.statistics.findings import Findings
from tests.helpers.synthetic_rows import suite_cells, suite_rows

PAIRS = ["unet_vs_none", "unet_vs_scan", "other"]
PROTOCOL = {"m_to_s": ("montgomery", "shenzhen")}


def cells_of(baseline="unet_vs_none"):
    return [
        replace(cell, baseline=baseline if cell.system == "unet_vs_scan" else "")
        for cell in suite_cells(PAIRS, PROTOCOL, 3, phantom=True)
    ]


@pytest.fixture(scope="module")
def rows():
    return suite_rows(PAIRS, PROTOCOL, 3, 20, phantom=True)


def test_the_effect_is_the_mean_of_paired_differences_with_an_interval_around_it(rows):
    (row,) = critics.effects(rows, cells_of(), 400).to_dict("records")
    frame = rows.to_pandas().set_index(["system", "seed", "case_id"])["dice"]
    difference = (frame["unet_vs_scan"] - frame["unet_vs_none"]).groupby("case_id").mean()
    assert row["difference"] == pytest.approx(difference.mean(), abs=1e-12)
    assert row["ci_low"] < row["difference"] < row["ci_high"]
    assert (row["system"], row["baseline"]) == ("unet_vs_scan", "unet_vs_none")
    assert (row["n_cases"], row["n_patients"], row["n_seeds"]) == (20, 20, 3)


def test_what_case_and_seed_share_does_not_widen_the_interval(rows):
    """A constant gain over wildly different cases and seeds has an interval of no width."""
    frame = rows.to_pandas()
    frame = frame[frame["system"] != "other"]
    noise = np.random.default_rng(0).uniform(0.3, 0.8, (3, 20))
    case = frame["case_id"].str.slice(-4).astype(int)
    frame["dice"] = noise[frame["seed"], case] + 0.01 * (frame["system"] == "unet_vs_scan")
    table = pa.Table.from_pandas(frame, schema=CASE_SCHEMA, preserve_index=False)
    (row,) = critics.effects(table, cells_of(), 200).to_dict("records")
    assert [row["ci_low"], row["ci_high"]] == pytest.approx([0.01, 0.01], abs=1e-9)


def test_a_seed_that_one_of_them_lacks_is_left_out(rows):
    frame = rows.to_pandas()
    frame = frame[(frame["system"] != "unet_vs_none") | (frame["seed"] != 2)]
    table = pa.Table.from_pandas(frame, schema=CASE_SCHEMA, preserve_index=False)
    (row,) = critics.effects(table, cells_of(), 50).to_dict("records")
    assert row["n_seeds"] == 2


def test_systems_that_no_record_pairs_are_not_compared(rows):
    assert critics.effects(rows, cells_of(baseline=""), 50).empty
    assert critics.effects(rows, (), 50).empty


def test_markdown_and_page_show_it_for_pairs_alone(rows):
    for cells, shown in ((cells_of(), True), (cells_of(baseline=""), False)):
        meta = markdown.Meta("pairings", tuple(cells), {}, 50)
        table = tables.build(rows, draws=50, cells=cells)
        found = Findings.of(rows, 50, cells)
        assert ("## What each critic adds" in markdown.page(table, meta, found.added)) is shown
        text = html.render(html.prepare_page(table, meta, found))
        assert ('id="critics"' in text) is shown
        assert isinstance(found.frames["critics"], pd.DataFrame)


def test_the_page_marks_what_is_practically_equal(rows):
    added = critics.effects(rows, cells_of(), 50)
    for near in (True, False):
        table = grids.critics(added.assign(practically_equal=near), markdown.Meta("pairings"))
        place = [column.header for column in table.columns].index("Dice added")
        assert table.rows
        assert all(str(row[place].shown).endswith(" ≈") is near for row in table.rows)

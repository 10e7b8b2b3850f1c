"""From a suite's folder to the files that a reader opens."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from contract.cell_record import CellRecord
from contract.errors import DataError
from contract.rows import CASE_SCHEMA, LEADERBOARD_COLUMNS
from leaderboards.board import build_leaderboard, protocol_splits
from leaderboards.markdown import PHANTOM_BANNER, Meta, page
from leaderboards.tables import build
from leaderboards.texts import escape

RowMaker = Callable[..., pd.DataFrame]
CellWriter = Callable[..., Path]


def page_of(rows: pd.DataFrame, **meta: object) -> str:
    return page(build(rows, draws=50), Meta("smoke", **meta))


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if start in line)


def test_end_to_end(make_rows: RowMaker, write_cell: CellWriter) -> None:
    for seed in range(2):
        write_cell(make_rows("unet", {"c1": 0.9, "c2": 0.96}, seed=seed))
    write_cell(make_rows("mean_shape", {"c1": 0.5, "c2": 0.6}))
    write_cell(make_rows("scan", {"c1": 0.5, "c2": 0.6}), state="failed", reason="out of\nmemory")
    suite = write_cell(make_rows("defu_net", {"c1": 0.8, "c2": 0.9}), parameters=45_600_000)
    write_cell(make_rows("defu_net_dilated", {"c1": 0.8, "c2": 0.9}, reference="dilated"))
    described = {"m_to_s": "Trains on Montgomery, tests on Shenzhen."}
    folder = build_leaderboard(suite, protocols=described, draws=200)
    assert folder == suite / "leaderboard"
    assert sorted(p.name for p in folder.iterdir()) == [
        "COLUMNS.md", "cases.parquet", "comparisons.csv", "critics.csv", "endpoints.csv", "figures",
        "generalisation.csv", "leaderboard.csv", "leaderboard.html", "leaderboard.md",
        "leaderboard.parquet", "leaderboard.tex", "methods.md", "products.json", "published.csv",
        "quality.csv", "ranks.csv", "references.bib", "subgroups.csv",
    ]  # fmt: skip
    assert pq.read_schema(folder / "cases.parquet").equals(CASE_SCHEMA)
    with (folder / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == LEADERBOARD_COLUMNS
    assert [(r["rank"], r["system"]) for r in rows] == [
        ("1", "unet"), ("2", "defu_net"), ("3", "mean_shape"), ("", "defu_net_dilated"),
    ]  # fmt: skip
    assert float(rows[0]["dice_mean"]) == pytest.approx(0.93)
    assert (rows[3]["published_dice"], rows[3]["n_train"]) == ("0.9154", "80")
    assert rows[1]["published_dice"] == ""
    text = (folder / "leaderboard.md").read_text("utf-8")
    assert "Trains on Montgomery, tests on Shenzhen." in text
    assert "0.9300 [" in line_of(text, "| 1 | unet")
    assert "mean_shape (floor)" in text
    assert "1 of 2" in line_of(text, "| 3 | mean_shape")
    assert "dilated masks" in line_of(text, "1. DEFU-Net")
    assert "| scan | m_to_s | 0 | failed | out of memory |" in text
    assert "45,600,000" in text
    assert "torch 2.15" in text
    assert "PHANTOM" not in text


def test_a_second_build_writes_the_same_bytes(make_rows: RowMaker, write_cell: CellWriter) -> None:
    suite = write_cell(make_rows("unet", {"c1": 0.9, "c2": 0.96, "c3": 0.7}))
    contents = [
        {p.name: p.read_bytes() for p in build_leaderboard(suite, draws=100).rglob("*.*")}
        for _ in range(2)
    ]
    assert contents[0] == contents[1]


def test_phantom_banner_is_on_the_page_and_on_every_table(make_rows: RowMaker) -> None:
    parts = [make_rows("a", {"c1": 0.5}, phantom=True, structure=s) for s in ("lungs", "heart")]
    tables = ("lungs", "heart", "the mean of both")
    assert page_of(pd.concat(parts)).count(PHANTOM_BANNER) == 1 + len(tables)


def test_no_finished_cell_still_gives_a_page(make_rows: RowMaker, write_cell: CellWriter) -> None:
    suite = write_cell(make_rows("a", {"c1": 0.9}), state="no_data", reason="no ChinaSet_AllFiles")
    text = (build_leaderboard(suite) / "leaderboard.md").read_text("utf-8")
    assert "No cell has finished yet" in text
    assert "no ChinaSet_AllFiles" in text


def test_odd_names_cannot_break_the_page(make_rows: RowMaker) -> None:
    name = "<img src=x>|**b**\n`[l](u)`"
    text = page_of(make_rows(name, {"c1": 0.5}), cells=[CellRecord(name, "p", 0, "failed")])
    assert "<img" not in text
    rows = [line for line in text.splitlines() if "&lt;img" in line]
    assert len(rows) == 2
    assert {line.replace("\\|", "").count("|") for line in rows} == {
        line_of(text, "| # | system").count("|"), line_of(text, "| system | protocol").count("|"),
    }  # fmt: skip
    assert escape("# heading") == "\\# heading"
    assert escape("a|b<c>&`*") == "a\\|b&lt;c&gt;&amp;\\`\\*"


def test_practically_equal_systems_are_marked(make_rows: RowMaker) -> None:
    dices = {"best": 0.9, "near": 0.896, "far": 0.895}
    text = page_of(pd.concat([make_rows(name, {"c1": dice}) for name, dice in dices.items()]))
    assert "| 1 | best" in text
    assert "| 2 ≈ | near" in text
    assert "| 3 | far" in text


def test_means_over_fewer_cases_say_so(make_rows: RowMaker) -> None:
    rows = make_rows("a", {"c1": 0.9, "c2": 0.8})
    rows["hausdorff95_mm"] = [3.0, None]
    assert "3.00 (n = 1)" in line_of(page_of(rows), "| 1 | a")


def test_unranked_tables_say_why(make_rows: RowMaker) -> None:
    text = page_of(make_rows("a", {"c1": 0.9}, reference="pseudo"))
    assert "### lungs, PSEUDO-MASKS" in text
    assert "Not ranked" in text
    assert "| – | a" in text


def test_splits_must_agree_between_systems_but_may_follow_the_seed(tmp_path: Path) -> None:
    def cell(system: str, seed: int, split: str) -> CellRecord:
        return CellRecord(system, "jsrt_train10", seed, "done", n_train=10, split_hash=split)

    cells = [cell("a", 0, "x"), cell("b", 0, "x"), cell("a", 1, "y")]
    assert protocol_splits(tmp_path, cells)["jsrt_train10"].split_hash == "x+y"
    with pytest.raises(DataError, match="different splits"):
        protocol_splits(tmp_path, [*cells, cell("b", 1, "z")])


def test_a_few_shot_row_says_how_many_labelled_films_it_used_in_all(
    make_rows: RowMaker, write_cell: CellWriter
) -> None:
    for system, validated in (("a", 19), ("b", 19), ("a_last", 0)):
        rows = make_rows(system, {"c1": 0.9, "c2": 0.8}, protocol="jsrt_train10")
        suite = write_cell(rows, n_train=10, n_validation=validated)
    folder = build_leaderboard(suite, draws=50)
    with (folder / "leaderboard.csv").open() as file:
        counts = {r["system"]: (r["n_validation"], r["n_labelled"]) for r in csv.DictReader(file)}
    assert counts == {"a": ("19", "29"), "b": ("19", "29"), "a_last": ("0", "10")}
    told = "10 training and 19 validation cases, 29 labelled ones in all; "
    alone = "10 training and no validation cases, 10 labelled ones in all"
    for page_name in ("leaderboard.md", "leaderboard.html"):
        text = (folder / page_name).read_text("utf-8").replace("\\", "")
        assert f"{told}a_last: {alone}" in text


def test_the_room_imports_no_torch() -> None:
    modules = "sys, leaderboards.board, leaderboards.statistics.comparisons"
    code = f"import {modules}\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

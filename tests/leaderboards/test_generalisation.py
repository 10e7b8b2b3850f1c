"""Inside and across data sets: the same test sets on both sides, and how sure the gap is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from contract.rows import CASE_SCHEMA
from leaderboards.markdown import Meta
from leaderboards.statistics import generalisation
from leaderboards.tables import build
from leaderboards.writers import PAGE, write

RowMaker = Callable[..., pd.DataFrame]


def measured(make_rows: RowMaker, cells: list[tuple[str, str, str, dict[str, float]]]) -> pa.Table:
    parts = [
        make_rows(system, dices, protocol=f"{train}_to_{test}", train_on=train, test_on=test)
        for system, train, test, dices in cells
    ]
    return pa.Table.from_pandas(pd.concat(parts), schema=CASE_SCHEMA, preserve_index=False)


def gaps_of(cases: pa.Table, draws: int = 300) -> pd.DataFrame:
    return generalisation.gaps(cases, generalisation.transfer(cases), draws)


def test_the_gap_compares_the_same_test_sets(make_rows: RowMaker) -> None:
    cells = [
        ("a", "m", "m", 0.98), ("a", "s", "s", 0.96), ("a", "m", "s", 0.90), ("a", "s", "m", 0.92),
        ("a", "m+s", "j", 0.10), ("b", "m", "s", 0.99),
    ]  # fmt: skip
    gaps = gaps_of(measured(make_rows, [(*names, {"c1": dice}) for *names, dice in cells]))
    assert list(gaps["system"]) == ["a"]
    met = gaps.loc[0, ["inside", "across_both", "gap", "both_ways"]].tolist()
    assert met == [pytest.approx(0.97), pytest.approx(0.91), pytest.approx(0.06), "m, s"]
    assert gaps.loc[0, ["gap_ci_low", "gap_ci_high"]].tolist() == pytest.approx([0.06, 0.06])


ONE_BOTH_WAYS_AND_TWO_ONCE = [
    ("unet", "jsrt", "jsrt", {"c1": 0.980, "c2": 0.970}),  # seen: 0.975
    ("unet", "montgomery", "jsrt", {"c1": 0.970, "c2": 0.960}),  # 0.965
    ("unet", "shenzhen", "jsrt", {"c1": 0.968, "c2": 0.966}),  # 0.967; jsrt unseen: 0.966
    ("unet", "jsrt", "montgomery", {"c1": 0.940, "c2": 0.950}),  # 0.945
    ("unet", "shenzhen", "montgomery", {"c1": 0.950, "c2": 0.952}),  # 0.951; montgomery: 0.948
    ("unet", "jsrt", "shenzhen", {"c1": 0.960, "c2": 0.944}),  # shenzhen: 0.952
]


def test_the_headline_holds_every_unseen_pair_and_each_hospital_alike(make_rows: RowMaker) -> None:
    """By hand: (0.966 + 0.948 + 0.952) / 3; the gap is jsrt's alone, 0.975 - 0.966."""
    row = gaps_of(measured(make_rows, ONE_BOTH_WAYS_AND_TWO_ONCE)).iloc[0]
    assert row["across"] == pytest.approx((0.966 + 0.948 + 0.952) / 3)
    assert (row["worst"], row["worst_on"]) == (pytest.approx(0.948), "montgomery")
    assert row["worst_ci_low"] <= row["worst"] <= row["worst_ci_high"]
    assert row["gap"] == pytest.approx(0.975 - 0.966)
    assert (row["hospitals"], row["both_ways"]) == ("jsrt, montgomery, shenzhen", "jsrt")
    assert row["pairs"].split(", ") == [
        "jsrt → montgomery", "jsrt → shenzhen", "montgomery → jsrt", "shenzhen → jsrt",
        "shenzhen → montgomery",
    ]  # fmt: skip


def test_the_page_names_the_sets_of_the_mean_and_of_the_gap(
    make_rows: RowMaker, tmp_path: Path
) -> None:
    cases = measured(make_rows, ONE_BOTH_WAYS_AND_TWO_ONCE)
    text = (write(tmp_path, cases, build(cases, draws=50), Meta("matrix", draws=50))) / PAGE
    page = text.read_text("utf-8")
    said = re.sub(r"<[^>]+>", "", page[page.index('<p class="verdict">') :].split("</p>")[0])
    assert "mean Dice 0.955 [" in said
    assert "over jsrt, montgomery, shenzhen, each counted alike" in said
    assert "at the worst of them, montgomery, 0.948 [" in said
    assert "met both ways (jsrt), that is 0.009 below" in said
    assert "(0.966 against 0.975)" in said


def test_patients_are_drawn_alike_on_both_sides(make_rows: RowMaker) -> None:
    """A gap that is the same in every patient has no width, however patients differ."""
    hard = np.random.default_rng(3).uniform(0.6, 1, 12)
    inside = {f"c{k}": float(v) for k, v in enumerate(hard)}
    across = {name: dice - 0.05 for name, dice in inside.items()}
    gaps = gaps_of(measured(make_rows, [("a", "m", "m", inside), ("a", "s", "m", across)]))
    row = gaps.iloc[0]
    assert row["across"] == pytest.approx(hard.mean() - 0.05)
    assert row["across_ci_high"] - row["across_ci_low"] > 0.05
    assert (row["gap_ci_low"], row["gap_ci_high"]) == pytest.approx((0.05, 0.05))


def test_without_a_test_set_met_both_ways_there_is_no_gap(make_rows: RowMaker) -> None:
    cells = [("a", "m", "s", {"c1": 0.9, "c2": 0.8}), ("b", "m", "s", {"c1": 0.7, "c2": 0.8})]
    gaps = gaps_of(measured(make_rows, cells))
    assert gaps["across"].tolist() == pytest.approx([0.85, 0.75])
    assert gaps["phantom"].tolist() == [False, False]
    assert gaps[["inside", "gap", "gap_ci_low"]].isna().all(axis=None)


def test_nothing_across_is_an_empty_table(make_rows: RowMaker) -> None:
    gaps = gaps_of(measured(make_rows, [("a", "m", "m", {"c1": 0.9})]))
    assert gaps.empty
    assert list(gaps.columns) == list(generalisation.GAP_COLUMNS)

"""Inside and across data sets: the same test sets on both sides, and how sure the gap is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from contract.rows import CASE_SCHEMA
from leaderboards.statistics import generalisation

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
    assert gaps.loc[0, ["inside", "across", "gap"]].tolist() == pytest.approx([0.97, 0.91, 0.06])
    assert gaps.loc[0, ["gap_ci_low", "gap_ci_high"]].tolist() == pytest.approx([0.06, 0.06])


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

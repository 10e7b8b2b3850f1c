"""Subgroups of patients: means, gaps and who is left out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from contract.rows import CASE_SCHEMA
from leaderboards.statistics import subgroups

RowMaker = Callable[..., pd.DataFrame]


def as_table(rows: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(rows, schema=CASE_SCHEMA, preserve_index=False)


def two_groups(make_rows: RowMaker, n_women: int = 6) -> pd.DataFrame:
    generator = np.random.default_rng(1)
    dices = {f"c{k:02d}": float(generator.uniform(0.8, 1)) for k in range(12)}
    rows = make_rows("unet", dices)
    return rows.assign(sex=["F"] * n_women + ["M"] * (12 - n_women))


def test_means_and_gaps(make_rows: RowMaker) -> None:
    rows = two_groups(make_rows)
    found = subgroups.compare_subgroups(as_table(rows), 300).set_index("group")
    women, men = rows["dice"][:6].mean(), rows["dice"][6:].mean()
    assert found.loc["F", "dice_mean"] == pytest.approx(women)
    assert found.loc["F", "gap"] == pytest.approx(women - men)
    assert found.loc["M", "gap"] == pytest.approx(men - women)
    assert found.loc["F", "gap_ci_low"] == pytest.approx(-found.loc["M", "gap_ci_high"])
    assert found.loc["F", "dice_ci_low"] < women < found.loc["F", "dice_ci_high"]
    assert list(found["n_patients"]) == [6, 6]


def test_order_of_rows_changes_nothing(make_rows: RowMaker) -> None:
    rows = two_groups(make_rows)
    shuffled = rows.sample(frac=1, random_state=3)
    one, other = (subgroups.compare_subgroups(as_table(r), 100) for r in (rows, shuffled))
    pd.testing.assert_frame_equal(one, other)


def test_small_and_single_groups_are_left_out(make_rows: RowMaker) -> None:
    assert subgroups.compare_subgroups(as_table(two_groups(make_rows, n_women=4)), 50).empty
    rows = two_groups(make_rows).assign(sex=None)
    assert subgroups.compare_subgroups(as_table(rows), 50).empty


def test_ages_and_findings_become_groups() -> None:
    ages = pd.Series(["12", "40", "59", "60", None, "adult"])
    assert subgroups.groups_of("age", ages).fillna("-").tolist() == [
        "under 40", "40 to 59", "40 to 59", "60 and over", "-", "-",
    ]  # fmt: skip
    findings = pd.Series(["normal", "bilateral PTB", "non-nodule", "malignant, carcinoma", None])
    assert subgroups.groups_of("finding", findings).fillna("-").tolist() == [
        "none", "any", "none", "any", "-",
    ]  # fmt: skip

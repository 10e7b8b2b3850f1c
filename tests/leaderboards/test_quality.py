"""The quality flag's power: by hand, and against scikit-learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from contract.rows import CASE_SCHEMA
from leaderboards.statistics import quality

RowMaker = Callable[..., pd.DataFrame]


def scored(*parts: pd.DataFrame, draws: int = 400) -> pd.DataFrame:
    cases = pa.Table.from_pandas(pd.concat(parts), schema=CASE_SCHEMA, preserve_index=False)
    return quality.find_poor(cases, draws)


def predictions(
    make_rows: RowMaker, dices: list[float], flagged: list[bool], **given: object
) -> pd.DataFrame:
    rows = make_rows("unet", {f"c{k:03d}": dice for k, dice in enumerate(dices)}, **given)
    return rows.assign(flagged=flagged, disagreement=[1 - dice for dice in dices])


def test_rates_by_hand(make_rows: RowMaker) -> None:
    dices = [0.5, 0.6, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99]
    flags = [True, True, False, True, False, False, False, False]
    row = scored(predictions(make_rows, dices, flags)).iloc[0]
    assert (row["n_predictions"], row["n_poor"], row["n_flagged"]) == (8, 3, 3)
    assert row["sensitivity"] == pytest.approx(2 / 3)
    assert row["specificity"] == pytest.approx(4 / 5)
    assert row["ppv"] == pytest.approx(2 / 3)
    for rate in quality.RATES:
        assert 0 <= row[f"{rate}_ci_low"] <= row[rate] <= row[f"{rate}_ci_high"] <= 1
    assert row["auroc"] == row["average_precision"] == 1.0


def test_without_a_poor_mask_there_is_nothing_to_find(make_rows: RowMaker) -> None:
    row = scored(predictions(make_rows, [0.95, 0.96, 0.97], [False, True, False])).iloc[0]
    undefined = ["sensitivity", "sensitivity_ci_low", "auroc", "average_precision"]
    assert row[undefined].isna().all()
    assert (row["specificity"], row["ppv"]) == pytest.approx((2 / 3, 0.0))


def test_curves_by_hand_where_warnings_tie(make_rows: RowMaker) -> None:
    rows = predictions(make_rows, [0.5, 0.85, 0.95, 0.97], [True, False, False, False])
    row = scored(rows.assign(disagreement=[0.4, 0.1, 0.1, 0.05])).iloc[0]
    assert row["auroc"] == pytest.approx(3.5 / 4)
    assert row["average_precision"] == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)


def test_each_seed_is_a_prediction_and_draws_keep_patients_together(make_rows: RowMaker) -> None:
    generator = np.random.default_rng(0)
    dices = list(generator.uniform(0.8, 1, 30))
    flags = [bool(f) for f in generator.random(30) < 0.4]
    one = predictions(make_rows, dices, flags)
    row = scored(one, one.assign(seed=1)).iloc[0]
    alone = scored(one).iloc[0]
    assert row["n_predictions"] == 60
    # Twins of the same masks tell nothing new: the interval stays as wide.
    for end in ("low", "high"):
        name = f"sensitivity_ci_{end}"
        assert row[name] == pytest.approx(alone[name], abs=1e-9)


def test_rows_without_a_flag_give_no_table(make_rows: RowMaker) -> None:
    found = scored(make_rows("unet", {"c1": 0.9}))
    assert found.empty
    assert list(found.columns) == list(quality.FLAG_COLUMNS)

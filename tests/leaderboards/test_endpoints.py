"""Bias and limits of agreement against SciPy, and what is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.stats

from contract.rows import CASE_SCHEMA
from leaderboards.statistics import endpoints

RowMaker = Callable[..., pd.DataFrame]
NAMES = [f"c{k:02d}" for k in range(40)]


def agreed(*parts: pd.DataFrame, draws: int = 200) -> pd.DataFrame:
    cases = pa.Table.from_pandas(pd.concat(parts), schema=CASE_SCHEMA, preserve_index=False)
    return endpoints.agree(cases, draws)


def hearts(make_rows: RowMaker, ratio: np.ndarray, reference: np.ndarray, **given: Any) -> Any:
    rows = make_rows("unet", dict.fromkeys(NAMES[: len(ratio)], 0.9), structure="heart", **given)
    return rows.assign(cardiothoracic_ratio=ratio, reference_cardiothoracic_ratio=reference)


def test_one_seed_gives_the_limits_of_the_textbook(make_rows: RowMaker) -> None:
    generator = np.random.default_rng(5)
    reference = generator.uniform(0.4, 0.6, 40)
    ratio = reference + generator.normal(0.01, 0.03, 40)
    row = agreed(hearts(make_rows, ratio, reference), draws=4000).iloc[0]
    difference = ratio - reference
    sd = difference.std(ddof=1)
    assert row["bias"] == pytest.approx(difference.mean())
    assert row["sd"] == pytest.approx(sd)
    assert row["loa_low"] == pytest.approx(difference.mean() - 1.96 * sd)
    assert row["loa_high"] == pytest.approx(difference.mean() + 1.96 * sd)
    assert row["reference_mean"] == pytest.approx(reference.mean())
    student = scipy.stats.t.interval(0.95, 39, difference.mean(), scipy.stats.sem(difference))
    assert (row["bias_ci_low"], row["bias_ci_high"]) == pytest.approx(student, abs=0.0015)
    # Bland & Altman 1986: the standard error of a limit is about sqrt(3 / n) SD.
    half = (row["loa_high_ci_high"] - row["loa_high_ci_low"]) / 2
    assert half == pytest.approx(1.96 * np.sqrt(3 / 40) * sd, rel=0.25)
    percentile = scipy.stats.bootstrap(
        (difference,), np.mean, n_resamples=4000, method="percentile", random_state=1
    ).confidence_interval
    assert (row["bias_ci_low"], row["bias_ci_high"]) == pytest.approx(tuple(percentile), abs=0.001)


def test_seeds_do_not_narrow_the_limits(make_rows: RowMaker) -> None:
    """Two trainings that err by +d and -d have no bias, and limits of single networks."""
    reference = np.linspace(0.4, 0.6, 10)
    parts = [
        hearts(make_rows, reference + sign * 0.02, reference, seed=seed)
        for seed, sign in enumerate((1, -1))
    ]
    row = agreed(*parts).iloc[0]
    assert row["bias"] == pytest.approx(0, abs=1e-12)
    assert row["sd"] == pytest.approx(0.02 * np.sqrt(10 / 9))
    assert (row["n_cases"], row["n_patients"]) == (10, 10)


def test_what_cannot_be_measured_is_counted(make_rows: RowMaker) -> None:
    ratio = np.array([0.5, np.nan, 0.52, 0.48])
    row = agreed(hearts(make_rows, ratio, np.full(4, 0.5))).iloc[0]
    assert (row["n_cases"], row["n_missing"]) == (3, 1)
    assert row["bias"] == pytest.approx(0)


def test_areas_are_shares_of_their_image_and_volumes_stay(make_rows: RowMaker) -> None:
    small = make_rows("unet", {"c1": 0.9}, height=10, width=10, area_px=30.0,
                      reference_area_px=20.0)  # fmt: skip
    large = make_rows(
        "unet", {"c2": 0.9}, height=100, width=100, area_px=3000.0, reference_area_px=2000.0,
        area_mm2=300.0, reference_area_mm2=200.0,
    )  # fmt: skip
    found = agreed(small, large).set_index("endpoint")
    assert found.loc["area_share", ["bias", "reference_mean"]].tolist() == pytest.approx([0.1, 0.2])
    assert found.loc["area_mm2", "n_cases"] == 1
    assert np.isnan(found.loc["area_mm2", "sd"])
    scan = make_rows("unet", {"s1": 0.9, "s2": 0.9}, unit="scan", scan_id="s").assign(
        volume_ml=[4000.0, 5200.0], reference_volume_ml=[4100.0, 5000.0]
    )
    row = agreed(scan).iloc[0]
    assert (row["endpoint"], row["unit"]) == ("volume_ml", "scan")
    assert row["loa_high"] - row["loa_low"] == pytest.approx(2 * 1.96 * np.std([-100, 200], ddof=1))


def test_nothing_measured_is_an_empty_table(make_rows: RowMaker) -> None:
    found = agreed(make_rows("unet", {"c1": 0.9}))
    assert found.empty
    assert list(found.columns) == list(endpoints.AGREEMENT_COLUMNS)

"""Do masks measure what people measure on them? Bias and limits of agreement with the reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from contract.rows import RANKED_REFERENCES, RANKED_UNITS, TABLE_KEYS
from leaderboards.statistics import intervals
from leaderboards.statistics.intervals import Floats

NORMAL_QUANTILE = 1.96
"""Limits of agreement hold 95 % of normal differences (Bland & Altman 1986)."""
AGREEMENT_COLUMNS = (
    *TABLE_KEYS, "system", "endpoint", "measured_in", "n_cases", "n_patients", "n_missing",
    "reference_mean", "bias", "bias_ci_low", "bias_ci_high", "sd",
    "loa_low", "loa_low_ci_low", "loa_low_ci_high",
    "loa_high", "loa_high_ci_low", "loa_high_ci_high",
)  # fmt: skip


@dataclass(frozen=True)
class Endpoint:
    """A measurement on a mask.

    Attributes:
        name: in the column ``endpoint``.
        measured_in: its unit.
        column: of ``cases.parquet``; the reference's has the prefix ``reference_``.
        of_image: whether it is divided by the image's number of pixels.
    """

    name: str
    measured_in: str
    column: str
    of_image: bool = False


MEASUREMENTS = (
    Endpoint("cardiothoracic_ratio", "ratio", "cardiothoracic_ratio"),
    Endpoint("area_mm2", "mm²", "area_mm2"),
    Endpoint("area_share", "share of the image", "area_px", of_image=True),
    Endpoint("volume_ml", "ml", "volume_ml"),
)
"""Pixels of different grids do not add up: an area counts as a share of its image."""


def agree(cases: pa.Table, draws: int = intervals.FEWER_DRAWS) -> pd.DataFrame:
    """Compare measurements on predictions with those on references, in every ranked table.

    The difference is prediction minus reference. ``bias`` is its mean over cases, seeds averaged
    within a case. ``sd`` is that of one training's predictions: the spread between cases and that
    between seeds within a case together (with one seed, the ordinary sample deviation), since
    averaging seeds first would promise an agreement that no single network has (Bland & Altman
    1999, section 5). The limits are ``bias`` ± 1.96 ``sd``; every interval is a 95 % percentile
    interval over draws of patients and seeds.

    Args:
        cases: rows in ``contract.rows.CASE_SCHEMA``.
        draws: number of bootstrap draws.

    Returns:
        one row a table, system and endpoint that its references have, in ``AGREEMENT_COLUMNS``;
        ``n_missing`` counts cases whose prediction, in some seed, could not be measured (no
        heart found), which the statistics leave out.
    """
    names = [name for e in MEASUREMENTS for name in (e.column, f"reference_{e.column}")]
    wanted = [*TABLE_KEYS, "system", "seed", "patient_id", *intervals.CASE_KEY, "height", "width"]
    frame: pd.DataFrame = cases.select(list(dict.fromkeys([*wanted, *names]))).to_pandas()
    ranked = frame["reference"].isin(RANKED_REFERENCES) & frame["unit"].isin(RANKED_UNITS)
    told = frame[[f"reference_{e.column}" for e in MEASUREMENTS]].notna().any(axis=1)
    parts = [
        dict(zip(TABLE_KEYS, key, strict=True)) | row
        for key, rows in frame[ranked & told].groupby(list(TABLE_KEYS), sort=True)
        for endpoint in MEASUREMENTS
        for row in _one_endpoint(rows, endpoint, draws)
    ]
    return pd.DataFrame(parts, columns=list(AGREEMENT_COLUMNS))


def _one_endpoint(rows: pd.DataFrame, endpoint: Endpoint, draws: int) -> Iterator[dict[str, Any]]:
    scale = rows["height"] * rows["width"] if endpoint.of_image else 1.0
    reference = (rows[f"reference_{endpoint.column}"] / scale).astype(float)
    prediction = (rows[endpoint.column] / scale).astype(float)
    rows = rows[reference.notna()].assign(
        reference_value=reference, difference=prediction - reference
    )
    if rows["difference"].isna().all():
        return
    rows = rows.assign(square=rows["difference"] ** 2)
    scores = intervals.arrange(rows, ("difference", "square", "reference_value"))
    scored = rows[rows["difference"].isna()].drop_duplicates(["system", *intervals.CASE_KEY])
    missing = scored.groupby("system").size()
    drawn = intervals.bootstrap_means(scores, draws)
    means = intervals.nan_mean(scores.case_values, axis=1)
    present = ~np.isnan(scores.case_values[..., 0])
    n_cases = present.sum(axis=1)
    patients = np.logical_or.reduceat(present, scores.first_of_patient, axis=1).sum(axis=1)
    bias, deviation = means[:, 0], _deviation(means[:, 0], means[:, 1], n_cases)
    drawn_bias = drawn[..., 0]
    drawn_deviation = _deviation(drawn_bias, drawn[..., 1], n_cases)
    limits = {
        "bias": (bias, drawn_bias),
        "loa_low": tuple(b - NORMAL_QUANTILE * d
                         for b, d in ((bias, deviation), (drawn_bias, drawn_deviation))),
        "loa_high": tuple(b + NORMAL_QUANTILE * d
                          for b, d in ((bias, deviation), (drawn_bias, drawn_deviation))),
    }  # fmt: skip
    limits_of = {name: intervals.percentile_interval(d) for name, (_, d) in limits.items()}
    for k, system in enumerate(scores.systems):
        yield {
            "system": system,
            "endpoint": endpoint.name,
            "measured_in": endpoint.measured_in,
            "n_cases": int(n_cases[k]),
            "n_patients": int(patients[k]),
            "n_missing": int(missing.get(system, 0)),
            "reference_mean": means[k, 2],
            "sd": deviation[k],
            **{name: value[k] for name, (value, _) in limits.items()},
            **{f"{name}_ci_low": low[k] for name, (low, _) in limits_of.items()},
            **{f"{name}_ci_high": high[k] for name, (_, high) in limits_of.items()},
        }


def _deviation(mean: Floats, square: Floats, n: intervals.Integers) -> Floats:
    """Standard deviation (n - 1) from the means of values and of their squares; NaN for n < 2."""
    variance = np.maximum(square - mean**2, 0.0) * n
    deviation: Floats = np.sqrt(
        np.divide(variance, n - 1, out=np.full(variance.shape, np.nan), where=n > 1)
    )
    return deviation

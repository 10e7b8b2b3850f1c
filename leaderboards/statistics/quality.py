"""How well what is known without a reference finds poor masks: the quality flag's own score."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import sklearn
from sklearn.metrics import average_precision_score, roc_auc_score

from contract.rows import RANKED_REFERENCES, RANKED_UNITS, TABLE_KEYS
from leaderboards.statistics import intervals
from leaderboards.statistics.intervals import Floats

POOR = 0.90
"""A mask with a Dice below this should have been flagged."""
RATES = {
    "sensitivity": ("true_positive", "false_negative"),
    "specificity": ("true_negative", "false_positive"),
    "ppv": ("true_positive", "false_positive"),
}
"""Each rate is the first count over the sum of both."""
FLAG_COLUMNS = (
    *TABLE_KEYS, "system", "n_predictions", "n_poor", "n_flagged",
    *(f"{rate}{suffix}" for rate in RATES for suffix in ("", "_ci_low", "_ci_high")),
    "auroc", "average_precision",
)  # fmt: skip
_COUNTS = ("true_positive", "false_positive", "false_negative", "true_negative")


def find_poor(cases: pa.Table, draws: int = intervals.FEWER_DRAWS) -> pd.DataFrame:
    """Score the flag, and the disagreement behind it, against the Dice of the same predictions.

    A prediction is one case in one seed, since each mask is flagged by itself; it is poor with
    a Dice below ``POOR``. Rates have 95 % percentile intervals over draws of patients and seeds.

    Args:
        cases: rows in ``contract.rows.CASE_SCHEMA``.
        draws: number of bootstrap draws.

    Returns:
        one row a ranked table and system with flags, in ``FLAG_COLUMNS``. A rate over nothing is
        null, as are ``auroc`` and ``average_precision`` where no prediction is poor, or all are.
    """
    wanted = [*TABLE_KEYS, "system", "seed", "patient_id", *intervals.CASE_KEY]
    columns = dict.fromkeys([*wanted, "dice", "disagreement", "flagged"])
    told = cases.select(list(columns)).filter(cases["flagged"].is_valid())
    frame: pd.DataFrame = told.to_pandas()
    ranked = frame["reference"].isin(RANKED_REFERENCES) & frame["unit"].isin(RANKED_UNITS)
    with sklearn.config_context(skip_parameter_validation=True):  # a third of each score's time
        parts = [
            dict(zip(TABLE_KEYS, key, strict=True)) | row
            for key, rows in frame[ranked].groupby(list(TABLE_KEYS), sort=True)
            for row in _one_table(rows, draws)
        ]
    return pd.DataFrame(parts, columns=list(FLAG_COLUMNS))


def _one_table(rows: pd.DataFrame, draws: int) -> Iterator[dict[str, Any]]:
    poor = rows["dice"].round(12) < POOR
    flagged = rows["flagged"].astype(bool)
    rows = rows.assign(
        poor=poor,
        flagged=flagged,
        true_positive=(poor & flagged).astype(float),
        false_positive=(~poor & flagged).astype(float),
        false_negative=(poor & ~flagged).astype(float),
        true_negative=(~poor & ~flagged).astype(float),
    )
    scores = intervals.arrange(rows, _COUNTS)
    drawn = dict(zip(_COUNTS, np.moveaxis(intervals.bootstrap_means(scores, draws), -1, 0),
                     strict=True))  # fmt: skip
    ranges = {
        rate: intervals.percentile_interval(_share(drawn[hit], drawn[miss]))
        for rate, (hit, miss) in RATES.items()
    }
    by_system = rows.groupby("system").indices
    columns = {name: rows[name].to_numpy() for name in (*_COUNTS, "poor", "flagged")}
    warnings = rows["disagreement"].to_numpy(float, na_value=np.nan)
    for k, system in enumerate(scores.systems):
        own = {name: column[by_system[system]] for name, column in columns.items()}
        counts = {name: np.array([own[name].sum()]) for name in _COUNTS}
        warning = warnings[by_system[system]]
        known = ~np.isnan(warning)
        positive, warning = own["poor"][known], warning[known]
        both = positive.any() and not positive.all()
        found: dict[str, Any] = {
            "system": system,
            "n_predictions": len(own["poor"]),
            "n_poor": int(own["poor"].sum()),
            "n_flagged": int(own["flagged"].sum()),
            "auroc": roc_auc_score(positive, warning) if both else np.nan,
            "average_precision": average_precision_score(positive, warning) if both else np.nan,
        }
        for rate, (hit, miss) in RATES.items():
            value = float(_share(counts[hit], counts[miss])[0])
            defined = not np.isnan(value)
            found[rate] = value
            found[f"{rate}_ci_low"] = ranges[rate][0][k] if defined else np.nan
            found[f"{rate}_ci_high"] = ranges[rate][1][k] if defined else np.nan
        yield found


def _share(hit: Floats, miss: Floats) -> Floats:
    share: Floats = np.divide(
        hit, hit + miss, out=np.full(hit.shape, np.nan), where=hit + miss > 1e-12
    )
    return share

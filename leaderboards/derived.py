"""Rows that no cell wrote: what papers average over classes, from each case's own rows."""

from __future__ import annotations

import pandas as pd

from contract.rows import CELL_COLUMNS, ENDPOINTS, METRICS, QUALITY
from contract.words import CLASS_MEAN

_CASE = [*CELL_COLUMNS, "test_on", "case_id", "reference", "unit", "phantom"]


def class_means(cases: pd.DataFrame) -> pd.DataFrame:
    """Return a row ``lungs_and_heart`` for each image that has rows of both.

    Every metric is the mean of the two structures', undefined where one of them is. Measurements
    of masks and signs of quality belong to a mask, and are null. The row counts as failed where
    one of the two has failed: ``empty_prediction`` then differs from ``empty_reference``.

    Args:
        cases: rows in ``contract.rows.CASE_SCHEMA``.
    """
    images = cases[cases["unit"] == "image"]
    lungs, heart = (
        images[images["structure"] == name].set_index(_CASE) for name in ("lungs", "heart")
    )
    both = lungs.index.intersection(heart.index, sort=False)
    lungs, heart = lungs.loc[both], heart.loc[both]
    metrics = list(METRICS)
    means = (lungs[metrics].astype(float) + heart[metrics].astype(float)) / 2
    failed = [side["empty_prediction"] != side["empty_reference"] for side in (lungs, heart)]
    measured = [f"{side}{name}" for name in ENDPOINTS for side in ("", "reference_")]
    columns = {
        "structure": CLASS_MEAN,
        **{metric: means[metric] for metric in metrics},
        **dict.fromkeys((*measured, *QUALITY)),
        "empty_prediction": failed[0] | failed[1],
        "empty_reference": False,
    }
    return lungs.assign(**columns).reset_index()[list(cases.columns)]

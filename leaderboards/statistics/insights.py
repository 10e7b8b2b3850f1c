"""What the figures show beyond the leaderboard's rows: quantiles, pairs, ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.stats

from contract.rows import RANKED_REFERENCES, RANKED_UNITS, TABLE_KEYS
from leaderboards.statistics import comparisons, intervals

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
SPREAD_METRICS = ("dice", "hausdorff95_px")
_COLUMNS = (
    "system", "seed", "patient_id", "train_on", *intervals.CASE_KEY, *SPREAD_METRICS,
    "empty_reference",
)  # fmt: skip

RANK_COLUMNS = (
    "system", "rank", "rank_low", "rank_high", "share_first", "mean_rank", "rank_by_mean_rank",
)  # fmt: skip
TableKey = tuple[Any, ...]
"""Values of ``contract.rows.TABLE_KEYS``."""


@dataclass(frozen=True)
class Insight:
    """What one table's cases say beside its means.

    Attributes:
        quantiles: by metric, a row a system with the columns ``QUANTILES``.
        ranks: ``comparisons.rank_stability`` (mean, then rank) with ``mean_rank``, the mean over
            cases of a system's rank in each, and ``rank_by_mean_rank`` (rank, then mean); None
            where nothing is ranked.
        pairs: ``comparisons.differences``; None where fewer than two systems are ranked.
    """

    quantiles: dict[str, pd.DataFrame]
    ranks: pd.DataFrame | None = None
    pairs: pd.DataFrame | None = None


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame by column name."""
    names, rows = list(frame.columns), frame.to_numpy(dtype=object).tolist()
    return [dict(zip(names, row, strict=True)) for row in rows]


def of_tables(cases: pa.Table, draws: int = intervals.DRAWS) -> dict[TableKey, Insight]:
    """Look into every table of a leaderboard.

    Args:
        cases: rows in ``contract.rows.CASE_SCHEMA``.
        draws: number of bootstrap draws.
    """
    keys = cases.select(list(TABLE_KEYS)).to_pandas()
    known = cases.select(list(_COLUMNS))
    insights = {}
    for key, places in keys.groupby(list(TABLE_KEYS), sort=True).indices.items():
        rows = known.take(pa.array(places)).to_pandas()
        insights[key] = _insight(dict(zip(TABLE_KEYS, key, strict=True)), rows, draws)
    return insights


def all_pairs(found: Mapping[TableKey, Insight]) -> pd.DataFrame:
    """``comparisons.differences`` of every table, with the columns ``TABLE_KEYS`` before them."""
    return _joined({key: insight.pairs for key, insight in found.items()}, comparisons.PAIR_COLUMNS)


def all_ranks(found: Mapping[TableKey, Insight]) -> pd.DataFrame:
    """Every table's ``ranks``, with the columns ``TABLE_KEYS`` before them."""
    return _joined({key: insight.ranks for key, insight in found.items()}, RANK_COLUMNS)


def _joined(
    parts: Mapping[TableKey, pd.DataFrame | None], columns: tuple[str, ...]
) -> pd.DataFrame:
    wanted = [*TABLE_KEYS, *columns]
    keyed = [
        part.assign(**dict(zip(TABLE_KEYS, key, strict=True)))[wanted]
        for key, part in parts.items()
        if part is not None
    ]
    return pd.concat(keyed, ignore_index=True) if keyed else pd.DataFrame(columns=wanted)


def _insight(keys: dict[str, Any], rows: pd.DataFrame, draws: int) -> Insight:
    scored = rows[~rows["empty_reference"]] if keys["unit"] == "slice" else rows
    scores = intervals.arrange(scored, SPREAD_METRICS)
    quantiles = {metric: _quantiles(scores, place) for place, metric in enumerate(SPREAD_METRICS)}
    if keys["reference"] not in RANKED_REFERENCES or keys["unit"] not in RANKED_UNITS:
        return Insight(quantiles)
    paired = comparisons.pair(scores.only("dice"), draws=draws)
    if len(paired.systems) < 2:
        return Insight(quantiles)
    dice = pd.DataFrame(scores.case_values[..., 0], index=list(scores.systems))
    ranks = comparisons.rank_stability(paired)
    ranks["mean_rank"] = _case_ranks(dice.loc[list(paired.systems)].to_numpy())
    ranks["rank_by_mean_rank"] = intervals.min_ranks(-ranks["mean_rank"].to_numpy())
    return Insight(quantiles, ranks, comparisons.differences(paired))


def _quantiles(scores: intervals.Scores, place: int) -> pd.DataFrame:
    values = scores.case_values[..., place]
    rows = [
        np.quantile(own[~np.isnan(own)], QUANTILES)
        if not np.isnan(own).all()
        else np.full(len(QUANTILES), np.nan)
        for own in values
    ]
    return pd.DataFrame(rows, index=list(scores.systems), columns=list(QUANTILES))


def _case_ranks(dice: intervals.Floats) -> intervals.Floats:
    """Mean over cases of the rank in each case, ties sharing their middle, (S,)."""
    ranks: intervals.Floats = scipy.stats.rankdata(-np.round(dice, 12), axis=0)
    means: intervals.Floats = ranks.mean(axis=1)
    return means

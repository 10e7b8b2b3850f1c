"""What the figures show beyond the leaderboard's rows: quantiles, pairs, ranks, generalisation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.stats

from contract.rows import RANKED_REFERENCES, RANKED_UNITS, TABLE_KEYS
from leaderboards import comparisons, statistics

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
SPREAD_METRICS = ("dice", "hausdorff95_px")
_COLUMNS = (
    "system", "seed", "patient_id", "train_on", *statistics.CASE_KEY, *SPREAD_METRICS,
    "empty_reference",
)  # fmt: skip

TableKey = tuple[Any, ...]
"""Values of ``contract.rows.TABLE_KEYS``."""


@dataclass(frozen=True)
class Insight:
    """What one table's cases say beside its means.

    Attributes:
        quantiles: by metric, a row a system with the columns ``QUANTILES``.
        ranks: ``comparisons.rank_stability`` with ``mean_rank``, the mean over cases of a
            system's rank in each; None where nothing is ranked.
        pairs: ``comparisons.differences``; None where fewer than two systems are ranked.
    """

    quantiles: dict[str, pd.DataFrame]
    ranks: pd.DataFrame | None = None
    pairs: pd.DataFrame | None = None


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame by column name."""
    return [dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False)]


def gather(cases: pa.Table, draws: int = statistics.DRAWS) -> dict[TableKey, Insight]:
    """Look into every table of a leaderboard.

    Args:
        cases: rows in ``contract.rows.CASE_SCHEMA``.
        draws: number of bootstrap draws.
    """
    keys = cases.select(list(TABLE_KEYS)).to_pandas()
    insights = {}
    for key, places in keys.groupby(list(TABLE_KEYS), sort=True).indices.items():
        rows = cases.select(list(_COLUMNS)).take(pa.array(places)).to_pandas()
        insights[key] = _insight(dict(zip(TABLE_KEYS, key, strict=True)), rows, draws)
    return insights


def all_pairs(found: Mapping[TableKey, Insight]) -> pd.DataFrame:
    """``comparisons.differences`` of every table, with the columns ``TABLE_KEYS`` before them."""
    parts = [
        insight.pairs.assign(**dict(zip(TABLE_KEYS, key, strict=True)))
        for key, insight in found.items()
        if insight.pairs is not None
    ]
    if not parts:
        return pd.DataFrame(columns=[*TABLE_KEYS])
    pairs = pd.concat(parts, ignore_index=True)
    return pairs[[*TABLE_KEYS, *(name for name in pairs.columns if name not in TABLE_KEYS)]]


def _insight(keys: dict[str, Any], rows: pd.DataFrame, draws: int) -> Insight:
    scored = rows[~rows["empty_reference"]] if keys["unit"] == "slice" else rows
    scores = statistics.arrange(scored, SPREAD_METRICS)
    quantiles = {metric: _quantiles(scores, place) for place, metric in enumerate(SPREAD_METRICS)}
    if keys["reference"] not in RANKED_REFERENCES or keys["unit"] not in RANKED_UNITS:
        return Insight(quantiles)
    paired = comparisons.pair(statistics.arrange(scored, ("dice",)), draws=draws)
    if len(paired.systems) < 2:
        return Insight(quantiles)
    dice = pd.DataFrame(scores.case_values[..., 0], index=list(scores.systems))
    ranks = comparisons.rank_stability(paired)
    ranks["mean_rank"] = _case_ranks(dice.loc[list(paired.systems)].to_numpy())
    return Insight(quantiles, ranks, comparisons.differences(paired))


def _quantiles(scores: statistics.Scores, place: int) -> pd.DataFrame:
    values = scores.case_values[..., place]
    rows = [
        np.quantile(own[~np.isnan(own)], QUANTILES)
        if not np.isnan(own).all()
        else np.full(len(QUANTILES), np.nan)
        for own in values
    ]
    return pd.DataFrame(rows, index=list(scores.systems), columns=list(QUANTILES))


def _case_ranks(dice: statistics.Floats) -> statistics.Floats:
    """Mean over cases of the rank in each case, ties sharing their middle, (S,)."""
    ranks: statistics.Floats = scipy.stats.rankdata(-np.round(dice, 12), axis=0)
    means: statistics.Floats = ranks.mean(axis=1)
    return means


def transfer(cases: pa.Table, systems: Iterable[str] | None = None) -> pd.DataFrame:
    """Mean Dice of the lungs by system, training set and test set.

    Only plain masks scored by image or scan count. Where several protocols train and test on
    the same sets (variants, whose names carry a suffix), the shortest name stands for them.

    Returns:
        columns ``system protocol train_on test_on dice n phantom``; seeds are averaged within
        a case, cases then.
    """
    names = ["system", "protocol", "train_on", "test_on", "case_id", "scan_id", "phantom"]
    filters = ["structure", "reference", "unit"]
    frame: pd.DataFrame = cases.select([*names, *filters, "dice"]).to_pandas()
    kept = (frame["structure"] == "lungs") & (frame["reference"] == "plain")
    frame = frame[kept & frame["unit"].isin(RANKED_UNITS) & frame["train_on"].notna()]
    if systems is not None:
        frame = frame[frame["system"].isin(list(systems))]
    of_case = frame.groupby(names, dropna=False, sort=True)["dice"].mean().reset_index()
    cell = ["system", "protocol", "train_on", "test_on", "phantom"]
    means = of_case.groupby(cell, sort=True)["dice"].agg(["mean", "size"]).reset_index()
    means = means.rename(columns={"mean": "dice", "size": "n"})
    means = means.assign(_length=means["protocol"].str.len())
    means = means.sort_values([*cell[:1], *cell[2:], "_length", "protocol"])
    first = means.drop_duplicates(["system", "train_on", "test_on", "phantom"])
    return first.drop(columns="_length").reset_index(drop=True)


def generalisation(transferred: pd.DataFrame) -> pd.DataFrame:
    """Each system's mean Dice on data sets that it trained on and on others, and the gap.

    Only systems measured on all pairs of sets that the most widely measured one has are kept,
    and only test sets met both ways, so that all means are over the same cases; where no
    test set is met both ways, ``inside`` and ``gap`` are null.

    Args:
        transferred: what ``transfer`` returned.

    Returns:
        columns ``system inside across gap``, by falling ``across``.
    """
    frame = transferred.assign(pair=transferred["train_on"] + " → " + transferred["test_on"])
    frame["within"] = [
        test in train.split("+")
        for train, test in zip(frame["train_on"], frame["test_on"], strict=True)
    ]
    if frame.empty or frame["within"].all():
        return pd.DataFrame(columns=["system", "inside", "across", "gap"])
    own = frame.groupby("system")["pair"].agg(set)
    wanted = max(own, key=len)
    frame = frame[frame["system"].isin([name for name, has in own.items() if has >= wanted])]
    frame = frame[frame["pair"].isin(wanted)]
    both = frame.groupby("test_on")["within"].nunique()
    if (both == 2).any():
        frame = frame[frame["test_on"].map(both) == 2]
    of_set = frame.groupby(["system", "within", "test_on"])["dice"].mean()
    mean = of_set.groupby(["system", "within"]).mean().unstack().reindex(columns=[True, False])
    gaps = pd.DataFrame({"system": mean.index, "inside": mean[True].to_numpy()})
    if not (both == 2).any():
        gaps["inside"] = np.nan
    gaps["across"] = mean[False].to_numpy()
    gaps["gap"] = gaps["inside"] - gaps["across"]
    return gaps.sort_values(["across", "system"], ascending=[False, True], ignore_index=True)

"""Who is served worse: mean Dice by subgroup of patients, and the gap between the subgroups."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from contract.rows import RANKED_REFERENCES, RANKED_UNITS, SUBGROUPS, TABLE_KEYS
from leaderboards.statistics import intervals
from leaderboards.statistics.intervals import Flags, Floats, Scores

SMALLEST = 5
"""Patients that a subgroup needs: with fewer, an interval says nothing."""
AGES = (0.0, 40.0, 60.0, np.inf)
SUBGROUP_COLUMNS = (
    *TABLE_KEYS, "system", "division", "group", "n_cases", "n_patients", "dice_mean",
    "dice_ci_low", "dice_ci_high", "gap", "gap_ci_low", "gap_ci_high",
)  # fmt: skip


def compare_subgroups(cases: pa.Table, draws: int = intervals.FEWER_DRAWS) -> pd.DataFrame:
    """Compare the subgroups of every ranked table, for every system.

    Patients are drawn as in the leaderboard, with the same draws for all groups, seeds too.
    ``gap`` is a group's mean minus the mean over all other cases of the same division, so that a
    negative gap says that the group is served worse.

    Args:
        cases: rows in ``contract.rows.CASE_SCHEMA``.
        draws: number of bootstrap draws.

    Returns:
        one row a table, system, division (``finding``, ``sex``, …) and group, in
        ``SUBGROUP_COLUMNS``; groups of fewer than ``SMALLEST`` patients, and divisions of one
        group, are left out.
    """
    known = [name for name in SUBGROUPS if cases[name].null_count < cases.num_rows]
    wanted = [*TABLE_KEYS, "system", "seed", "patient_id", *intervals.CASE_KEY, "dice", *known]
    frame: pd.DataFrame = cases.select(list(dict.fromkeys(wanted))).to_pandas()
    ranked = frame["reference"].isin(RANKED_REFERENCES) & frame["unit"].isin(RANKED_UNITS)
    parts = [
        dict(zip(TABLE_KEYS, key, strict=True)) | row
        for key, rows in (frame[ranked].groupby(list(TABLE_KEYS), sort=True) if known else ())
        for row in _one_table(rows, known, draws)
    ]
    return pd.DataFrame(parts, columns=list(SUBGROUP_COLUMNS))


def groups_of(division: str, values: pd.Series) -> pd.Series:
    """The group of each case; null where it cannot be told.

    Ages in years become bands, and findings, whose words differ between data sets, ``none`` (normal
    or without a nodule) or ``any``.
    """
    if division == "finding":
        none = values.str.lower().str.match("normal|non-nodule|no finding")
        words = none.map({True: "none", False: "any"}).astype(object)
        return words.where(values.notna(), None)
    if division != "age":
        return values
    years = pd.to_numeric(values, errors="coerce")
    names = [_band(low, high) for low, high in itertools.pairwise(AGES)]
    return pd.cut(years, list(AGES), right=False, labels=names).astype(object)


def _band(low: float, high: float) -> str:
    if not low:
        return f"under {high:.0f}"
    return f"{low:.0f} and over" if np.isinf(high) else f"{low:.0f} to {high - 1:.0f}"


def _one_table(rows: pd.DataFrame, known: list[str], draws: int) -> Iterator[dict[str, Any]]:
    scores = intervals.arrange(rows, ("dice",))
    key = list(intervals.CASE_KEY)
    told = rows[[*key, *known]].drop_duplicates(key)
    told = scores.cases[key].merge(told, on=key, how="left", validate="one_to_one")
    parts = [part for name in known for part in _parts(scores, name, groups_of(name, told[name]))]
    if not parts:
        return
    masks = np.unique([mask for part in parts for mask in (part.inside, part.outside)], axis=0)
    place = {mask.tobytes(): k for k, mask in enumerate(masks)}
    means, drawn = _means(scores, masks, draws)
    for part in parts:
        inside, outside = place[part.inside.tobytes()], place[part.outside.tobytes()]
        low, high = intervals.percentile_interval(drawn[..., inside])
        gap_low, gap_high = intervals.percentile_interval(drawn[..., inside] - drawn[..., outside])
        for k, system in enumerate(scores.systems):
            yield {
                "system": system,
                "division": part.division,
                "group": part.group,
                "n_cases": int(part.inside.sum()),
                "n_patients": _patients(scores, part.inside),
                "dice_mean": means[k, inside],
                "dice_ci_low": low[k],
                "dice_ci_high": high[k],
                "gap": means[k, inside] - means[k, outside],
                "gap_ci_low": gap_low[k],
                "gap_ci_high": gap_high[k],
            }


@dataclass(frozen=True)
class _Part:
    """A group of a division: its cases and all others of the division, each (C,)."""

    division: str
    group: str
    inside: Flags
    outside: Flags


def _parts(scores: Scores, division: str, group: pd.Series) -> list[_Part]:
    member = {name: (group == name).to_numpy(bool) for name in sorted(group.dropna().unique())}
    member = {name: kept for name, kept in member.items() if _patients(scores, kept) >= SMALLEST}
    if len(member) < 2:
        return []
    told = np.logical_or.reduce(list(member.values()))
    return [_Part(division, name, kept, told & ~kept) for name, kept in member.items()]


def _patients(scores: Scores, kept: Flags) -> int:
    return int(np.logical_or.reduceat(kept, scores.first_of_patient).sum())


def _means(scores: Scores, masks: Flags, draws: int) -> tuple[Floats, Floats]:
    """Mean Dice over each of G sets of cases, (S, G), and bootstrapped, (draws, S, G).

    Cases outside a set are undefined rather than absent, so that all sets see the same draws.
    """
    values = np.where(masks.T[None, None], scores.values, np.nan)
    sets = replace(scores, metrics=tuple(f"set {k}" for k in range(len(masks))), values=values)
    return intervals.nan_mean(sets.case_values, axis=1), intervals.bootstrap_means(sets, draws)

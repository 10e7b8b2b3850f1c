"""What each critic of a suite of pairs adds to its generator alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
import pyarrow as pa

from contract.cell_record import CellRecord
from contract.rows import TABLE_KEYS
from leaderboards.statistics import comparisons, intervals

CRITIC_COLUMNS = (
    "system", "baseline", "difference", "ci_low", "ci_high", "n_cases", "n_patients", "n_seeds",
    "practically_equal",
)  # fmt: skip
_NEEDED = (*TABLE_KEYS, "system", "seed", "patient_id", *intervals.CASE_KEY, "dice",
           "empty_reference")  # fmt: skip


def effects(
    cases: pa.Table, cells: Iterable[CellRecord], draws: int = intervals.DRAWS
) -> pd.DataFrame:
    """Compare each pair that has a critic with the same generator without one.

    Only pairs whose record names a ``baseline`` are compared: nothing else sets the two apart. They
    are paired by case and seed; seeds that one of them lacks are left out.

    Args:
        cases: rows in ``contract.rows.CASE_SCHEMA``.
        cells: the records of the cells behind them.
        draws: number of bootstrap draws.

    Returns:
        one row a table and pair, in ``TABLE_KEYS`` and ``CRITIC_COLUMNS``; empty for suites of
        other kinds.
    """
    against = {
        (cell.protocol, cell.system): cell.baseline
        for cell in cells
        if cell.is_done and cell.baseline
    }
    columns = [*TABLE_KEYS, *CRITIC_COLUMNS]
    if not against:
        return pd.DataFrame(columns=columns)
    frame = cases.select(list(_NEEDED)).to_pandas()
    found = []
    for key, rows in frame.groupby(list(TABLE_KEYS), sort=True):
        keys = dict(zip(TABLE_KEYS, key, strict=True))
        scored = rows[~rows["empty_reference"]] if keys["unit"] == "slice" else rows
        for system in sorted(scored["system"].unique()):
            baseline = against.get((keys["protocol"], system))
            told = _effect(scored, system, baseline, draws) if baseline else None
            found += [{**keys, **told}] if told else []
    return pd.DataFrame(found, columns=columns)


def _effect(rows: pd.DataFrame, system: str, baseline: str, draws: int) -> dict[str, Any] | None:
    seeds = [set(rows.loc[rows["system"] == name, "seed"]) for name in (system, baseline)]
    common = seeds[0] & seeds[1]
    two = rows[rows["system"].isin([system, baseline]) & rows["seed"].isin(common)]
    if not common:
        return None
    scores = intervals.arrange(two, ("dice",))
    paired = comparisons.pair(scores, draws=draws)
    if len(paired.systems) < 2:
        return None
    first, second = paired.systems.index(system), paired.systems.index(baseline)
    difference = float(paired.means[first] - paired.means[second])
    drawn = paired.drawn[:, [first]] - paired.drawn[:, [second]]
    low, high = intervals.percentile_interval(drawn)
    return {
        "system": system,
        "baseline": baseline,
        "difference": difference,
        "ci_low": float(low[0]),
        "ci_high": float(high[0]),
        "n_cases": len(scores.cases),
        "n_patients": len(scores.first_of_patient),
        "n_seeds": len(common),
        "practically_equal": abs(difference) < comparisons.PRACTICALLY_EQUAL,
    }

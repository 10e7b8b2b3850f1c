"""Everything that the papers print of a measured row, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from contract.rows import METRICS
from leaderboards.published import reported
from leaderboards.published.reported import PublishedValue
from leaderboards.statistics import insights

MEASURED_AS = {"hausdorff_as_printed": "hausdorff_rowvector"}
"""Our metric for what a paper prints under a name that is not ours."""

_KEYS = ("protocol", "structure", "reference", "unit", "phantom", "system")
DIFFERENCE_COLUMNS = (
    *_KEYS, "metric", "statistic", "measured", "measured_all_slices", "published", "printed",
    "cite", "source", "notes",
)  # fmt: skip
BETWEEN_NOTES = " | "


def from_papers(table: pd.DataFrame) -> pd.DataFrame:
    """Set each published number of a measured row beside its own mean or median.

    A reduced system is not the paper's: none of its numbers stands beside one.

    Args:
        table: rows in ``contract.rows.LEADERBOARD_SCHEMA``.

    Returns:
        one row a number, in ``DIFFERENCE_COLUMNS``: ``metric`` is ours, ``measured_all_slices``
        its mean or median over all slices, lung-free ones too, where there is one; ``source`` names
        the paper's table and what is unlike a measured row; ``notes`` are joined by
        ``BETWEEN_NOTES``. What a paper prints under a name that no metric of ours answers is left
        out.
    """
    rows = [line for record in insights.records(table) for line in _lines(record)]
    return pd.DataFrame(rows, columns=list(DIFFERENCE_COLUMNS))


def _lines(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for value in () if record["reduced"] else _values(record):
        metric = MEASURED_AS.get(value.metric, value.metric)
        if metric not in METRICS:
            continue
        whole = f"{metric}_{value.statistic}_all_slices"
        yield {
            **{key: record[key] for key in _KEYS},
            "metric": metric,
            "statistic": value.statistic,
            "measured": record[f"{metric}_{value.statistic}"],
            "measured_all_slices": record.get(whole, float("nan")),
            "published": value.value,
            "printed": value.printed,
            "cite": value.cite,
            "source": ", ".join((value.source, *value.unlike)),
            "notes": BETWEEN_NOTES.join(value.notes),
        }


def _values(record: Mapping[str, Any]) -> list[PublishedValue]:
    """The papers' test values of a row, each metric and statistic once, its own paper's first."""
    wanted = (*(record[key] for key in ("system", "protocol", "structure", "unit")), "test")
    found: dict[tuple[str, str], PublishedValue] = {}
    for value in sorted(reported.published_values(), key=lambda v: v.quoted):
        if (value.system, value.protocol, value.structure, value.unit, value.split) == wanted:
            found.setdefault((value.metric, value.statistic), value)
    return list(found.values())

"""Figures of values with intervals, a row each: gaps, differences to the first, papers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from contract.words import CLASS_MEAN
from leaderboards.page.figures import ROW, names, scale
from leaderboards.page.parts import interval_text, signed_text, words
from leaderboards.page.svg import Axis, circle, drawing, gutter, line, rectangle, spread, text
from leaderboards.statistics.comparisons import PRACTICALLY_EQUAL
from leaderboards.statistics.insights import records

TOP = 24.0
MOST = 40
"""Rows of measured against published that are drawn; the table beside has all."""


def _interval(axis: Axis, low: float, high: float, y: float, class_: str) -> list[Markup]:
    if not (math.isfinite(low) and math.isfinite(high)):
        return []
    return [line(axis(low), y, axis(high), y, class_)]


def gap_plot(gaps: pd.DataFrame) -> Markup | None:
    """Mean Dice on data sets seen in training (ring) and on others (dot), with the gap.

    The gap is over the sets that were met both ways; where these are not all that the dot averages,
    a small open circle shows the mean on them.

    Args:
        gaps: rows of ``generalisation.gaps``.
    """
    systems = list(gaps["system"])
    numbers = [
        ""
        if not math.isfinite(row["gap"])
        else f"{signed_text(row['gap'], 3)} "
        f"{interval_text(row['gap_ci_low'], row['gap_ci_high'], 3)}"
        for row in records(gaps)
    ]
    left, width = gutter(systems), 600.0
    right = width - 16 - 6.4 * max((len(said) for said in numbers), default=0)
    shown = ("inside", "across_both", "across", "across_ci_low", "across_ci_high")
    limits = [value for name in shown for value in gaps[name]]
    axis = spread(limits, left, right)
    if axis is None:
        return None
    bottom = TOP + ROW * len(systems)
    parts = [*scale(axis, TOP, bottom, "mean Dice of the lungs"), *names(systems, left, TOP)]
    if any(numbers):
        parts.append(text(width - 6, 14, "gap [95 %]", "tick", "end"))
    for place, (row, said) in enumerate(zip(records(gaps), numbers, strict=True)):
        y = TOP + ROW * (place + 0.5)
        if math.isfinite(row["inside"]):
            parts.append(line(axis(row["across_both"]), y, axis(row["inside"]), y, "link"))
            if row["both_ways"] != row["hospitals"]:
                told = f"{row['system']}, the same data sets unseen: {row['across_both']:.4f}"
                parts.append(circle(axis(row["across_both"]), y, 4, "other", told))
            told = f"{row['system']}, data sets seen in training: {row['inside']:.4f}"
            parts.append(circle(axis(row["inside"]), y, 5, "ring", told))
            parts.append(text(width - 6, y + 4, said, "number", "end"))
        parts += _interval(axis, row["across_ci_low"], row["across_ci_high"], y, "whisker wide")
        told = f"{row['system']}, other data sets: {row['across']:.4f} "
        told += interval_text(row["across_ci_low"], row["across_ci_high"], 4)
        parts.append(circle(axis(row["across"]), y, 5, "point", told))
    return drawing(width, bottom + 42, parts, "Mean Dice inside and across data sets by system")


def leader_plot(pairs: pd.DataFrame, systems: Sequence[str]) -> Markup | None:
    """How far every system is behind the first, with simultaneous intervals.

    Args:
        pairs: ``comparisons.differences``.
        systems: all systems by falling mean.
    """
    first, *others = systems
    found = {row["other"]: row for row in records(pairs) if row["system"] == first}
    rows = [found[name] for name in others if name in found]
    if not rows:
        return None
    limits = [(-row["simultaneous_high"], -row["simultaneous_low"]) for row in rows]
    labels = [row["other"] for row in rows]
    left, width = gutter(labels), 660.0
    right = width - 172
    axis = spread([v for pair in limits for v in pair] + [0.0, -PRACTICALLY_EQUAL], left, right)
    assert axis is not None
    bottom = TOP + ROW * len(rows)
    band = axis(-PRACTICALLY_EQUAL), axis(PRACTICALLY_EQUAL)
    parts = [rectangle(band[0], TOP, band[1] - band[0], bottom - TOP, "band")]
    parts += scale(axis, TOP, bottom, f"Dice behind {first}"[:70])
    parts += [line(axis(0), TOP, axis(0), bottom, "zero"), *names(labels, left, TOP)]
    parts.append(text(width - 6, 14, "difference [95 %, all at once]", "tick", "end"))
    for place, (row, (low, high)) in enumerate(zip(rows, limits, strict=True)):
        y = TOP + ROW * (place + 0.5)
        difference = -row["difference"]
        said = f"{signed_text(difference, 4)} {interval_text(low, high, 4, signed=True)}"
        parts += _interval(axis, low, high, y, "whisker wide")
        parts.append(circle(axis(difference), y, 4, "point", f"{row['other']}: {said}"))
        parts.append(text(width - 6, y + 4, said, "number small", "end"))
    return drawing(width, bottom + 42, parts, f"Differences to {first} with simultaneous intervals")


def published_plot(rows: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Measured Dice (dot, interval) and the paper's (ring), with the difference."""
    rows = sorted(rows, key=lambda row: row["difference"])[:MOST]
    labels = [f"{row['system']} · {row['protocol']}" for row in rows]
    labels = [
        f"{label} · {words(row['structure'])}" if row["structure"] == CLASS_MEAN else label
        for row, label in zip(rows, labels, strict=True)
    ]
    left, width = gutter(labels, 60), 760.0
    right = width - 70
    values = [row[name] for row in rows for name in ("measured", "low", "high", "published")]
    axis = spread(values, left, right)
    if axis is None:
        return None
    bottom = TOP + ROW * len(rows)
    parts = scale(axis, TOP, bottom, "Dice of the lungs, or of what is named")
    parts.append(text(width - 6, 14, "measured − paper", "tick", "end"))
    for place, (row, label) in enumerate(zip(rows, labels, strict=True)):
        y = TOP + ROW * (place + 0.5)
        parts.append(
            text(left - 8, y + 4, label if len(label) <= 60 else f"{label[:59]}…", "", "end")
        )
        parts.append(line(axis(row["measured"]), y, axis(row["published"]), y, "link"))
        parts += _interval(axis, row["low"], row["high"], y, "whisker wide")
        told = f"{label}: measured {row['measured']:.4f}"
        parts.append(circle(axis(row["measured"]), y, 5, "point", told))
        told = f"{label}: published {row['published']:.4f}, {row['label']}"
        parts.append(circle(axis(row["published"]), y, 5, "ring", told))
        parts.append(text(width - 6, y + 4, signed_text(row["difference"], 3), "number", "end"))
    return drawing(width, bottom + 42, parts, "Measured and published Dice by system and protocol")

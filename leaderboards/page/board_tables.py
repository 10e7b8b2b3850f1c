"""The leaderboard's own tables on the page, and the cards of those that lead them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from contract.rows import LOWER_IS_BETTER
from leaderboards import markdown, texts
from leaderboards.markdown import FLOOR, Meta
from leaderboards.page import figures
from leaderboards.page.parts import (
    Column,
    Value,
    breakable,
    interval_text,
    known,
    shown_number,
    words,
)
from leaderboards.page.svg import Axis, spread
from leaderboards.published import reported
from leaderboards.statistics import insights
from leaderboards.statistics.comparisons import PRACTICALLY_EQUAL
from leaderboards.statistics.generalisation import BETWEEN_NAMES
from leaderboards.texts import number

_SLICE_COLUMNS = [
    Column("Dice, all slices", title="As papers average it; slices without lungs count too"),
    Column("false-positive slices", "ascending", "Share of slices without lungs with a prediction"),
]


_MEANINGS = {
    "iou": "Intersection over union, mean over cases",
    "nsd": "Surface Dice at 2 mm, mean over cases",
    "hausdorff95": "Hausdorff distance, 95 % quantile of the surface distances; lower is better",
    "assd": "Average symmetric surface distance; lower is better",
    "hausdorff_rowvector": "No distance between masks, but what LGAN's tables fit",
}


def _meaning(metric: str) -> str:
    return _MEANINGS.get(metric, _MEANINGS.get(metric.rpartition("_")[0], ""))


def columns(rows: pd.DataFrame, meta: Meta) -> tuple[list[Column], list[list[Value]]]:
    """A table's columns, and a row of cells a system."""
    best = rows.loc[rows["rank"] == 1, "dice_mean"].max()
    limits = rows[["dice_ci_low", "dice_mean", "dice_ci_high"]].to_numpy(dtype=float).ravel()
    axis = spread(limits, 2, 118) or Axis(0, 1, 2, 118)
    columns = [
        Column(
            "#", "ascending", f"Rank by mean Dice; ≈: less than {PRACTICALLY_EQUAL} behind", True
        ),
        Column("System", "ascending", left=True),
        Column("Dice", title="Mean over cases"),
        Column("95 % interval", title="Bootstrap over patients and seeds; sorts by the lower end"),
    ]
    shown = markdown.shown_metrics(rows)
    columns += [
        Column(header, "ascending" if metric in LOWER_IS_BETTER else "descending", _meaning(metric))
        for header, metric, _ in shown
    ]
    clean = rows["dice_mean_clean"].notna().any()
    columns += [Column("Dice clean", title="Without suspect reference masks")] if clean else []
    of_slices = rows.iloc[0]["unit"] == "slice"
    columns += _SLICE_COLUMNS if of_slices else []
    columns += [
        Column("SD cases", "ascending"),
        Column("SD seeds", "ascending"),
        Column("n", title="Cases"),
        Column("seeds"),
        Column("epoch", title="Epochs behind the tested weights, over seeds and folds"),
        Column("failed", "ascending", "Cases with exactly one of prediction and reference empty"),
        Column("< .90", "ascending", "Cases with a Dice under .90"),
        Column("< .80", "ascending", "Cases with a Dice under .80"),
    ]
    values = []
    for record in insights.records(rows):
        cells = [
            Value(texts.rank_text(record, best), known(record["rank"]), "rank"),
            Value(
                breakable(meta.called(record["system"], record["protocol"])),
                record["system"].lower(),
                "system",
            ),
            shown_number(record["dice_mean"], 4, "lead"),
            _interval(record, axis),
        ]
        cells += [
            Value(texts.mean_text(record, metric, digits), known(record[f"{metric}_mean"]))
            for _, metric, digits in shown
        ]
        if clean:
            cells.append(shown_number(record["dice_mean_clean"], 4))
        if of_slices:
            cells.append(shown_number(record["dice_mean_all_slices"], 4))
            cells.append(shown_number(record["false_positive_slice_rate"], 4))
        cells += [
            shown_number(record["dice_sd_cases"], 4),
            shown_number(record["dice_sd_seeds"], 4),
        ]
        counts = ("n_cases", "n_seeds", "n_failed", "n_below_90", "n_below_80")
        counted = [Value(str(record[name]), known(record[name])) for name in counts]
        epoch = Value(texts.epoch_text(record), known(record["tested_epoch_max"]))
        cells += [*counted[:2], epoch, *counted[2:]]
        values.append(cells)
    return columns, values


def _interval(record: Mapping[str, Any], axis: Axis) -> Value:
    low, high = record["dice_ci_low"], record["dice_ci_high"]
    said = escape(f"[{number(low, 4)}, {number(high, 4)}]")
    bar = figures.interval_bar(low, record["dice_mean"], high, axis)
    return Value(bar + Markup('<span class="limits">') + said + Markup("</span>"), known(low))


def first(rows: pd.DataFrame, meta: Meta) -> list[dict[str, Any]]:
    """The leader of a table of lungs, for the cards on top."""
    leaders = rows[(rows["rank"] == 1) & (rows["structure"] == "lungs")]
    if leaders.empty:
        return []
    leader = leaders.iloc[0]
    paper = reported.beside_row(insights.records(leaders)[0])
    near = rows["rank"].notna() & (leader["dice_mean"] - rows["dice_mean"] < PRACTICALLY_EQUAL)
    return [
        {
            "protocol": leader["protocol"],
            "title": meta.protocols.get(leader["protocol"], leader["protocol"]),
            "system": meta.called(leader["system"], leader["protocol"]),
            "dice": number(leader["dice_mean"], 3),
            "low": number(leader["dice_ci_low"], 3),
            "high": number(leader["dice_ci_high"], 3),
            "one_seed": leader["n_seeds"] == 1,
            "near": int(near.sum()) - 1,
            "systems": int(rows["rank"].notna().sum()),
            "phantom": bool(leader["phantom"]),
            "paper": None if paper is None else number(paper.value, 3),
        }
    ]


def verdict(
    gaps: pd.DataFrame, known: Collection[str] = (), called: Callable[[str], str] = str
) -> dict[str, Any] | None:
    """Which system does best on data sets that it did not see, how sure that is, and the price.

    Args:
        gaps: what ``generalisation.gaps`` returned.
        known: every system of the page; the verdict names those that ``gaps`` leaves out.
        called: a system's name as it stands on the page.

    Returns:
        None where nothing was tested across data sets.
    """
    systems = gaps[gaps["system"] != FLOOR]
    if systems.empty:
        return None
    best, others = systems.iloc[0], systems.iloc[1:]
    floor = gaps.loc[gaps["system"] == FLOOR, "across"]
    beaten = not len(floor) or best["across"] > floor.iloc[0]
    near = others[best["across"] - others["across"] < PRACTICALLY_EQUAL]
    apart = others[others["across_ci_high"] < best["across_ci_low"]]
    return {
        "system": called(best["system"]),
        "dice": number(best["across"], 3),
        "interval": interval_text(best["across_ci_low"], best["across_ci_high"], 3),
        "one_seed": best["n_seeds"] == 1,
        "pairs": best["pairs"].split(BETWEEN_NAMES),
        "hospitals": _sets(best["hospitals"]),
        "worst": number(best["worst"], 3),
        "worst_interval": interval_text(best["worst_ci_low"], best["worst_ci_high"], 3),
        "worst_on": words(best["worst_on"]),
        "gap": None if pd.isna(best["gap"]) else number(abs(best["gap"]), 3),
        "gap_interval": interval_text(best["gap_ci_low"], best["gap_ci_high"], 3, signed=True),
        "side": "below" if best["gap"] >= 0 else "above",
        "both_ways": [] if pd.isna(best["gap"]) else _sets(best["both_ways"]),
        "inside": number(best["inside"], 3),
        "across_both": number(best["across_both"], 3),
        "left_out": [called(name) for name in sorted(set(known) - set(gaps["system"]))],
        "near": list(near["system"].map(called)),
        "floor": None if beaten else number(floor.iloc[0], 3),
        "others": len(others),
        "apart": len(apart),
    }


def _sets(names: str) -> list[str]:
    return [words(name) for name in names.split(BETWEEN_NAMES)]

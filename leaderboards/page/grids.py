"""The page's tables beside the leaderboard: subgroups, papers, endpoints, quality, cost, splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from leaderboards import wording
from leaderboards.markdown import Meta
from leaderboards.page.parts import (
    Column,
    Grid,
    Value,
    breakable,
    interval_text,
    known,
    shown_number,
    signed_text,
    words,
)
from leaderboards.published import reported
from leaderboards.published.quoted import TITLE, quotations
from leaderboards.statistics import insights
from leaderboards.texts import number

_TAG = Markup(' <span class="tag">PHANTOM DATA</span>')
_RISING = "ascending"


def _named(meta: Meta, row: Mapping[str, Any], *names: str) -> list[Value]:
    """Cells of a row's system, its protocol with the phantom tag, and other names in words."""
    first, *rest = names
    tagged = escape(row[first]) + (_TAG if row.get("phantom") else Markup())
    return [
        Value(
            breakable(meta.called(row["system"], row["protocol"])), row["system"].lower(), "system"
        ),
        Value(tagged, str(row[first]), "words"),
        *(Value(words(row[name]), str(row[name]), "words") for name in rest),
    ]


def _names(*headers: str) -> list[Column]:
    return [Column(header, _RISING, left=True) for header in ("System", *headers)]


def subgroups(served: pd.DataFrame, meta: Meta) -> Grid:
    """The lungs' subgroups, the worst served first; gaps whose interval excludes 0 are bold."""
    columns = [
        *_names("Protocol", "Division", "Group"), Column("n"), Column("Dice"),
        Column("95 % interval"), Column("Gap"), Column("95 % interval of the gap"),
    ]  # fmt: skip
    lungs = served[served["structure"] == "lungs"].sort_values("gap", kind="stable")
    rows = []
    for row in insights.records(lungs):
        firm = row["gap_ci_low"] > 0 or row["gap_ci_high"] < 0
        dice, gap = ((row[f"{name}_ci_low"], row[f"{name}_ci_high"]) for name in ("dice", "gap"))
        rows.append(
            [
                *_named(meta, row, "protocol", "division", "group"),
                Value(str(row["n_cases"]), row["n_cases"]),
                shown_number(row["dice_mean"], 4),
                Value(interval_text(dice[0], dice[1], 4), known(dice[0])),
                Value(signed_text(row["gap"], 4), known(row["gap"]), "lead" if firm else ""),
                Value(interval_text(gap[0], gap[1], 4, signed=True), known(gap[0])),
            ]
        )
    return Grid("Subgroups", columns, rows, tall=True)


def published(
    values: Iterable[Mapping[str, Any]], footnotes: Mapping[str, int], meta: Meta
) -> Grid:
    """Measured values beside the papers', with links to the papers' footnotes.

    Args:
        values: what ``published_rows`` returned.
        footnotes: number by note.
        meta: what systems are called.
    """
    columns = [
        *_names("Protocol", "Structure"), Column("Measured Dice"), Column("95 % interval"),
        Column("Published"), Column("Difference"), Column("Source", _RISING, left=True),
    ]  # fmt: skip
    rows = []
    for row in values:
        links = [
            Markup(' <a class="note" href="#note-{0}">{0}</a>').format(footnotes[note])
            for note in row["notes"]
        ]
        rows.append(
            [
                *_named(meta, row, "protocol", "structure"),
                shown_number(row["measured"], 4, "lead"),
                Value(interval_text(row["low"], row["high"], 4), known(row["low"])),
                shown_number(row["published"], 4),
                Value(signed_text(row["difference"], 4), row["difference"]),
                Value(escape(row["label"]) + Markup("").join(links), row["label"], "source"),
            ]
        )
    return Grid("Published against measured", columns, rows)


def quoted(table: pd.DataFrame) -> Grid:
    """What was printed under the protocols of real rows and stands beside none of them."""
    columns = [
        *_names("Protocol"), Column("Printed", _RISING, left=True),
        Column("Source, and what to know of it", _RISING, left=True),
    ]  # fmt: skip
    rows = [
        [
            Value(told, told.lower(), ("system", "words", "source", "source")[place])
            for place, told in enumerate(
                (one.system, protocol, one.printed, ". ".join((one.source, " ".join(one.notes))))
            )
        ]
        for protocol in dict.fromkeys(table.loc[~table["phantom"].astype(bool), "protocol"])
        for one in quotations(protocol)
    ]
    return Grid(TITLE, columns, rows)


def published_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Measured rows that a paper's value stands beside, with that value."""
    rows = []
    for record in insights.records(table):
        value = reported.beside_row(record)
        if value is None:
            continue
        rows.append(
            {
                **{key: record[key] for key in ("system", "protocol", "structure", "phantom")},
                "measured": record["dice_mean"],
                "low": record["dice_ci_low"],
                "high": record["dice_ci_high"],
                "published": value.value,
                "difference": record["dice_mean"] - value.value,
                "label": value.label,
                "notes": value.notes,
            }
        )
    return rows


_ENDPOINTS = {
    "cardiothoracic_ratio": ("cardiothoracic ratio", 1.0, "", 3),
    "area_mm2": ("area", 0.01, "cm²", 1),
    "area_share": ("area", 100.0, "% of image", 2),
    "volume_ml": ("volume", 1.0, "ml", 0),
}
"""Name on the page, factor, unit and digits by endpoint."""


def endpoints(agreed: pd.DataFrame, meta: Meta) -> Grid:
    """Bias and limits of agreement, those in pixels only where no spacing is known."""
    columns = [
        *_names("Protocol", "Structure", "Measurement"), Column("n"),
        Column("not measured", _RISING, "Cases without a measurable prediction in some seed"),
        Column("Reference", title="Mean of the references"), Column("Bias"),
        Column("95 % interval"), Column("Limits of agreement", title="Bias ± 1.96 SD; sorts by "
               "their width"), Column("Bias %", title="Of the mean reference"),
    ]  # fmt: skip
    in_mm = agreed[agreed["endpoint"] == "area_mm2"]
    keys = ["protocol", "structure", "system", "unit", "phantom"]
    spaced = set(in_mm[keys].itertuples(index=False, name=None))
    rows = []
    for row in insights.records(agreed):
        if row["endpoint"] == "area_share" and tuple(row[key] for key in keys) in spaced:
            continue
        name, factor, unit, digits = _ENDPOINTS[row["endpoint"]]
        shown = {key: value * factor for key, value in row.items() if isinstance(value, float)}
        told = dict(row) | {"measurement": f"{name}, {unit}" if unit else name}
        rows.append(
            [
                *_named(meta, told, "protocol", "structure", "measurement"),
                Value(str(row["n_cases"]), row["n_cases"]),
                Value(str(row["n_missing"]), row["n_missing"]),
                shown_number(shown["reference_mean"], digits),
                Value(signed_text(shown["bias"], digits), known(row["bias"])),
                Value(
                    interval_text(shown["bias_ci_low"], shown["bias_ci_high"], digits, signed=True),
                    known(row["bias_ci_low"]),
                ),
                Value(
                    interval_text(shown["loa_low"], shown["loa_high"], digits, signed=True),
                    known(row["loa_high"] - row["loa_low"]),
                ),
                _percent(row["bias"], row["reference_mean"]),
            ]
        )
    return Grid("Endpoints", columns, rows, tall=True)


def _percent(part: float, whole: float) -> Value:
    share = 100 * part / whole if whole else float("nan")
    return Value(signed_text(share, 1), known(share))


def quality(flagged: pd.DataFrame, meta: Meta) -> Grid:
    """How well the flag finds poor lungs."""
    columns = [
        *_names("Protocol", "Structure"), Column("predictions"), Column("Dice < .90"),
        Column("flagged"), Column("Sensitivity", title="Of the poor, how many are flagged"),
        Column("Specificity", title="Of the others, how many are not"),
        Column("PPV", title="Of the flagged, how many are poor"),
        Column("AUROC", title="Of the disagreement under mirroring; 0.5 is chance"),
        Column("AP", title="Average precision of the disagreement; chance is the share of poor"),
    ]  # fmt: skip
    rows = []
    for row in insights.records(flagged):
        counts = ("n_predictions", "n_poor", "n_flagged")
        rows.append(
            [
                *_named(meta, row, "protocol", "structure"),
                *(Value(str(row[name]), row[name]) for name in counts),
                *(_rate(row, name) for name in ("sensitivity", "specificity", "ppv")),
                shown_number(row["auroc"], 3),
                shown_number(row["average_precision"], 3),
            ]
        )
    return Grid("Quality flag", columns, rows, tall=True)


def critics(added: pd.DataFrame, meta: Meta) -> Grid:
    """What each critic adds to its generator alone; differences whose interval excludes 0 bold."""
    columns = [
        *_names("Protocol", "Structure", "Against"), Column("Dice added"),
        Column("95 % interval"), Column("n"), Column("seeds"),
    ]  # fmt: skip
    rows = []
    for row in insights.records(added):
        low, high = row["ci_low"], row["ci_high"]
        firm = "lead" if low > 0 or high < 0 else ""
        near = " ≈" if row["practically_equal"] else ""
        rows.append(
            [
                *_named(meta, row, "protocol", "structure"),
                Value(row["baseline"], row["baseline"], "words"),
                Value(signed_text(row["difference"], 4) + near, row["difference"], firm),
                Value(interval_text(low, high, 4, signed=True), known(low)),
                Value(str(row["n_cases"]), row["n_cases"]),
                Value(str(row["n_seeds"]), row["n_seeds"]),
            ]
        )
    return Grid("What each critic adds", columns, rows)


def _rate(row: Mapping[str, Any], name: str) -> Value:
    if pd.isna(row[name]):
        return Value("–")
    limits = interval_text(row[f"{name}_ci_low"], row[f"{name}_ci_high"], 2)
    return Value(f"{row[name]:.2f} {limits}", row[name])


def sizes(meta: Meta) -> list[dict[str, Any]]:
    """Cost by system, over its finished cells."""
    done = [cell for cell in meta.cells if cell.state == "done"]
    if not done:
        return []
    names = ("parameters", "images_per_s", "gpu_hours", "wall_s", "peak_memory_mib")
    frame = pd.DataFrame(
        [{"system": cell.system} | {name: getattr(cell, name) for name in names} for cell in done]
    )
    mean = frame.set_index("system").astype(float).groupby(level=0, sort=True).mean()
    return [
        {"system": row["system"], **{name: known(row[name]) for name in names}}
        for row in insights.records(mean.reset_index())
    ]


def cost(meta: Meta) -> Grid:
    """Parameters, speed, hours and memory by system."""
    shapes = {
        "parameters": ("Parameters", 1.0, "{:,.0f}"),
        "images_per_s": ("Training images/s", 1.0, "{:,.1f}"),
        "gpu_hours": ("GPU-hours a cell", 1.0, "{:,.3f}"),
        "wall_s": ("Wall hours a cell", 1 / 3600, "{:,.3f}"),
        "peak_memory_mib": ("Peak memory MiB", 1.0, "{:,.0f}"),
    }
    rows = []
    for size in sizes(meta):
        cells = [Value(breakable(meta.called(size["system"])), size["system"].lower(), "system")]
        for name, (_, factor, shape) in shapes.items():
            value = size[name]
            shown = "–" if value is None else shape.format(value * factor)
            cells.append(Value(shown, value))
        rows.append(cells)
    speed = "Training images/s"
    columns = [
        Column(header, "descending" if header == speed else _RISING)
        for header, *_ in shapes.values()
    ]
    return Grid("Cost by system", [*_names(), *columns], rows)


def splits(table: pd.DataFrame) -> Grid:
    """What each protocol trained and tested on."""
    columns = [
        Column("Protocol", _RISING, left=True), Column("Training cases"), Column("Test cases"),
        Column("Test patients"), Column("Split", _RISING, left=True),
    ]  # fmt: skip
    lungs = table[(table["structure"] == "lungs") & (table["unit"] != "slice")]
    lungs = lungs.sort_values("n_cases", ascending=False)
    rows = []
    for row in insights.records(lungs.drop_duplicates(["protocol", "phantom"]).sort_index()):
        split = "–" if pd.isna(row["split_hash"]) else str(row["split_hash"])
        counts = [row[name] for name in ("n_train", "n_cases", "n_patients")]
        rows.append(
            [
                Value(row["protocol"], row["protocol"], "words"),
                *(Value(number(count, 0), known(count)) for count in counts),
                Value(split, split, "source"),
            ]
        )
    return Grid("Splits", columns, rows)


def unfinished(meta: Meta) -> Grid:
    """Cells without a result, with their state and the reason."""
    columns = [*_names("Protocol"), *(Column(n, _RISING, left=True) for n in
               ("Seed", "State", "Reason"))]  # fmt: skip
    rows = [
        [
            Value(
                breakable(wording.label(cell.system, cell.reduced)), cell.system.lower(), "system"
            ),
            Value(cell.protocol, cell.protocol, "words"),
            Value(str(cell.seed), cell.seed, "words"),
            Value(
                Markup('<span class="state {}">{}</span>').format(cell.state, words(cell.state)),
                cell.state,
                "words",
            ),
            Value(cell.reason or "–", cell.reason, "source"),
        ]
        for cell in meta.cells
        if cell.state != "done"
    ]
    return Grid("Cells without a result", columns, rows)

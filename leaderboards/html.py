"""The leaderboard as one self-contained HTML page that needs no network."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from contract.rows import RANKED_REFERENCES, RANKED_UNITS, TABLE_KEYS
from leaderboards import figures, insights, markdown, papers
from leaderboards.comparisons import PRACTICALLY_EQUAL
from leaderboards.insights import Insight, TableKey
from leaderboards.markdown import FLOOR, Meta, number
from leaderboards.svg import Axis, spread

BEST = 6
"""Systems whose train × test heat map is drawn."""
_PAGE = "leaderboards.page"


@dataclass(frozen=True)
class Column:
    """A column of a sortable table.

    Attributes:
        header: its name.
        first: how the first click sorts: ``ascending`` or ``descending``.
        title: what it means, in a sentence.
    """

    header: str
    first: str = "descending"
    title: str = ""


@dataclass(frozen=True)
class Value:
    """A cell: what is shown, and what it sorts by (None: after all others)."""

    shown: str | Markup
    sort: float | str | None = None
    style: str = ""


@dataclass(frozen=True)
class Panel:
    """A figure with its caption.

    Attributes:
        name: of its file, without a suffix; empty for what stands on the page alone.
        caption: what it shows, in a sentence or two.
        svg: the drawing.
    """

    name: str
    caption: str
    svg: Markup


@dataclass(frozen=True)
class Table:
    """One protocol, structure, reference and unit."""

    identity: str
    protocol: str
    structure: str
    heading: str
    notes: list[str]
    phantom: bool
    columns: list[Column]
    rows: list[tuple[str, list[Value]]]
    distributions: list[Panel] = field(default_factory=list)
    comparisons: list[Panel] = field(default_factory=list)
    costs: list[Panel] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """What the page and the folder of figures are made of."""

    meta: Meta
    tables: list[Table]
    heats: list[Panel]
    gaps: list[Panel]
    published: list[dict[str, Any]]
    phantom: bool
    firsts: list[dict[str, Any]]
    subgroups: list[dict[str, Any]]

    @property
    def footnotes(self) -> dict[str, int]:
        """The published values' notes and their numbers, each once."""
        notes = dict.fromkeys(note for row in self.published for note in row["notes"])
        return {note: place for place, note in enumerate(notes, start=1)}

    @property
    def panels(self) -> dict[str, Markup]:
        """Every figure by the name of its file."""
        groups = [self.heats, self.gaps]
        groups += [g for t in self.tables for g in (t.distributions, t.comparisons, t.costs)]
        return {panel.name: panel.svg for group in groups for panel in group}


def prepare(
    table: pd.DataFrame,
    meta: Meta,
    found: Mapping[TableKey, Insight],
    transferred: pd.DataFrame,
    served: pd.DataFrame,
) -> Page:
    """Draw and word everything.

    Args:
        table: rows in ``contract.rows.LEADERBOARD_SCHEMA``, as ``tables.build`` orders them.
        meta: what surrounds them.
        found: ``insights.gather`` of the same cases.
        transferred: ``insights.transfer`` of the same cases.
        served: ``subgroups.compare`` of the same cases.
    """
    measured = list(dict.fromkeys(table["protocol"]))
    described = [name for name in meta.protocols if name in measured]
    order = {name: k for k, name in enumerate(dict.fromkeys([*described, *measured]))}
    groups = sorted(
        table.groupby(list(TABLE_KEYS), sort=False), key=lambda group: order[group[0][0]]
    )
    if not transferred.empty:
        transferred = transferred[transferred["phantom"] == transferred["phantom"].all()]
    return Page(
        meta=meta,
        tables=[_table(key, rows, meta, found[key]) for key, rows in groups],
        heats=_heats(transferred),
        gaps=_gaps(transferred),
        published=_published(table),
        phantom=bool(table["phantom"].any()),
        firsts=[first for _, rows in groups for first in _first(rows, meta)],
        subgroups=_subgroups(served),
    )


def render(page: Page) -> str:
    """The whole page; style and script stand inside, and no other script may run."""
    folder = files(_PAGE)
    read = {
        name: folder.joinpath(name).read_text("utf-8")
        for name in ("page.html.j2", "page.css", "figures.css", "page.js")
    }
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["words"] = lambda name: str(name).replace("_", " ")
    style, script = read["page.css"] + read["figures.css"], read["page.js"]
    text: str = environment.from_string(read["page.html.j2"]).render(
        page=page,
        meta=page.meta,
        style=Markup(style),
        script=Markup(script),
        script_hash=_hash(script),
        guide=_guide(),
        facts=markdown.facts(page.meta),
        sizes=_sizes(page.meta),
        unfinished=[cell for cell in page.meta.cells if cell.state != "done"],
        banner=_plain(markdown.PHANTOM_BANNER),
        floor=FLOOR,
    )
    return text


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _plain(markup: str) -> str:
    return re.sub(r"\*\*|^> ?", "", markup, flags=re.MULTILINE)


def _guide() -> list[Markup]:
    """The Markdown's guide as list items: only ``code`` is marked up in it."""
    items = [line.removeprefix("- ") for line in markdown.GUIDE.splitlines()]
    return [Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(item)))) for item in items]


def _identity(key: TableKey) -> str:
    *words, phantom = key
    words += ["phantom"] if phantom else []
    return "--".join(re.sub(r"\W+", "-", str(word)) for word in words)


def _table(key: TableKey, rows: pd.DataFrame, meta: Meta, insight: Insight) -> Table:
    keys = dict(zip(TABLE_KEYS, key, strict=True))
    identity = _identity(key)
    notes = []
    if keys["reference"] not in RANKED_REFERENCES or keys["unit"] not in RANKED_UNITS:
        notes.append("Not ranked: not comparable with plain masks scored by image or scan.")
    if keys["unit"] == "slice":
        notes.append("Means over the slices whose reference holds the structure.")
    first = rows.iloc[0]
    if pd.notna(first["n_train"]):
        notes.append(f"{first['n_train']} training cases.")
    if pd.notna(first["split_hash"]):
        notes.append(f"Split {first['split_hash']}.")
    kind = [] if keys["reference"] == "plain" else [f"{keys['reference']} reference masks"]
    kind += [] if keys["unit"] == "image" else [f"per {keys['unit']}"]
    columns, values = _columns(rows)
    systems = list(rows["system"])
    return Table(
        identity=identity,
        protocol=keys["protocol"],
        structure=keys["structure"],
        heading=", ".join([keys["structure"].replace("_", " "), *kind]),
        notes=notes,
        phantom=bool(keys["phantom"]),
        columns=columns,
        rows=list(zip(systems, values, strict=True)),
        distributions=_distributions(identity, insight, systems),
        comparisons=_comparisons(identity, insight),
        costs=_costs(identity, keys, rows, meta) if keys["structure"] == "lungs" else [],
    )


def _columns(rows: pd.DataFrame) -> tuple[list[Column], list[list[Value]]]:
    best = rows.loc[rows["rank"] == 1, "dice_mean"].max()
    limits = rows[["dice_ci_low", "dice_mean", "dice_ci_high"]].to_numpy(dtype=float).ravel()
    axis = spread(limits, 2, 118) or Axis(0, 1, 2, 118)
    columns = [
        Column("#", "ascending", f"Rank by mean Dice; ≈: less than {PRACTICALLY_EQUAL} behind"),
        Column("System", "ascending"),
        Column("Dice", title="Mean over cases"),
        Column("95 % interval", title="Bootstrap over patients and seeds; sorts by the lower end"),
    ]
    shown = markdown.shown_metrics(rows)
    columns += [
        Column(header, "ascending" if metric.startswith(("hausdorff", "assd")) else "descending")
        for header, metric, _ in shown
    ]
    clean = rows["dice_mean_clean"].notna().any()
    columns += [Column("Dice clean", title="Without suspect reference masks")] if clean else []
    columns += [
        Column("SD cases", "ascending"),
        Column("SD seeds", "ascending"),
        Column("n", title="Cases"),
        Column("seeds"),
        Column("failed", "ascending", "Cases with exactly one of prediction and reference empty"),
        Column("< .90", "ascending", "Cases with a Dice under .90"),
        Column("< .80", "ascending", "Cases with a Dice under .80"),
    ]
    values = []
    for record in insights.records(rows):
        cells = [
            Value(markdown.rank_text(record, best), _known(record["rank"]), "rank"),
            Value(_system(record["system"]), record["system"].lower(), "system"),
            _number(record["dice_mean"], 4, "lead"),
            _interval(record, axis),
        ]
        cells += [
            Value(markdown.mean_text(record, metric, digits), _known(record[f"{metric}_mean"]))
            for _, metric, digits in shown
        ]
        if clean:
            cells.append(_number(record["dice_mean_clean"], 4))
        cells += [_number(record["dice_sd_cases"], 4), _number(record["dice_sd_seeds"], 4)]
        counts = ("n_cases", "n_seeds", "n_failed", "n_below_90", "n_below_80")
        cells += [Value(str(record[name]), _known(record[name])) for name in counts]
        values.append(cells)
    return columns, values


def _known(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _number(value: float, digits: int, style: str = "") -> Value:
    return Value(number(value, digits), _known(value), style)


def _system(name: str) -> str:
    return f"{name} (floor)" if name == FLOOR else name


def _interval(record: Mapping[str, Any], axis: Axis) -> Value:
    low, high = record["dice_ci_low"], record["dice_ci_high"]
    said = escape(f"[{number(low, 4)}, {number(high, 4)}]")
    bar = figures.interval_bar(low, record["dice_mean"], high, axis)
    return Value(bar + Markup('<span class="limits">') + said + Markup("</span>"), _known(low))


def _first(rows: pd.DataFrame, meta: Meta) -> list[dict[str, Any]]:
    """The leader of a table of lungs, for the cards on top."""
    leaders = rows[(rows["rank"] == 1) & (rows["structure"] == "lungs")]
    if leaders.empty:
        return []
    leader = leaders.iloc[0]
    near = rows["rank"].notna() & (leader["dice_mean"] - rows["dice_mean"] < PRACTICALLY_EQUAL)
    return [
        {
            "protocol": leader["protocol"],
            "title": meta.protocols.get(leader["protocol"], leader["protocol"]),
            "system": leader["system"],
            "dice": number(leader["dice_mean"], 3),
            "low": number(leader["dice_ci_low"], 3),
            "high": number(leader["dice_ci_high"], 3),
            "near": int(near.sum()) - 1,
            "systems": int(rows["rank"].notna().sum()),
            "phantom": bool(leader["phantom"]),
        }
    ]


def _subgroups(served: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the lungs' subgroups, the worst served first."""
    lungs = served[served["structure"] == "lungs"].sort_values("gap", kind="stable")
    return [
        row
        | {
            "mean": number(row["dice_mean"], 4),
            "interval": f"[{number(row['dice_ci_low'], 4)}, {number(row['dice_ci_high'], 4)}]",
            "difference": f"{row['gap']:+.4f}".replace("-", "−"),
            "limits": f"[{row['gap_ci_low']:+.4f}, {row['gap_ci_high']:+.4f}]".replace("-", "−"),
            "firm": row["gap_ci_low"] > 0 or row["gap_ci_high"] < 0,
        }
        for row in insights.records(lungs)
    ]


def _heats(transferred: pd.DataFrame) -> list[Panel]:
    if transferred.empty:
        return []
    scored = transferred[transferred["system"] != FLOOR]
    pairs = scored.groupby("system").agg(n=("dice", "size"), dice=("dice", "mean"))
    pairs = pairs.sort_values(["n", "dice"], ascending=False, kind="stable")
    best = list(pairs.index[:BEST])
    shown = scored[scored["system"].isin(best)]
    low, high = shown["dice"].min(), shown["dice"].max()
    return [
        Panel(
            f"transfer-{place + 1}",
            "",
            figures.heat_map(name, shown[shown["system"] == name], low, high),
        )
        for place, name in enumerate(best)
    ]


def _gaps(transferred: pd.DataFrame) -> list[Panel]:
    gaps = insights.generalisation(transferred)
    svg = figures.gap_plot(gaps[gaps["system"] != FLOOR]) if len(gaps) else None
    return [Panel("generalisation", "", svg)] if svg else []


def _distributions(identity: str, insight: Insight, systems: Sequence[str]) -> list[Panel]:
    wanted = (("dice", "Dice", False), ("hausdorff95_px", "HD95 px (log scale)", True))
    panels = []
    for metric, label, logarithmic in wanted:
        svg = figures.strips(insight.quantiles[metric], systems, label, logarithmic)
        panels += [Panel(f"{identity}--{metric}", "", svg)] if svg else []
    return panels


def _comparisons(identity: str, insight: Insight) -> list[Panel]:
    if insight.ranks is None or insight.pairs is None:
        return []
    systems = list(insight.ranks["system"])
    ranks = (
        "Rank by mean Dice (dot) and its 95 % interval over draws of patients and seeds; the share "
        "of draws that a system leads; the mean of its ranks in single cases."
    )
    pairs = (
        "▲ the row's system is better than the column's, ▼ worse (Wilcoxon's signed-rank test over "
        f"patients, Holm over all pairs, p < {figures.ALPHA}); ≈ practically equal (means differ "
        f"by less than {PRACTICALLY_EQUAL}); blank: not told apart."
    )
    return [
        Panel(f"{identity}--ranks", ranks, figures.rank_plot(insight.ranks)),
        Panel(f"{identity}--pairs", pairs, figures.significance_map(insight.pairs, systems)),
    ]


def _sizes(meta: Meta) -> list[dict[str, Any]]:
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
        {"system": row["system"], **{name: _known(row[name]) for name in names}}
        for row in insights.records(mean.reset_index())
    ]


def _costs(identity: str, keys: Mapping[str, Any], rows: pd.DataFrame, meta: Meta) -> list[Panel]:
    cells = [c for c in meta.cells if c.protocol == keys["protocol"] and c.system != FLOOR]
    sizes = _sizes(Meta(meta.suite, cells))
    ranked = rows[rows["rank"].notna()]
    dice = dict(zip(ranked["system"], ranked["dice_mean"], strict=True))

    def by_system(name: str) -> dict[str, float]:
        return {size["system"]: size[name] for size in sizes if size[name] is not None}

    hours = figures.Cost("GPU-hours", by_system("gpu_hours"))
    if not any(hours.values.values()):
        wall = {name: seconds / 3600 for name, seconds in by_system("wall_s").items()}
        hours = figures.Cost("hours on the CPU", wall)
    costs = {
        "parameters": figures.Cost("parameters", by_system("parameters")),
        "speed": figures.Cost("training images/s", by_system("images_per_s"), True),
        "hours": hours,
    }
    drawn = {name: figures.cost_plot(cost, dice) for name, cost in costs.items()}
    return [Panel(f"{identity}--{name}", "", svg) for name, svg in drawn.items() if svg]


def _published(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Measured rows that a paper's value stands beside."""
    rows = []
    for record in insights.records(table):
        named = (record["system"], record["protocol"], record["structure"], record["unit"])
        value = papers.beside(*named)
        if value is None:
            continue
        measured = record["dice_mean"]
        rows.append(
            {
                **{key: record[key] for key in ("system", "protocol", "structure", "phantom")},
                "measured": number(measured, 4),
                "interval": f"[{number(record['dice_ci_low'], 4)}, "
                f"{number(record['dice_ci_high'], 4)}]",
                "published": number(value.value, 4),
                "difference": f"{measured - value.value:+.4f}".replace("-", "−"),
                "sort": measured - value.value,
                "label": value.label,
                "notes": value.notes,
            }
        )
    return rows

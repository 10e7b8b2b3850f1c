"""The page's figures as SVG, drawn from precomputed numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from leaderboards.page.svg import (
    Axis,
    circle,
    compact,
    drawing,
    element,
    gutter,
    line,
    rectangle,
    shortened,
    side_by_side,
    spread,
    text,
)
from leaderboards.statistics.insights import QUANTILES, records

ROW = 22.0
WIDTH = 660.0
NARROWEST, TITLE_SIGN = 248.0, 8.0
"""Of a heat map, and of a sign of its title."""
ALPHA = 0.05
SHADES = ("00204d", "31446b", "666970", "958f78", "cab969", "ffea46")
"""Cividis (Nuñez et al. 2018), a map that is the same to colour-blind readers."""


def shade(share: float) -> tuple[str, str]:
    """Fill and text colour for a share in [0, 1] of the colour scale."""
    place = min(max(share, 0.0), 1.0) * (len(SHADES) - 1)
    left = min(int(place), len(SHADES) - 2)
    pairs = [bytes.fromhex(SHADES[left + k]) for k in (0, 1)]
    mixed = [round(a + (b - a) * (place - left)) for a, b in zip(*pairs, strict=True)]
    bright = 0.299 * mixed[0] + 0.587 * mixed[1] + 0.114 * mixed[2] > 125
    return "#" + "".join(f"{part:02x}" for part in mixed), "#111" if bright else "#fff"


def interval_bar(low: float, mean: float, high: float, axis: Axis) -> Markup:
    """A mean and its interval as a small bar for a table's cell."""
    parts = [line(axis.start, 8, axis.end, 8, "track")]
    if math.isfinite(low) and math.isfinite(high):
        left = axis(low)
        parts.append(rectangle(left, 5, max(axis(high) - left, 1.0), 6, "ci"))
    parts.append(line(axis(mean), 2, axis(mean), 14, "mean"))
    return element(
        "svg", side_by_side(parts), viewBox="0 0 120 16", width="120", height="16", class_="bar",
        aria_hidden="true",
    )  # fmt: skip


def names(systems: Sequence[str], left: float, top: float) -> list[Markup]:
    """Systems' names, shortened, at the left of their rows."""
    return [
        element(
            "text", side_by_side([element("title", name), Markup.escape(shortened(name))]),
            x=left - 8, y=top + ROW * (place + 0.5) + 4, text_anchor="end",
        )
        for place, name in enumerate(systems)
    ]  # fmt: skip


def scale(axis: Axis, top: float, bottom: float, label: str) -> list[Markup]:
    """Grid lines and numbers of a horizontal axis, with its label under them."""
    parts = []
    for value in axis.ticks():
        parts.append(line(axis(value), top, axis(value), bottom, "grid"))
        parts.append(text(axis(value), bottom + 15, compact(value), "tick", "middle"))
    middle = (axis.start + axis.end) / 2
    return [*parts, text(middle, bottom + 33, label, "label", "middle")]


def strips(
    quantiles: pd.DataFrame, systems: Sequence[str], label: str, logarithmic: bool = False
) -> Markup | None:
    """Distribution over cases, a strip a system: 5–95 %, the middle half, median, both ends.

    The axis holds 5–95 % of every system; an end outside it is an arrow at its edge.

    Args:
        quantiles: a row a system with the columns ``QUANTILES``.
        systems: their order.
        label: the axis's name.
        logarithmic: for distances; then 0 stands at the left end.
    """
    left = gutter(systems)
    shown = quantiles.loc[list(systems)]
    axis = spread(shown[[0.05, 0.95]].to_numpy().ravel(), left, WIDTH - 14, logarithmic)
    if axis is None:
        return None
    bottom = 6 + ROW * len(systems)
    parts = [*scale(axis, 6, bottom, label), *names(systems, left, 6)]
    for place, (name, row) in enumerate(shown.iterrows()):
        if row.isna().any():
            continue
        y = 6 + ROW * (place + 0.5)
        p5, p25, median, p75, p95 = (axis(row[q]) for q in QUANTILES[1:-1])
        numbers = ", ".join(f"{100 * q:.0f} %: {row[q]:.4g}" for q in QUANTILES)
        strip = [
            element("title", f"{name} — {numbers}"),
            rectangle(left, y - ROW / 2, WIDTH - left, ROW, "hit"),
            line(p5, y, p95, y, "whisker"),
            rectangle(p25, y - 5, max(p75 - p25, 1.0), 10, "half"),
            line(median, y - 7, median, y + 7, "median"),
            _extreme(row[0.0], y, axis),
            _extreme(row[1.0], y, axis),
        ]
        parts.append(element("g", side_by_side(strip)))
    return drawing(WIDTH, bottom + 42, parts, f"{label}: distribution over cases by system")


def _extreme(value: float, y: float, axis: Axis) -> Markup:
    """A dot, or an arrow at the edge towards a value outside the axis."""
    if axis.low <= value <= axis.high:
        return circle(axis(value), y, 2, "extreme")
    x, tip = (axis.start + 5, -5) if value < axis.low else (axis.end - 5, 5)
    return element("path", d=f"M{x:.1f} {y - 4:.1f}v8l{tip} -4z", class_="extreme")


def rank_plot(ranks: pd.DataFrame) -> Markup:
    """Each system's rank and its 95 % interval under the draws of patients and seeds."""
    systems = list(ranks["system"])
    left, right = gutter(systems), WIDTH - 172
    axis = Axis(0.5, max(ranks["rank_high"].max(), 2) + 0.5, left, right)
    bottom = 24 + ROW * len(systems)
    parts = names(systems, left, 24)
    count = int(axis.high)
    step = math.ceil(count / 12)
    for value in range(1, count + 1, step):
        parts.append(line(axis(value), 24, axis(value), bottom, "grid"))
        parts.append(text(axis(value), bottom + 15, value, "tick", "middle"))
    parts.append(text((left + right) / 2, bottom + 33, "rank by mean Dice", "label", "middle"))
    for x, header in ((right + 62, "leads"), (WIDTH - 6, "mean rank → rank")):
        parts.append(text(x, 14, header, "tick", "end"))
    for place, row in enumerate(records(ranks)):
        y = 24 + ROW * (place + 0.5)
        said = "{system}: rank {rank}, 95 % interval {rank_low} to {rank_high}".format_map(row)
        parts.append(line(axis(row["rank_low"]), y, axis(row["rank_high"]), y, "whisker wide"))
        parts.append(circle(axis(row["rank"]), y, 5, "point", said))
        parts.append(text(right + 62, y + 4, f"{100 * row['share_first']:.0f} %", "number", "end"))
        second = f"{row['mean_rank']:.1f} → {row['rank_by_mean_rank']}"
        parts.append(text(WIDTH - 6, y + 4, second, "number", "end"))
    return drawing(WIDTH, bottom + 42, parts, "Rank intervals by system")


_MARKS = {
    "better": ("better", "▲"),
    "worse": ("worse", "▼"),
    "equal": ("equal", "≈"),
    "opposed": ("open", "≠"),
    "open": ("open", ""),
}


def significance_map(pairs: pd.DataFrame, systems: Sequence[str]) -> Markup:
    """All pairs after Holm: the row's system better ▲, worse ▼, practically equal ≈, or open.

    ≠ marks pairs in which mean and test point different ways, as where one system is a little
    better on most patients and far worse on a few.

    A colour and a sign each, so that it reads without colour.
    """
    side = 20.0 if len(systems) <= 24 else 13.0
    left, top = gutter(systems), 26.0
    place = {name: k for k, name in enumerate(systems)}
    groups: dict[str, list[str]] = {mark: [] for mark in _MARKS}
    signs: dict[str, list[Markup]] = {mark: [] for mark in _MARKS}
    for pair in records(pairs):
        kind = "better" if pair["rank_biserial"] > 0 else "opposed"
        kind = "open" if pair["p_holm"] >= ALPHA else kind
        kind = "equal" if pair["practically_equal"] else kind
        mirrored = "worse" if kind == "better" else kind
        for mark, row, column in (
            (kind, place[pair["system"]], place[pair["other"]]),
            (mirrored, place[pair["other"]], place[pair["system"]]),
        ):
            x, y = left + side * column, top + side * row
            groups[mark].append(f"M{x + 0.5:g} {y + 0.5:g}h{side - 1:g}v{side - 1:g}h{1 - side:g}z")
            if _MARKS[mark][1]:
                signs[mark].append(
                    element("tspan", _MARKS[mark][1], x=x + side / 2, y=y + side / 2 + 4)
                )
    parts = [
        element("path", d="".join(groups[mark]), class_=class_)
        for mark, (class_, _) in _MARKS.items()
    ]
    parts += [
        element("text", side_by_side(found), class_=f"sign {mark}", text_anchor="middle")
        for mark, found in signs.items()
        if found
    ]
    for k, name in enumerate(systems):
        y = top + side * (k + 0.5) + 4
        label = side_by_side([element("title", name), Markup.escape(f"{shortened(name)} {k + 1}")])
        parts.append(element("text", label, x=left - 8, y=y, text_anchor="end"))
        parts.append(text(left + side * (k + 0.5), top - 6, k + 1, "tick", "middle"))
    size = side * len(systems)
    return drawing(
        left + size + 10, top + size + 8, parts, "Significance of all pairs of systems, after Holm"
    )


def heat_map(system: str, cells: pd.DataFrame, low: float, high: float) -> Markup:
    """One system's mean Dice by training set (rows) and test set (columns).

    Args:
        system: name.
        cells: rows of ``generalisation.transfer`` of this system.
        low: Dice at the dark end of the scale.
        high: Dice at the bright end.
    """
    trains = sorted(set(cells["train_on"]), key=lambda name: (name.count("+"), name))
    tests = sorted(set(cells["test_on"]))
    labels = [name.replace("+", " + ") for name in trains]
    left, top, wide, tall = gutter(labels, 36), 42.0, 72.0, 28.0
    width = max(left + wide * len(tests) + 6, NARROWEST)
    title = shortened(system, int(width / TITLE_SIGN))  # a wide title would shrink the cells
    parts = [element("text", title, x=4, y=14, class_="title")]
    parts += [
        text(left + wide * (k + 0.5), top - 6, shortened(name, 13), "tick", "middle")
        for k, name in enumerate(tests)
    ]
    parts += [
        text(left - 8, top + tall * (k + 0.5) + 4, shortened(name, 36), "", "end")
        for k, name in enumerate(labels)
    ]
    for cell in records(cells):
        x, y = (
            left + wide * tests.index(cell["test_on"]),
            top + tall * trains.index(cell["train_on"]),
        )
        fill, ink = shade((cell["dice"] - low) / max(high - low, 1e-9))
        inside = cell["test_on"] in cell["train_on"].split("+")
        said = "{train_on} → {test_on}: {dice:.4f}, n = {n} ({protocol})".format_map(cell)
        box = element(
            "rect", element("title", said), x=x + 1, y=y + 1, width=wide - 2, height=tall - 2,
            fill=fill, class_="inside" if inside else None,
        )  # fmt: skip
        number = element(
            "text", f"{cell['dice']:.3f}", x=x + wide / 2, y=y + tall / 2 + 4, fill=ink,
            text_anchor="middle", class_="cell",
        )  # fmt: skip
        parts += [box, number]
    size = (width, top + tall * len(trains) + 6)
    return drawing(*size, parts, f"{system}: mean Dice by training set and test set")


@dataclass(frozen=True)
class Cost:
    """One panel of accuracy against cost.

    Attributes:
        name: the axis's name.
        values: cost by system.
        more_is_better: for speeds.
    """

    name: str
    values: Mapping[str, float]
    more_is_better: bool = False


def pareto(points: Mapping[str, tuple[float, float]], more_is_better: bool) -> list[str]:
    """Systems that no other beats in both, from cheap to dear.

    Args:
        points: cost and score by system; a higher score is better.
        more_is_better: whether that holds of the cost too.
    """
    sign = -1 if more_is_better else 1
    front: list[str] = []
    order = sorted(points, key=lambda name: (sign * points[name][0], -points[name][1], name))
    for name in order:
        if not front or points[name][1] > points[front[-1]][1]:
            front.append(name)
    return front


def cost_plot(cost: Cost, dice: Mapping[str, float]) -> Markup | None:
    """Mean Dice against a cost on a logarithmic axis; the Pareto front is joined and named."""
    points = {
        name: (value, dice[name])
        for name, value in cost.values.items()
        if name in dice and value > 0 and math.isfinite(dice[name])
    }
    width, height, left, bottom = 380.0, 270.0, 52.0, 226.0
    across = spread((x for x, _ in points.values()), left + 8, width - 16, True)
    up = spread((y for _, y in points.values()), bottom, 16)
    if across is None or up is None:
        return None
    parts = scale(across, 12, bottom, cost.name)
    for value in up.ticks(5):
        parts.append(line(left, up(value), width - 8, up(value), "grid"))
        parts.append(text(left - 6, up(value) + 4, compact(value), "tick", "end"))
    front = pareto(points, cost.more_is_better)
    corners = []
    for before, after in itertools.pairwise(front):
        (x1, y1), (x2, y2) = points[before], points[after]
        corners += [(across(x1), up(y1)), (across(x2), up(y1)), (across(x2), up(y2))]
    if corners:
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)
        parts.append(element("path", d=path, class_="front"))
    for name, (x, y) in points.items():
        said = f"{name}: {compact(x)} {cost.name}, Dice {y:.4f}"
        parts.append(circle(across(x), up(y), 5, "point" if name in front else "other", said))
    parts += _front_names(front, points, across, up)
    return drawing(width, height, parts, f"Mean Dice against {cost.name}")


def _front_names(
    front: Sequence[str], points: Mapping[str, tuple[float, float]], across: Axis, up: Axis
) -> list[Markup]:
    """Names beside the front's points, below each other where they would overlap."""
    parts: list[Markup] = []
    taken: list[float] = []
    for name in sorted(front, key=lambda one: -points[one][1]):
        x, y = across(points[name][0]), up(points[name][1]) + 4
        y = max([y, *(used + 13 for used in taken if abs(used - y) < 13)])
        taken.append(y)
        right = x < (across.start + across.end) / 2
        anchor = "start" if right else "end"
        parts.append(text(x + (9 if right else -9), y, shortened(name, 24), "name", anchor))
    return parts

"""A suite's mean Dice at one glance: systems by protocols, each value in its colour."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import pandas as pd
from markupsafe import Markup

from leaderboards.head import ranked_lungs
from leaderboards.markdown import Meta
from leaderboards.page.figures import ROW, shade
from leaderboards.page.svg import (
    drawing,
    element,
    gutter,
    shortened,
    side_by_side,
    text,
)
from leaderboards.statistics.insights import records

LOW, HIGH = 0.85, 0.97
"""Dice at the ends of the colours, the same for every suite, so that maps compare."""
WIDE = 122.0
"""Of a protocol's column."""
_LONGEST = 40
_BAR = 24
"""Steps of the bar that explains the colours."""


def score_map(table: pd.DataFrame, meta: Meta) -> Markup | None:
    """Draw the mean Dice of the lungs on films, by system (rows) and protocol (columns).

    Systems measured under most protocols come first, then those of the higher mean over them. What
    was not measured is an empty frame; what is outside the ranking (dilated references) is absent.

    Args:
        table: rows in ``contract.rows.LEADERBOARD_SCHEMA``.
        meta: what systems and protocols are called.

    Returns:
        the drawing; None where nothing is ranked.
    """
    ranked = ranked_lungs(table)
    protocols = [name for name in meta.protocols if (ranked["protocol"] == name).any()]
    if not protocols:
        return None
    ranked = ranked[ranked["protocol"].isin(protocols)]
    order = ranked.groupby("system")["dice_mean"].agg(["size", "mean"])
    order = order.sort_values(["size", "mean"], ascending=False, kind="stable")
    systems = list(order.index)
    called = [meta.called(name) for name in systems]
    heads = [textwrap.wrap(meta.protocols[name], 18) for name in protocols]
    left, top = gutter(called, _LONGEST), 12 + 14.0 * max(map(len, heads))
    right, bottom = left + WIDE * len(protocols), top + ROW * len(systems)
    parts = _heads(heads, left, top)
    for place, name in enumerate(called):
        said = side_by_side([element("title", name), Markup.escape(shortened(name, _LONGEST))])
        y = top + ROW * (place + 0.5) + 4
        parts.append(element("text", said, x=left - 8, y=y, text_anchor="end"))
    known = {(row["system"], row["protocol"]): row for row in records(ranked)}
    for down, system in enumerate(systems):
        for along, protocol in enumerate(protocols):
            row = known.get((system, protocol))
            dice = None if row is None else float(row["dice_mean"])
            parts += _cell(left + WIDE * along, top + ROW * down, dice)
    parts += _scale(left, right, bottom + 12)
    label = f"{meta.suite}: mean Dice of the lungs by system and protocol"
    return drawing(right + 10, bottom + 50, parts, label)


def _heads(heads: Sequence[Sequence[str]], left: float, top: float) -> list[Markup]:
    """Each protocol's title over its column, in as many lines as it needs."""
    return [
        text(left + WIDE * (along + 0.5), top - 6 - 14.0 * above, said, "", "middle")
        for along, lines in enumerate(heads)
        for above, said in enumerate(reversed(lines))
    ]


def _cell(x: float, y: float, dice: float | None) -> list[Markup]:
    if dice is None:
        return [element("rect", x=x + 1, y=y + 1, width=WIDE - 2, height=ROW - 2, class_="absent")]
    fill, ink = shade((dice - LOW) / (HIGH - LOW))
    box = element("rect", x=x + 1, y=y + 1, width=WIDE - 2, height=ROW - 2, fill=fill)
    number = element("text", f"{dice:.4f}", x=x + WIDE / 2, y=y + ROW / 2 + 4, fill=ink,
                     text_anchor="middle", class_="cell")  # fmt: skip
    return [box, number]


def _scale(left: float, right: float, y: float) -> list[Markup]:
    """The bar that explains the colours, with its ends."""
    step = (right - left) / _BAR
    parts = [
        element("rect", x=left + step * k, y=y, width=step + 0.5, height=8.0,
                fill=shade((k + 0.5) / _BAR)[0])
        for k in range(_BAR)
    ]  # fmt: skip
    parts.append(text(left, y + 23, f"{LOW} or less", "tick"))
    parts.append(text((left + right) / 2, y + 23, "mean Dice", "label", "middle"))
    parts.append(text(right, y + 23, f"{HIGH} or more", "tick", "end"))
    return parts

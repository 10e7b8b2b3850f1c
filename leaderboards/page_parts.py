"""What the page is made of: columns and cells of sortable tables, figures with captions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from markupsafe import Markup

from leaderboards.markdown import number


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


def known(value: Any) -> float | None:
    """What a number sorts by: None where it is undefined."""
    return None if pd.isna(value) else float(value)


def shown_number(value: float, digits: int, style: str = "") -> Value:
    """A number's cell; a dash where it is undefined."""
    return Value(number(value, digits), known(value), style)

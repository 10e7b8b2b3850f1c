"""What the page is made of: columns and cells of sortable tables, figures with captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from markupsafe import Markup

from leaderboards.page.galleries import CellGallery
from leaderboards.texts import number


@dataclass(frozen=True)
class Column:
    """A column of a sortable table.

    Attributes:
        header: its name.
        first: how the first click sorts: ``ascending`` or ``descending``.
        title: what it means, in a sentence.
        left: it holds words, which align left.
    """

    header: str
    first: str = "descending"
    title: str = ""
    left: bool = False


@dataclass(frozen=True)
class Value:
    """A cell: what is shown, and what it sorts by (None: after all others)."""

    shown: str | Markup
    sort: float | str | None = None
    style: str = ""


@dataclass(frozen=True)
class Grid:
    """A sortable table.

    Attributes:
        label: what it is, for a screen reader.
        columns: its columns.
        rows: its cells, row by row.
        tall: it scrolls within a height of its own.
    """

    label: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    tall: bool = False


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
    reduced: dict[str, str] = field(default_factory=dict)
    distributions: list[Panel] = field(default_factory=list)
    comparisons: list[Panel] = field(default_factory=list)
    costs: list[Panel] = field(default_factory=list)
    gallery: list[CellGallery] = field(default_factory=list)
    without_pictures: list[str] = field(default_factory=list)


def words(name: object) -> str:
    """A name of the project's as words."""
    return str(name).replace("_", " ")


def breakable(name: str) -> Markup:
    """A system's name that may break after its underscores."""
    return Markup("_<wbr>").join(name.split("_"))


def known(value: Any) -> float | None:
    """What a number sorts by: None where it is undefined."""
    return None if pd.isna(value) else float(value)


def shown_number(value: float, digits: int, style: str = "") -> Value:
    """A number's cell; a dash where it is undefined."""
    return Value(number(value, digits), known(value), style)


def signed_text(value: float, digits: int) -> str:
    """A difference with its sign; a dash where it is undefined."""
    return "–" if pd.isna(value) else f"{value:+.{digits}f}".replace("-", "−")


def interval_text(low: float, high: float, digits: int, signed: bool = False) -> str:
    """An interval in brackets; a dash where it is undefined."""
    if pd.isna(low) or pd.isna(high):
        return "–"
    text = signed_text if signed else number
    return f"[{text(low, digits)}, {text(high, digits)}]"

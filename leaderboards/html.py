"""The leaderboard as one self-contained HTML page that needs no network."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from contract.rows import RANKED_REFERENCES, RANKED_UNITS, TABLE_KEYS
from leaderboards import markdown, page_figures, page_tables
from leaderboards.insights import Insight, TableKey
from leaderboards.markdown import FLOOR, Meta
from leaderboards.page_parts import Panel, Table

_PAGE = "leaderboards.page"


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
        heats=page_figures.heats(transferred),
        gaps=page_figures.gaps(transferred),
        published=page_tables.published(table),
        phantom=bool(table["phantom"].any()),
        firsts=[first for _, rows in groups for first in page_tables.first(rows, meta)],
        subgroups=page_tables.subgroups(served),
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
        sizes=page_tables.sizes(page.meta),
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
    columns, values = page_tables.columns(rows)
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
        distributions=page_figures.distributions(identity, insight, systems),
        comparisons=page_figures.comparisons(identity, insight),
        costs=page_figures.costs(identity, keys, rows, meta),
    )

"""The leaderboard as one self-contained HTML page that needs no network."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from contract.rows import TABLE_KEYS
from leaderboards import markdown, wording
from leaderboards.markdown import FLOOR, Meta
from leaderboards.page import board_tables, figure_list, grids
from leaderboards.page.galleries import KINDS, Album, CellGallery, Tile, within_budget
from leaderboards.page.parts import Grid, Panel, Table, breakable, words
from leaderboards.published import quoted
from leaderboards.recipes import told_of_systems
from leaderboards.statistics.findings import Findings
from leaderboards.statistics.insights import TableKey, records

PAGE_TO_SHARE = "leaderboard_without_pictures.html"
"""Stands beside a page that shows films of real patients."""
_PAGE = "leaderboards.page"
SHOWN_FAILURES = 3
"""Worst cases of each protocol's first system that stand near the top."""


@dataclass(frozen=True)
class Page:
    """What the page and the folder of figures are made of."""

    meta: Meta
    tables: list[Table]
    heats: list[Panel]
    gaps: list[Panel]
    published: list[Panel]
    grids: dict[str, Grid]
    footnotes: dict[str, int]
    phantom: bool
    verdict: dict[str, Any] | None
    firsts: list[dict[str, Any]]
    failures: list[tuple[CellGallery, list[Tile]]]
    without_failures: list[str]
    album: Album

    @property
    def panels(self) -> dict[str, Markup]:
        """Every figure by the name of its file."""
        groups = [self.heats, self.gaps, self.published]
        groups += [g for t in self.tables for g in (t.distributions, t.comparisons, t.costs)]
        return {panel.name: panel.svg for group in groups for panel in group}

    @property
    def phantom_panels(self) -> set[str]:
        """Names of the figures of synthetic data."""
        groups = [self.heats, self.gaps, self.published] if self.phantom else []
        for table in self.tables:
            if table.phantom:
                groups += [table.distributions, table.comparisons, table.costs]
        return {panel.name for group in groups for panel in group}


def prepare_page(
    table: pd.DataFrame, meta: Meta, findings: Findings, album: Album | None = None
) -> Page:
    """Draw and word everything.

    Args:
        table: rows in ``contract.rows.LEADERBOARD_SCHEMA``, as ``tables.build`` orders them.
        meta: what surrounds them.
        findings: what is computed from the same cases.
        album: pictures of cases; none where the page shall have none.
    """
    measured = list(dict.fromkeys(table["protocol"]))
    described = [name for name in meta.protocols if name in measured]
    order = {name: k for k, name in enumerate(dict.fromkeys([*described, *measured]))}
    groups = sorted(
        table.groupby(list(TABLE_KEYS), sort=False), key=lambda group: order[group[0][0]]
    )
    lungs = table[(table["structure"] == "lungs") & table["rank"].notna()]
    ranks = {(row["system"], row["protocol"]): int(row["rank"]) for row in records(lungs)}
    album = within_budget(album or Album(refused=True), ranks)
    firsts = [first for _, rows in groups for first in board_tables.first(rows, meta)]
    leaders = _leaders(lungs.sort_values("protocol", key=lambda p: p.map(order), kind="stable"))
    published = grids.published_rows(table)
    footnotes = _numbered(note for row in published for note in row["notes"])
    return Page(
        meta=meta,
        tables=_with_galleries([_table(key, rows, meta, findings) for key, rows in groups], album),
        heats=figure_list.heat_panels(findings.transferred, meta.called),
        gaps=figure_list.gap_panels(findings.gaps, meta.called),
        published=figure_list.published_panels(published),
        grids={
            "published": grids.published(published, footnotes, meta),
            "quoted": grids.quoted(table),
            "subgroups": grids.subgroups(findings.served, meta),
            "endpoints": grids.endpoints(findings.agreed, meta),
            "quality": grids.quality(findings.flagged, meta),
            "critics": grids.critics(findings.added, meta),
            "cost": grids.cost(meta),
            "splits": grids.splits(table),
            "unfinished": grids.unfinished(meta),
        },
        footnotes=footnotes,
        phantom=bool(table["phantom"].any()),
        verdict=board_tables.verdict(findings.gaps, set(lungs["system"]), meta.called),
        firsts=firsts,
        failures=_failures(leaders, album),
        without_failures=[] if album.refused else _unpictured(leaders, album),
        album=album,
    )


def _numbered(notes: Iterable[str]) -> dict[str, int]:
    """Notes and their numbers, each once."""
    return {note: place for place, note in enumerate(dict.fromkeys(notes), start=1)}


def _leaders(lungs: pd.DataFrame) -> dict[str, str]:
    """Each protocol's first system, the floor apart."""
    systems = lungs[lungs["system"] != FLOOR].sort_values("rank", kind="stable")
    best = dict(zip(systems["protocol"][::-1], systems["system"][::-1], strict=True))
    return {name: best[name] for name in lungs["protocol"].unique() if name in best}


def _failures(leaders: Mapping[str, str], album: Album) -> list[tuple[CellGallery, list[Tile]]]:
    """The worst cases of each protocol's first system."""
    cells = [cell for protocol, first in leaders.items() for cell in album.of(protocol, [first])]
    return [(cell, cell.of_kind("worst")[:SHOWN_FAILURES]) for cell in cells]


def _unpictured(leaders: Mapping[str, str], album: Album) -> list[str]:
    """First systems whose failures cannot be shown, a sentence each."""
    return [
        f"{protocol}: {first} comes first, and its cell kept no pictures."
        for protocol, first in leaders.items()
        if (first, protocol) in album.without
    ]


def _with_galleries(tables: list[Table], album: Album) -> list[Table]:
    """Give each protocol's pictures to its first table of the lungs."""
    given: set[str] = set()
    found = []
    for table in tables:
        if table.structure == "lungs" and table.protocol not in given and not album.refused:
            given.add(table.protocol)
            systems = [system for system, _ in table.rows]
            without = [
                f"{system}: {reason}"
                for pairs, reason in (
                    (album.over_budget, "left out, the page would be too heavy"),
                    (album.without, "its cell kept none"),
                )
                for system, protocol in pairs
                if protocol == table.protocol
            ]
            table = replace(
                table, gallery=album.of(table.protocol, systems), without_pictures=without
            )
        found.append(table)
    return found


def without_pictures(page: Page) -> Page:
    """The same page for everybody's eyes."""
    tables = [replace(table, gallery=[], without_pictures=[]) for table in page.tables]
    return replace(page, tables=tables, failures=[], without_failures=[], album=Album(refused=True))


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Signs that no HTML page may hold."""


def render(page: Page) -> str:
    """The whole page; style and script stand inside, and no other script may run."""
    folder = files(_PAGE)
    read = {
        name: folder.joinpath(name).read_text("utf-8")
        for name in ("page.css", "figures.css", "page.js")
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("leaderboards", "page"),
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"words": words, "breakable": breakable}
    environment.globals["banner"] = _plain(markdown.PHANTOM_BANNER)
    style, script = read["page.css"] + read["figures.css"], read["page.js"]
    text: str = environment.get_template("page.html.j2").render(
        page=page,
        meta=page.meta,
        style=Markup(style),
        script=Markup(script),
        script_hash=_hash(script),
        guide=_guide(),
        facts=markdown.facts(page.meta),
        told=told_of_systems(page.meta.recipes),
        floor=FLOOR,
        kinds=KINDS,
        share=PAGE_TO_SHARE,
        reduced_words=wording.REDUCED,
        critics_words=wording.CRITICS,
        quoted_words=quoted.ABOUT,
    )
    return _CONTROL.sub("", text)


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


def _table(key: TableKey, rows: pd.DataFrame, meta: Meta, findings: Findings) -> Table:
    keys = dict(zip(TABLE_KEYS, key, strict=True))
    # A mean over classes has no cases of its own to draw or to compare.
    identity, insight = _identity(key), findings.insights.get(key)
    notes = wording.remarks(keys)
    first = rows.iloc[0]
    if told := wording.labelled(records(rows)):
        notes.append(f"{told[:1].upper()}{told[1:]}.")
    if pd.notna(first["split_hash"]):
        notes.append(f"Split {first['split_hash']}.")
    notes += [f"{text}." for text in meta.protocol_notes(keys["protocol"]).values()]
    notes += wording.one_seed(rows)
    notes += meta.chosen_in_sight(rows["system"])
    columns, values = board_tables.columns(rows, meta)
    systems = list(rows["system"])
    labels = dict(zip(systems, rows["label"], strict=True))
    called = labels.__getitem__
    return Table(
        identity=identity,
        protocol=keys["protocol"],
        structure=keys["structure"],
        heading=wording.heading(keys),
        notes=notes,
        phantom=bool(keys["phantom"]),
        reduced=markdown.reduced_systems(rows),
        columns=columns,
        rows=list(zip(systems, values, strict=True)),
        distributions=(
            figure_list.distribution_panels(identity, insight, systems, called) if insight else []
        ),
        comparisons=figure_list.comparison_panels(identity, insight, called) if insight else [],
        costs=figure_list.cost_panels(identity, keys, rows, meta),
    )

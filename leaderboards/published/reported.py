"""What the papers and peers reported: a typed view of ``leaderboards/published/*.yaml``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from contract.errors import UserError
from contract.rows import LOWER_IS_BETTER, METRICS
from contract.words import CLASS_MEAN, REFERENCES, STRUCTURES, UNITS

OWN_METRICS = ("iou_keras_pixelwise", "hausdorff_as_printed", "f1", "f1_pooled")
"""Names for what papers print under a metric's name, or a name of theirs, that is not ours."""

SPLITS = ("train", "validation", "test")
PRINTED_STATISTICS = ("mean", "median")
_NUMBER = re.compile(r"\d*\.?\d+")
_FIELDS = frozenset(
    {"protocol", "structure", "metric", "statistic", "split", "reference", "unit"}
    | {"percent", "quoted", "elsewhere", "notes"}
)


@dataclass(frozen=True)
class PublishedValue:
    """One number that a paper prints.

    Attributes:
        paper: key of the paper, e.g. ``gaal2020``.
        cite: the paper as a reader would name it.
        source: table of the paper.
        system: the project's name of the system.
        protocol: the project's name of a protocol that it answers.
        nearest: that protocol is the nearest of them.
        structure: what was segmented; ``lungs_and_heart`` is the mean of both.
        metric: the project's name where it is comparable, else one of ``OWN_METRICS``.
        statistic: ``mean`` or ``median``.
        split: ``train``, ``validation`` or ``test``.
        reference: ``plain`` or ``dilated`` masks.
        unit: ``image``, ``slice`` or ``scan``.
        value: a fraction in [0, 1]; a distance as printed.
        printed: the cell verbatim.
        quoted: the paper quotes it from another one.
        elsewhere: its system is not built here.
        notes: footnotes: contradictions and what keeps it from being comparable.
        peer: it comes from a peer's page, not a paper.
    """

    paper: str
    cite: str
    source: str
    system: str
    protocol: str
    nearest: bool
    structure: str
    metric: str
    statistic: str
    split: str
    reference: str
    unit: str
    value: float
    printed: str
    quoted: bool
    elsewhere: bool
    notes: tuple[str, ...]
    peer: bool

    @property
    def unlike(self) -> list[str]:
        """What a reader must know of it in a word or two: other masks, another paper."""
        unlike = [f"{self.reference} masks"] if self.reference != "plain" else []
        return unlike + (["quoted"] if self.quoted else [])

    @property
    def label(self) -> str:
        """Source in one line: where it is printed, how, and what is unlike a measured row."""
        return f"{self.cite}, {self.source}: " + ", ".join([self.printed, *self.unlike])


@cache
def published_values() -> tuple[PublishedValue, ...]:
    """Every number of the papers, in the order of the files, once for each protocol it answers.

    Raises:
        UserError: a file breaks the format.
    """
    return tuple(value for value in _all_values() if not value.peer)


@cache
def peer_values() -> tuple[PublishedValue, ...]:
    """Numbers of peers' pages: unverified and never shown beside a measured mean."""
    return tuple(value for value in _all_values() if value.peer)


def published_value(
    system: str,
    protocol: str,
    structure: str,
    metric: str,
    *,
    statistic: str = "mean",
    unit: str = "image",
) -> PublishedValue | None:
    """The papers' test value for a system, its own paper before one that quotes it."""
    wanted = (system, protocol, structure, metric, statistic, unit, "test")
    found = [
        v
        for v in published_values()
        if (v.system, v.protocol, v.structure, v.metric, v.statistic, v.unit, v.split) == wanted
    ]
    return min(found, key=lambda v: v.quoted, default=None)


def beside(system: str, protocol: str, structure: str, unit: str) -> PublishedValue | None:
    """The mean Dice to print beside a measured row."""
    return published_value(system, protocol, structure, "dice", unit=unit)


def beside_row(row: Mapping[str, Any]) -> PublishedValue | None:
    """``beside`` of a row of the leaderboard; none beside a reduced system.

    Args:
        row: its ``system``, ``protocol``, ``structure``, ``unit`` and ``reduced``.
    """
    if row["reduced"]:
        return None
    return beside(row["system"], row["protocol"], row["structure"], row["unit"])


@cache
def _all_values() -> tuple[PublishedValue, ...]:
    folder = files("leaderboards.published")
    texts = {f.name: f.read_text("utf-8") for f in folder.iterdir() if f.name.endswith(".yaml")}
    return tuple(v for name in sorted(texts) for v in read_paper(name, yaml.safe_load(texts[name])))


def read_paper(where: str, paper: Mapping[str, Any]) -> list[PublishedValue]:
    """Read one paper.

    Args:
        where: the file, for messages.
        paper: ``paper``, ``cite``, ``notes`` (text by key) and ``tables``. A table has
            ``columns`` (fields of each column), ``rows`` (cells by system) and ``systems``
            (fields by system); the fields of the table, the system, the column and the cell
            are laid over one another. A cell is the printed text, null, or ``printed`` with
            fields. ``protocol`` may list several that a number answers, the nearest first.

    Raises:
        UserError: an unknown field, word or note, a row of the wrong length, a value outside
            its range, or the same number twice.
    """
    values: dict[tuple[str, ...], PublishedValue] = {}
    for table in paper["tables"]:
        for system, row in table["rows"].items():
            if len(row) != len(table["columns"]):
                todo = f"give {system} one cell a column"
                raise UserError(where, f"{len(row)} cells", str(len(table["columns"])), todo)
            for value in _row(where, paper, table, system, row):
                of = (value.system, value.protocol, value.structure)
                key = (*of, value.metric, value.statistic, value.split, value.unit)
                if key in values:
                    raise UserError(where, f"{' '.join(key)} twice", "once", "remove one")
                values[key] = value
    return list(values.values())


def _row(
    where: str, paper: Mapping[str, Any], table: Mapping[str, Any], system: str, row: list[Any]
) -> Iterator[PublishedValue]:
    of_table = {k: v for k, v in table.items() if k not in ("source", "columns", "systems", "rows")}
    of_system = table.get("systems", {}).get(system, {})
    for column, cell in zip(table["columns"], row, strict=True):
        if cell is None:
            continue
        cell = cell if isinstance(cell, dict) else {"printed": cell}
        of_cell = {k: v for k, v in cell.items() if k != "printed"}
        layers = (of_table, of_system, column, of_cell)
        fields = {k: v for layer in layers for k, v in layer.items()}
        unknown = sorted(fields.keys() - _FIELDS)
        keys = [key for layer in layers for key in layer.get("notes", ())]
        unknown += sorted(set(keys) - paper.get("notes", {}).keys())
        if unknown:
            raise UserError(where, f"unknown {', '.join(unknown)}", "known fields and notes")
        fields["notes"] = tuple(paper["notes"][key] for key in dict.fromkeys(keys))
        protocols = fields["protocol"]
        for place, protocol in enumerate([protocols] if isinstance(protocols, str) else protocols):
            of_protocol = fields | {"protocol": protocol, "nearest": place == 0}
            yield _value(where, paper, str(table["source"]), system, cell["printed"], of_protocol)


def _value(
    where: str,
    paper: Mapping[str, Any],
    source: str,
    system: str,
    printed: str,
    fields: Mapping[str, Any],
) -> PublishedValue:
    structure = fields.get("structure", "lungs")
    number = _NUMBER.search(printed)
    if number is None:
        raise UserError(where, f"{printed!r} for {system}", "a number", "print the cell verbatim")
    value = PublishedValue(
        paper=paper["paper"],
        cite=paper["cite"],
        source=source,
        system=system,
        protocol=fields["protocol"],
        nearest=fields["nearest"],
        structure=structure,
        metric=fields["metric"],
        statistic=fields.get("statistic", "mean"),
        split=fields.get("split", "test"),
        reference=fields.get("reference", "plain"),
        unit=fields.get("unit", "image"),
        value=round(float(number.group()) / (100 if fields.get("percent") else 1), 6),
        printed=printed,
        quoted=fields.get("quoted", False),
        elsewhere=fields.get("elsewhere", False),
        notes=fields["notes"],
        peer=paper.get("peer", False),
    )
    _check(where, value)
    return value


def _check(where: str, value: PublishedValue) -> None:
    words = {
        "structure": (*STRUCTURES, CLASS_MEAN),
        "metric": (*METRICS, *OWN_METRICS),
        "statistic": PRINTED_STATISTICS,
        "split": SPLITS,
        "reference": REFERENCES,
        "unit": UNITS,
    }
    for field, allowed in words.items():
        if getattr(value, field) not in allowed:
            expected = f"one of {', '.join(allowed)}"
            raise UserError(where, f"{field} {getattr(value, field)!r}", expected)
    distance = value.metric in LOWER_IS_BETTER or value.metric == "hausdorff_as_printed"
    if not distance and not 0 <= value.value <= 1:
        found = f"{value.metric} {value.printed} of {value.system}"
        raise UserError(where, found, "a fraction, or percent: true")

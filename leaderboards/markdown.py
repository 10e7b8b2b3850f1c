"""The leaderboard as a Markdown page: a pure function of the table and what surrounds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from contract.cell_record import CellRecord
from contract.rows import LOWER_IS_BETTER
from leaderboards import wording
from leaderboards.published import differences, quoted, reported
from leaderboards.recipes import Recipe, told_of_systems
from leaderboards.statistics import insights
from leaderboards.statistics.comparisons import PRACTICALLY_EQUAL
from leaderboards.texts import count_of, epoch_text, escape, grid, mean_text, number, rank_text

FLOOR = "mean_shape"
CHOSEN = "†"
"""Marks a system whose recipe was adjusted in sight of a test set."""
PHANTOM_BANNER = (
    "> **PHANTOM DATA.** These numbers come from small synthetic images. They show that the "
    "pipeline runs, and nothing about any system on real lungs."
)
GUIDE = f"""\
- Every metric is computed per case from hard masks on the reference's own grid, averaged over \
seeds within a case, then over cases. Brackets are 95 % percentile intervals of a bootstrap over \
patients and seeds, with the same draws for all systems; with one seed they know nothing of the \
spread between trainings. SD cases and SD seeds are apart.
- NSD is surface Dice at 2 mm, or at the same share of the diagonal where the spacing is unknown; \
HD95 and ASSD are in pixels of the reference's grid, of CT scans in mm, lower is better.
- A mean over fewer cases than n states its own n. A system with – for a rank is outside the \
ranking: another kind of reference or unit, or fewer cases than its table.
- Differences under {PRACTICALLY_EQUAL:.3f} Dice are practically equal; ≈ marks a system that is \
less than that below the first of its table.
- `{FLOOR}` predicts the mean training mask whatever the image: it is the floor, and a system near \
it has learnt nothing from the image.
- Systems differ in network, loss, schedule and preprocessing at once: no difference between two \
rows is due to a critic alone, except in the suite `pairings`.
- Failed: cases in which exactly one of prediction and reference is empty. They count with Dice 0 \
and the image diagonal as distance.
- Clean leaves out the cases whose reference mask an audit doubts; – where there was no audit.
- Epoch: how many epochs the tested weights had trained. With a critic, only epochs in which it \
plays can be chosen.
- (reduced) marks a system that was trained otherwise than its description says (smaller, shorter \
…): it is not its paper's, and no published value stands beside it.
- Published values are the papers', under their protocols and on their masks; they are not ranked \
and not mixed with measured ones."""


_TITLES = {"dice": "Dice", "iou": "IoU", "hausdorff_rowvector": "rows HD"}
_NODULES = [
    ("nodules", "nodule_coverage", 3),
    ("nodule pixels", "nodule_pixel_coverage", 3),
    ("pleural nodules", "pleural_nodule_coverage", 3),
    ("pleural nodule pixels", "pleural_nodule_pixel_coverage", 3),
]


@dataclass(frozen=True)
class Meta:
    """What the page says beside the numbers.

    Attributes:
        suite: name of the suite.
        cells: every cell of the suite, done or not.
        protocols: description by protocol, in the order of the page; others follow by name.
        draws: number of bootstrap draws behind the intervals.
        recipes: what each system did under each protocol.
    """

    suite: str
    cells: Sequence[CellRecord] = ()
    protocols: Mapping[str, str] = field(default_factory=dict)
    draws: int = 0
    recipes: Sequence[Recipe] = ()

    @cached_property
    def external(self) -> dict[str, Mapping[str, Any]]:
        """What is known of each system whose masks another tool predicted."""
        done = [cell for cell in self.cells if cell.state == "done"]
        return {cell.system: cell.external for cell in done if cell.external is not None}

    @cached_property
    def chosen_on(self) -> dict[str, tuple[str, ...]]:
        """By system, the protocols in sight of whose test sets its recipe was adjusted."""
        return {recipe.system: recipe.chosen_on for recipe in self.recipes if recipe.chosen_on}

    def called(self, system: str, protocol: str = "") -> str:
        """A system's name, with what sets it apart from those that were trained as published.

        Args:
            system: its name.
            protocol: where it stands; reduced anywhere, where none is named.
        """
        mark = " (floor)" if system == FLOOR else ""
        mark = " (external)" if system in self.external else mark
        name = wording.label(system, self.is_reduced(system, protocol))
        return f"{name}{mark}{f' {CHOSEN}' if system in self.chosen_on else ''}"

    def is_reduced(self, system: str, protocol: str = "") -> bool:
        """Tell whether a finished cell of a system (under a protocol) is reduced."""
        return (system, protocol) in self._reduced

    @cached_property
    def _reduced(self) -> frozenset[tuple[str, str]]:
        """Each reduced system with its protocol, and with none."""
        reduced = [cell for cell in self.cells if cell.is_done and cell.reduced]
        return frozenset((c.system, protocol) for c in reduced for protocol in ("", c.protocol))

    def protocol_notes(self, protocol: str) -> Mapping[str, str]:
        """What people should know of a protocol, by topic."""
        return next((r.protocol_notes for r in self.recipes if r.protocol == protocol), {})

    def chosen_in_sight(self, systems: Iterable[str]) -> list[str]:
        """What must stand under a table of some systems, a sentence a set of protocols."""
        seen: dict[tuple[str, ...], dict[str, None]] = {}
        for name in systems:
            if name in self.chosen_on:
                seen.setdefault(self.chosen_on[name], {})[name] = None
        of = {
            names: f" of {', '.join(own)}" if len(seen) > 1 else "" for names, own in seen.items()
        }
        return [
            f"{CHOSEN} Recipe{of[names]} adjusted in sight of the test set of {', '.join(names)}."
            for names in seen
        ]


def page(table: pd.DataFrame, meta: Meta, added: pd.DataFrame | None = None) -> str:
    """The whole page.

    Args:
        table: rows in ``contract.rows.LEADERBOARD_SCHEMA``, as ``tables.build`` orders them.
        meta: what surrounds them.
        added: what ``critics.effects`` returned, of a suite of pairs.
    """
    parts = [f"# Leaderboard: {escape(meta.suite)}"]
    if table["phantom"].any():
        parts.append(PHANTOM_BANNER)
    parts.append(GUIDE)
    if table.empty:
        parts.append("No cell has finished yet.")
    measured = list(dict.fromkeys(table["protocol"]))
    described = [name for name in meta.protocols if name in measured]
    for protocol in [*described, *(name for name in measured if name not in described)]:
        parts += _protocol(table[table["protocol"] == protocol], protocol, meta)
    parts += _critics(added, meta)
    parts += _unfinished(meta.cells)
    parts += _systems(meta)
    parts += _measured(meta)
    return "\n\n".join(parts) + "\n"


def _critics(added: pd.DataFrame | None, meta: Meta) -> list[str]:
    if added is None or added.empty:
        return []
    rows = [
        [
            escape(meta.called(row["system"], row["protocol"])),
            escape(row["baseline"]),
            escape(row["protocol"]),
            wording.heading(row) + (" (PHANTOM DATA)" if row["phantom"] else ""),
            f"{row['difference']:+.4f} [{row['ci_low']:+.4f}, {row['ci_high']:+.4f}]"
            + (" ≈" if row["practically_equal"] else ""),
            str(row["n_cases"]),
            str(row["n_seeds"]),
        ]
        for row in insights.records(added)
    ]
    header = ("pair", "against", "protocol", "structure", "Dice [95 % CI]", "n", "seeds")
    return ["## What each critic adds", wording.CRITICS, grid(header, rows, left=4)]


def _protocol(rows: pd.DataFrame, protocol: str, meta: Meta) -> list[str]:
    parts = [f"## Protocol {escape(protocol)}"]
    if protocol in meta.protocols:
        parts.append(escape(meta.protocols[protocol]))
    notes = meta.protocol_notes(protocol)
    parts += ["\n".join(_notes(notes))] if notes else []
    first = rows.iloc[0]
    told = wording.labelled(insights.records(rows))
    split = [escape(told)] if told else []
    split += [f"split {escape(first['split_hash'])}"] if pd.notna(first["split_hash"]) else []
    if split:
        parts.append(", ".join(split) + ".")
    parts += _reduced(rows)
    for _, table in rows.groupby(["structure", "reference", "unit", "phantom"], sort=False):
        parts += _section(table, meta)
    return parts if rows["phantom"].all() else parts + _quoted(protocol)


def _quoted(protocol: str) -> list[str]:
    found = quoted.quotations(protocol)
    if not found:
        return []
    numbers: dict[str, int] = {}
    lines = []
    for one in found:
        marks = ", ".join(str(numbers.setdefault(note, len(numbers) + 1)) for note in one.notes)
        printed = escape(one.printed) + (f" ({marks})" if marks else "")
        lines.append([escape(one.system), printed, escape(one.source)])
    notes = "\n".join(f"{place}. {escape(note)}" for note, place in numbers.items())
    table = grid(("system", "printed", "source"), lines, left=3)
    return [f"### {quoted.TITLE}", quoted.ABOUT, table, *([notes] if notes else [])]


def reduced_systems(rows: pd.DataFrame) -> dict[str, str]:
    """What the reduced systems of a protocol do otherwise than their files say, by label."""
    reduced = rows[rows["reduced"].astype(bool)].drop_duplicates("system").sort_values("system")
    return {
        row["label"]: row["changes"] if pd.notna(row["changes"]) else "changes not recorded"
        for row in insights.records(reduced)
    }


def _reduced(rows: pd.DataFrame) -> list[str]:
    lines = [
        f"- {escape(name)}: {escape(changes)}" for name, changes in reduced_systems(rows).items()
    ]
    return [f"{wording.REDUCED}\n\n" + "\n".join(lines)] if lines else []


def _section(rows: pd.DataFrame, meta: Meta) -> list[str]:
    first = rows.iloc[0]
    about = insights.records(rows.head(1))[0]
    parts = [f"### {wording.heading(about)}"]
    parts += [PHANTOM_BANNER] if first["phantom"] else []
    parts += wording.remarks(about)
    columns, notes = table_columns(rows, meta)
    parts.append(grid(list(columns), zip(*columns.values(), strict=True)))
    parts += wording.one_seed(rows)
    parts += meta.chosen_in_sight(rows["system"])
    parts += ["Published:\n\n" + "\n".join(notes)] if notes else []
    return parts + _beside(rows)


def _beside(rows: pd.DataFrame) -> list[str]:
    """What the papers print besides the mean Dice, next to what was measured."""
    found = differences.from_papers(rows)
    found = found[(found["metric"] != "dice") | (found["statistic"] != "mean")]
    if found.empty:
        return []
    numbers: dict[str, int] = {}
    of_slices = rows.iloc[0]["unit"] == "slice"
    lines = []
    for row in insights.records(found):
        notes = [note for note in row["notes"].split(differences.BETWEEN_NOTES) if note]
        marks = ", ".join(str(numbers.setdefault(note, len(numbers) + 1)) for note in notes)
        digits = 3 if row["metric"] in LOWER_IS_BETTER else 4
        name = _TITLES.get(row["metric"], row["metric"].replace("_", " "))
        lines.append(
            [
                escape(row["system"]),
                f"{name}, {row['statistic']}",
                number(row["measured"], digits),
                *([number(row["measured_all_slices"], digits)] if of_slices else []),
                escape(row["printed"]) + (f" ({marks})" if marks else ""),
                escape(f"{row['cite']}, {row['source']}"),
            ]
        )
    header = ["system", "metric", "measured", *(["all slices"] if of_slices else [])]
    parts = ["What the papers print besides:", grid([*header, "published", "source"], lines)]
    notes = [f"{place}. {escape(note)}" for note, place in numbers.items()]
    return [*parts, "\n".join(notes)] if notes else parts


def table_columns(rows: pd.DataFrame, meta: Meta) -> tuple[dict[str, list[str]], list[str]]:
    """Header and cells of a table's columns, and the footnotes on published values."""
    records = [dict(zip(rows.columns, row, strict=True)) for row in rows.itertuples(index=False)]
    most_cases, most_seeds = rows["n_cases"].max(), rows["n_seeds"].max()
    best = rows.loc[rows["rank"] == 1, "dice_mean"].max()
    columns = {
        "#": [rank_text(row, best) for row in records],
        "system": [escape(meta.called(row["system"], row["protocol"])) for row in records],
        "Dice [95 % CI]": [_interval(row) for row in records],
        "SD cases": [number(row["dice_sd_cases"], 4) for row in records],
        "SD seeds": [number(row["dice_sd_seeds"], 4) for row in records],
    }
    for header, metric, digits in shown_metrics(rows):
        columns[header] = [mean_text(row, metric, digits) for row in records]
    if rows["dice_mean_clean"].notna().any():
        columns["Dice clean (n)"] = [
            f"{number(row['dice_mean_clean'], 4)} ({row['n_cases_clean']})" for row in records
        ]
    if rows.iloc[0]["unit"] == "slice":
        columns["Dice, all slices"] = [number(row["dice_mean_all_slices"], 4) for row in records]
        columns["IoU, all slices"] = [number(row["iou_mean_all_slices"], 4) for row in records]
        columns["false-positive slices"] = [
            number(row["false_positive_slice_rate"], 4) for row in records
        ]
    columns["n"] = [count_of(row["n_cases"], most_cases) for row in records]
    columns["seeds"] = [count_of(row["n_seeds"], most_seeds) for row in records]
    columns["epoch"] = [epoch_text(row) for row in records]
    columns["failed"] = [str(row["n_failed"]) for row in records]
    columns["< .90"] = [str(row["n_below_90"]) for row in records]
    columns["< .80"] = [str(row["n_below_80"]) for row in records]
    columns["published Dice"], notes = _published(records)
    return columns, notes


def shown_metrics(rows: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Header, metric and digits of the means beside Dice; in mm where a spacing is known.

    Scans have no distances in pixels, and say how many of their nodules the lungs hold.
    """
    unit = rows.iloc[0]["unit"]
    shown = [("IoU", "iou", 4), ("NSD", "nsd", 4)]
    if unit != "scan":
        shown += [("HD95 px", "hausdorff95_px", 2), ("ASSD px", "assd_px", 2)]
    if rows["hausdorff95_mm_n"].any():
        shown += [("HD95 mm", "hausdorff95_mm", 2), ("ASSD mm", "assd_mm", 2)]
    if unit == "slice":
        shown += [("rows HD", "hausdorff_rowvector", 2)]
    return shown + [entry for entry in _NODULES if rows[f"{entry[1]}_n"].any()]


def _interval(row: Mapping[str, Any]) -> str:
    low, high = number(row["dice_ci_low"], 4), number(row["dice_ci_high"], 4)
    return f"{number(row['dice_mean'], 4)} [{low}, {high}]"


def _published(records: Iterable[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    cells: list[str] = []
    notes: list[str] = []
    for row in records:
        value = reported.beside_row(row)
        if value is None:
            cells.append("–")
            continue
        notes.append(f"{len(notes) + 1}. {escape(' — '.join((value.label, *value.notes)))}")
        cells.append(f"{number(value.value, 4)} ({len(notes)})")
    return cells, notes


def _notes(notes: Mapping[str, str]) -> list[str]:
    return [f"- {escape(name.replace('_', ' '))}: {escape(text)}" for name, text in notes.items()]


def _systems(meta: Meta) -> list[str]:
    """Each system's title and recipe, and what stands for what its paper left open."""
    parts = []
    for system, told in told_of_systems(meta.recipes).items():
        parts.append(f"### {escape(meta.called(system))}\n\n{escape(told.title)}")
        for protocols, stages in told.stages.items():
            where = f" ({', '.join(map(escape, protocols))})" if len(told.stages) > 1 else ""
            lines = [f"- {escape(stage.name)}: {escape(stage.text)}" for stage in stages]
            parts.append(f"As run{where}:\n\n" + "\n".join(lines))
        if told.notes:
            parts.append("Notes:\n\n" + "\n".join(_notes(told.notes)))
    return ["## The systems", *parts] if parts else []


def _unfinished(cells: Sequence[CellRecord]) -> list[str]:
    seeds: dict[tuple[str, ...], list[str]] = {}
    for cell in cells:
        if cell.state != "done":
            told = (cell.system, cell.protocol, cell.state or "–", cell.reason or "–")
            seeds.setdefault(told, []).append(str(cell.seed))
    rows = [
        [escape(system), escape(protocol), ", ".join(found), state, escape(reason)]
        for (system, protocol, state, reason), found in seeds.items()
    ]
    header = ("system", "protocol", "seeds", "state", "reason")
    return ["## Cells without a result", grid(header, rows, left=5)] if rows else []


def facts(meta: Meta) -> dict[str, str]:
    """How the finished cells were measured, by name; empty where nothing was recorded."""
    done = [cell for cell in meta.cells if cell.state == "done"]
    versions = sorted({f"{name} {v}" for cell in done for name, v in cell.versions.items()})
    return {
        "cells": f"{len(done)} of {len(meta.cells)} done",
        "commit": ", ".join(sorted({cell.commit for cell in done if cell.commit})),
        "device": ", ".join(sorted({cell.device for cell in done if cell.device})),
        "versions": ", ".join(versions),
        "wall time": f"{sum(cell.wall_s or 0 for cell in done) / 3600:.2f} h, all cells together",
        "bootstrap": f"{meta.draws} draws over patients and seeds",
        **({"external": external} if (external := wording.from_elsewhere(done)) else {}),
    }


def _measured(meta: Meta) -> list[str]:
    done = [cell for cell in meta.cells if cell.state == "done"]
    lines = [f"- {name}: {escape(text) or 'not recorded'}" for name, text in facts(meta).items()]
    parts = ["## How it was measured", "\n".join(lines)]
    sizes = sorted({(cell.system, cell.parameters) for cell in done if cell.parameters})
    if sizes:
        rows = [[escape(name), f"{count:,}"] for name, count in sizes]
        parts.append(grid(("system", "parameters"), rows, left=1))
    return parts

"""What was done, in words for a paper's methods section.

Every number is one of the cells' configs or records, or of the leaderboard's tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import pandas as pd

from contract.rows import TABLE_KEYS
from leaderboards import markdown, texts, wording
from leaderboards.manuscript import bibliography
from leaderboards.manuscript.references import DataSets
from leaderboards.markdown import FLOOR, Meta
from leaderboards.recipes import Stage, Told, told_of_systems
from leaderboards.statistics.comparisons import PRACTICALLY_EQUAL


def methods(table: pd.DataFrame, meta: Meta, data: DataSets, agreement: bool = False) -> str:
    """A methods section as Markdown, with citations as Pandoc reads them (``[@key]``).

    Args:
        table: rows in ``contract.rows.LEADERBOARD_SCHEMA``.
        meta: what surrounds them.
        data: the data sets of the rows.
        agreement: areas, volumes or ratios were compared with the reference's.
    """
    parts = ["# Methods"]
    if table["phantom"].any():
        parts.append(markdown.PHANTOM_BANNER)
    parts += [_design(table, meta, data), *_choice(table, meta), *_protocols(table, meta)]
    told = told_of_systems(meta.recipes)
    parts += [_system(name, told.get(name), meta) for name in _systems(table)]
    parts += _reduced(table)
    parts += [_scores(table), _statistics(table, meta, agreement)]
    facts = {name: texts.escape(text) for name, text in markdown.facts(meta).items() if text}
    parts.append(
        "Provenance: "
        + "; ".join(f"{name}: {text}" for name, text in facts.items() if name != "bootstrap")
        + "."
    )
    return "\n\n".join(parts) + "\n"


def _systems(table: pd.DataFrame) -> list[str]:
    return sorted(set(table["system"]) - {FLOOR})


def _design(table: pd.DataFrame, meta: Meta, data: DataSets) -> str:
    systems, protocols = _systems(table), list(dict.fromkeys(table["protocol"]))
    trained = _listed(_cited(name, bibliography.of_data_set(name)) for name in data.train)
    tested = _listed(_cited(name, bibliography.of_data_set(name)) for name in data.test)
    floor = (
        f" The mean training mask (`{FLOOR}`) is the floor."
        if FLOOR in set(table["system"])
        else ""
    )
    named = "; ".join(_cited(meta.called(name), bibliography.of_system(name)) for name in systems)
    seeds = sorted({cell.seed for cell in meta.cells if cell.is_done and cell.external is None})
    which = f" ({', '.join(map(str, seeds))})" if seeds else ""
    return (
        f"We compared {_count(len(systems), 'system')} under {_count(len(protocols), 'protocol')}"
        f" ({', '.join(f'`{name}`' for name in protocols)}). Networks were trained on {trained} and"
        f" tested on {tested}, with {_range(sorted(set(table['n_seeds'])), 'training seed')}{which}"
        f" each. Splits were fixed before training and were the same for all systems."
        f"{floor} The systems: {named}."
    )


def _choice(table: pd.DataFrame, meta: Meta) -> list[str]:
    """What a test set chose, system by system; nothing is known of those from elsewhere."""
    own = [name for name in _systems(table) if name not in meta.external]
    clean = [name for name in own if name not in meta.chosen_on]
    said = []
    if clean:
        said.append(
            "No test case chose a checkpoint, a threshold, an epoch or a recipe of"
            f" {_codes(clean)}."
        )
    for protocols in dict.fromkeys(meta.chosen_on[name] for name in own if name in meta.chosen_on):
        those = [name for name in own if meta.chosen_on.get(name) == protocols]
        said.append(
            f"The recipe of {_codes(those)} was adjusted in sight of the test set of"
            f" {_codes(protocols)}; no test case chose a checkpoint, a threshold or an epoch."
        )
    if meta.external:
        said.append(f"What chose {_codes(sorted(meta.external))} is not known here.")
    return [" ".join(said)] if said else []


def _protocols(table: pd.DataFrame, meta: Meta) -> list[str]:
    """Counts of cases by protocol, and its notes."""
    said = []
    for protocol in dict.fromkeys(table["protocol"]):
        cells = [c for c in meta.cells if c.protocol == protocol and c.is_done and not c.external]
        counted = [cell for cell in cells if cell.n_validation is not None]
        title = texts.escape(meta.protocols.get(protocol, ""))
        line = f"`{protocol}`" + (f" ({title})" if title and title != protocol else "")
        if counted:
            told = wording.labelled(asdict(cell) for cell in counted)
            line += f": {texts.escape(told)}; {counted[0].n_test} test cases"
            line += f" in {counted[0].folds} folds" if (counted[0].folds or 1) > 1 else ""
        notes = meta.protocol_notes(protocol).values()
        said += [f"{line}." + "".join(f" {texts.escape(text)}." for text in notes)]
    return [" ".join(said)]


def _system(name: str, told: Told | None, meta: Meta) -> str:
    """One system's recipe, and its notes: what its paper left open, and what stands for it."""
    head = f"**{_cited(meta.called(name), bibliography.of_system(name))}**"
    if told is None:
        return f"{head}. How it was trained is not recorded here."
    parts = [f"{head}: {texts.escape(told.title)}."]
    for protocols, stages in told.stages.items():
        where = f"Under {_codes(protocols)}: " if len(told.stages) > 1 else "As run: "
        parts.append(where + "; ".join(_stage(stage) for stage in stages) + ".")
    cells = [cell for cell in meta.cells if cell.system == name and cell.is_done]
    epochs = [epoch for cell in cells for epoch in cell.tested_epochs]
    if epochs:
        parts.append(f"The tested weights had trained {_span(epochs)} epochs.")
    if told.notes:
        notes = "; ".join(
            f"{texts.escape(key.replace('_', ' '))}: {texts.escape(text)}"
            for key, text in told.notes.items()
        )
        parts.append(f"Notes: {notes}.")
    return " ".join(parts)


def _stage(stage: Stage) -> str:
    keys = list(dict.fromkeys(key for part in stage.parts for key in bibliography.of_part(part)))
    return f"{stage.name} {texts.escape(stage.text)}" + (f" {_bracket(keys)}" if keys else "")


def _scores(table: pd.DataFrame) -> str:
    return (
        "Every metric was computed per case from hard masks on the reference's own grid, averaged"
        " over seeds within a case and then over cases. Surface Dice (NSD)"
        f" {_keys('surface_dice')} has a tolerance of 2 mm, or the same share of the image's"
        " diagonal where the spacing is unknown. A case in which exactly one of prediction and"
        " reference is empty counts with Dice 0 and the image's diagonal as distance."
        + "".join(f" {said}" for said in _of_scans(table))
    )


def _statistics(table: pd.DataFrame, meta: Meta, agreement: bool) -> str:
    """Intervals, and only those tests that were made."""
    said = [
        f"Intervals are 95 % percentile intervals of a bootstrap {_keys('bootstrap')} with"
        f" {meta.draws:,} draws over patients and seeds, the same draws for all systems."
    ]
    if set(table["n_seeds"]) == {1}:
        said.append("With one seed they know nothing of the spread between trainings.")
    ranked = table[table["rank"].notna()]
    if (ranked.groupby(list(TABLE_KEYS)).size() > 1).any():
        said.append(
            f"Systems were compared in pairs by simultaneous (max-T) intervals"
            f" {_keys('simultaneous')} and by Wilcoxon's signed-rank test over patients with Holm's"
            f" correction over all pairs of a table {_keys('signed_rank')}. Differences under"
            f" {PRACTICALLY_EQUAL} Dice are called practically equal."
        )
    if agreement:
        said.append(
            "Where areas, volumes or cardiothoracic ratios were measured, agreement with the"
            f" reference is given as bias and limits of agreement {_keys('agreement')}."
        )
    return " ".join(said)


def _reduced(table: pd.DataFrame) -> list[str]:
    """What was changed of systems that are not what their papers describe."""
    told: dict[str, list[str]] = {}
    for _, rows in table.groupby("protocol", sort=False):
        for name, changes in markdown.reduced_systems(rows).items():
            told[name] = list(dict.fromkeys([*told.get(name, []), changes]))
    lines = [f"- {texts.escape(name)}: {texts.escape(' | '.join(text))}"
             for name, text in sorted(told.items())]  # fmt: skip
    return [f"{wording.REDUCED}\n\n" + "\n".join(lines)] if lines else []


def _of_scans(table: pd.DataFrame) -> list[str]:
    """What a reader of CT results must know of cases and masks."""
    said = []
    if table["unit"].eq("scan").any():
        said.append(
            "CT scans were segmented slice by slice and scored as volumes, a scan a case, with"
            " distances in mm; their slices were scored apart and are not ranked."
        )
    notes = {"automatic": wording.AUTOMATIC, "pseudo": wording.PSEUDO}
    return said + [note for kind, note in notes.items() if table["reference"].eq(kind).any()]


def _keys(method: str) -> str:
    return _bracket(bibliography.of_method(method))


def _bracket(keys: Iterable[str]) -> str:
    return "[" + "; ".join(f"@{key}" for key in keys) + "]"


def _cited(name: str, keys: tuple[str, ...] | None) -> str:
    said = texts.escape(name)
    return f"{said} {_bracket(keys)}" if keys else said


def _codes(names: Iterable[str]) -> str:
    return _listed(f"`{name}`" for name in names)


def _listed(names: Iterable[str]) -> str:
    *first, last = list(names) or ["no data set"]
    return f"{', '.join(first)} and {last}" if first else last


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _range(counts: Sequence[int], word: str) -> str:
    if len(counts) < 2:
        return _count(counts[0] if counts else 0, word)
    return f"{counts[0]} to {_count(counts[-1], word)}"

"""What was done, in words for a paper's methods section."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from leaderboards import markdown, wording
from leaderboards.manuscript import bibliography
from leaderboards.manuscript.references import DataSets
from leaderboards.markdown import FLOOR, Meta
from leaderboards.statistics.comparisons import PRACTICALLY_EQUAL


def methods(table: pd.DataFrame, meta: Meta, data: DataSets) -> str:
    """A methods section as Markdown, with citations as Pandoc reads them (``[@key]``)."""
    systems = sorted(set(table["system"]) - {FLOOR})
    protocols = list(dict.fromkeys(table["protocol"]))
    seeds = sorted(set(table["n_seeds"]))
    parts = ["# Methods"]
    if table["phantom"].any():
        parts.append(markdown.PHANTOM_BANNER)
    named = "; ".join(_cited(name, bibliography.of_system(name)) for name in systems)
    trained = _listed(_cited(name, bibliography.of_data_set(name)) for name in data.train)
    tested = _listed(_cited(name, bibliography.of_data_set(name)) for name in data.test)
    floor = (
        f" The mean training mask (`{FLOOR}`) is the floor."
        if FLOOR in set(table["system"])
        else ""
    )
    parts.append(
        f"We compared {_count(len(systems), 'system')} under {_count(len(protocols), 'protocol')}"
        f" ({', '.join(f'`{name}`' for name in protocols)}). Networks were trained on {trained} and"
        f" tested on {tested}, with {_range(seeds, 'training seed')} each. Splits were fixed before"
        f" training and were the same for all systems; no test case chose a checkpoint, a threshold"
        f" or an epoch.{floor} The systems: {named}."
    )
    parts.append(
        "Every metric was computed per case from hard masks on the reference's own grid, averaged"
        " over seeds within a case and then over cases. Surface Dice (NSD)"
        f" {_keys('surface_dice')} has a tolerance of 2 mm, or the same share of the image's"
        " diagonal where the spacing is unknown. A case in which exactly one of prediction and"
        " reference is empty counts with Dice 0 and the image's diagonal as distance."
        + "".join(f" {said}" for said in _of_scans(table))
    )
    parts.append(
        f"Intervals are 95 % percentile intervals of a bootstrap {_keys('bootstrap')} with"
        f" {meta.draws:,} draws over patients and seeds, the same draws for all systems. Systems"
        f" were compared in pairs by simultaneous (max-T) intervals {_keys('simultaneous')} and by"
        " Wilcoxon's signed-rank test over patients with Holm's correction over all pairs of a"
        f" table {_keys('signed_rank')}. Differences under {PRACTICALLY_EQUAL} Dice are called"
        " practically equal. Where areas, volumes or cardiothoracic ratios were measured, agreement"
        f" with the reference is given as bias and limits of agreement {_keys('agreement')}."
    )
    facts = {name: markdown.escape(text) for name, text in markdown.facts(meta).items() if text}
    parts.append(
        "Provenance: "
        + "; ".join(f"{name}: {text}" for name, text in facts.items() if name != "bootstrap")
        + "."
    )
    return "\n\n".join(parts) + "\n"


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
    said = markdown.escape(name)
    return f"{said} {_bracket(keys)}" if keys else said


def _listed(names: Iterable[str]) -> str:
    *first, last = list(names) or ["no data set"]
    return f"{', '.join(first)} and {last}" if first else last


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _range(counts: Sequence[int], word: str) -> str:
    if len(counts) < 2:
        return _count(counts[0] if counts else 0, word)
    return f"{counts[0]} to {_count(counts[-1], word)}"

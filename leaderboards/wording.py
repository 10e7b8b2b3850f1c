"""What a table must say of its reference masks and of what was scored, wherever it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from contract.cell_record import CellRecord
from contract.rows import RANKED_REFERENCES, RANKED_UNITS
from contract.words import CLASS_MEAN
from leaderboards.statistics.comparisons import PRACTICALLY_EQUAL

_REFERENCES = {
    "dilated": "dilated reference masks",
    "automatic": "automatic reference masks",
    "pseudo": "PSEUDO-MASKS",
}
_UNITS = {"slice": "per slice", "scan": "per scan"}

PSEUDO = (
    "PSEUDO-MASKS: no lung masks of this data set are public. An algorithm computed the masks that "
    "the systems were trained and scored on, so that these numbers tell how well they follow it, "
    "and nothing about anatomy."
)
AUTOMATIC = (
    "Automatic reference masks: an algorithm drew them, not a reader; its faults count as the "
    "systems'."
)
SCANS = (
    "Each scan is one case, scored as a volume; distances are in mm. Nodules: the share of "
    "annotated ones with at least half of their pixels inside the predicted lungs; pleural ones "
    "lie within 2 mm of the outer boundary of the reference, or outside it."
)
SLICES = (
    "Means and medians over the slices whose reference holds the structure. Rows HD is no distance "
    "between masks, but what LGAN's paper seems to print as one: the root of the number of pixels "
    "in which two rows of the masks differ, at the network's size."
)

CLASSES = (
    "The mean of a case's scores of lungs and heart, as papers on both print it; each has a table "
    "of its own. Not ranked: it is no mask, and systems that learn the lungs alone have none."
)


def labelled(rows: Iterable[Mapping[str, Any]]) -> str:
    """Say how many labelled cases trained, and how many chose the checkpoint.

    Args:
        rows: rows of one protocol with ``system``, ``n_train`` and ``n_validation``.

    Returns:
        a clause without its full stop; empty where nothing is known.
    """
    systems: dict[tuple[int, int | None], list[str]] = {}
    for row in rows:
        if pd.isna(row["n_train"]):
            continue
        seen = None if pd.isna(row["n_validation"]) else int(row["n_validation"])
        names = systems.setdefault((int(row["n_train"]), seen), [])
        names += [row["system"]] if row["system"] not in names else []
    told: list[str] = []
    for counts, names in sorted(systems.items(), key=lambda item: -len(item[1])):
        alone = f"{', '.join(names)}: " if told else ""
        told.append(alone + _counted(*counts))
    return "; ".join(told)


def _counted(n_train: int, n_validation: int | None) -> str:
    if n_validation is None:
        return f"{n_train} training cases"
    said = f"{n_train} training and {n_validation or 'no'} validation cases"
    return f"{said}, {n_train + n_validation} labelled ones in all"


REDUCED_MEANS = "Reduced: trained otherwise than their descriptions say"
REDUCED = f"{REDUCED_MEANS}, so no published value stands beside."


CRITICS = (
    "Mean Dice of a pair minus that of the same generator without a critic: the same start, order, "
    "steps, loss and preprocessing, both tested on epochs after the critic joined. Paired by case "
    "and seed, with the 95 % interval of each difference alone, over draws of patients and seeds. "
    f"≈: less than {PRACTICALLY_EQUAL} Dice, practically equal."
)


def label(system: str, reduced: bool) -> str:
    """A system's name as it stands in any table: a reduced one says so."""
    return f"{system} (reduced)" if reduced else system


def changes_text(changes: Iterable[Mapping[str, Any]]) -> str:
    """What a reduced system does otherwise than its file says, in one line.

    Args:
        changes: ``key``, ``from`` and ``to`` of each, as in ``contract.cell_record``.
    """
    return "; ".join(
        f"{_short(change['key'])} {_value(change['from'])} → {_value(change['to'])}"
        for change in changes
    )


def _short(key: str) -> str:
    """A key without what says nothing to people: ``model.init_args.critic.init_args.hidden``."""
    parts = key.removeprefix("model.").removeprefix("data.").split(".")
    return ".".join(part for part in parts if part != "init_args") or key


def _value(value: object) -> str:
    return "not set" if value is None else str(value)


def heading(table: Mapping[str, Any]) -> str:
    """A table's heading: its structure, and what sets its reference and unit apart.

    Args:
        table: the values of ``contract.rows.TABLE_KEYS``, or any row of the table.
    """
    words = [str(table["structure"]).replace("_", " ")]
    words += [_REFERENCES[table["reference"]]] if table["reference"] in _REFERENCES else []
    words += [_UNITS[table["unit"]]] if table["unit"] in _UNITS else []
    return ", ".join(words)


def remarks(table: Mapping[str, Any]) -> list[str]:
    """What a reader must know before the numbers, a plain sentence or two each.

    Args:
        table: the values of ``contract.rows.TABLE_KEYS``, or any row of the table.
    """
    said = {"pseudo": [PSEUDO], "automatic": [AUTOMATIC]}.get(table["reference"], [])
    said += {"scan": [SCANS], "slice": [SLICES]}.get(table["unit"], [])
    if table["structure"] == CLASS_MEAN:
        said.append(CLASSES)
    elif table["reference"] not in RANKED_REFERENCES:
        said.append(f"Not ranked: {_REFERENCES[table['reference']]} compare with no others.")
    elif table["unit"] not in RANKED_UNITS:
        said.append("Not ranked: the ranking is by whole scans.")
    return said


def one_seed(rows: pd.DataFrame) -> list[str]:
    """What must stand beside intervals that come from a single training.

    Args:
        rows: a table of the leaderboard.
    """
    single = rows["n_seeds"] == 1
    if not single.any():
        return []
    few, others = rows["system"][single], rows["system"][~single]
    if others.empty:
        whose = "The intervals"
    elif len(few) > len(others):
        whose = f"The intervals of all but {', '.join(others)}"
    else:
        whose = f"The intervals of {', '.join(few)}"
    return [f"{whose} come from one seed: they know nothing of the spread between trainings."]


def from_elsewhere(cells: Iterable[CellRecord]) -> str:
    """What predicted the masks of external systems, by protocol where that differs.

    Args:
        cells: finished ones; those that were trained here are left out.
    """
    told: dict[str, dict[str, list[str]]] = {}
    for cell in sorted(cells, key=lambda cell: cell.key):
        if cell.external is not None:
            tool = cell.external.get("tool") or "another tool"
            data = cell.external.get("train_on") or "data that is not known"
            said = f"masks predicted by {tool}, scored by the same rules; trained on {data}"
            told.setdefault(cell.system, {}).setdefault(said, []).append(cell.protocol)
    parts = []
    for system, texts in told.items():
        for said, protocols in texts.items():
            where = f" ({', '.join(dict.fromkeys(protocols))})" if len(texts) > 1 else ""
            parts.append(f"{system}{where}: {said}")
    return "; ".join(parts)

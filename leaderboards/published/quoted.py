"""What was printed of a protocol and that no row here can answer: quoted, not run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contract.rows import METRICS
from leaderboards.published import reported
from leaderboards.published.differences import MEASURED_AS
from leaderboards.published.reported import PublishedValue

TITLE = "Quoted, not run here"
ABOUT = (
    "What papers and other benchmarks print under these protocols, or near to them, of systems "
    "that are not built here, of training and validation films, or by metrics of their own. "
    "Nothing of it is measured, checked or ranked."
)


@dataclass(frozen=True)
class Quotation:
    """One system's line of one table.

    Attributes:
        system: as the project would call it.
        printed: its numbers verbatim, each with its metric.
        source: the paper or page, and its table.
        notes: what keeps it from being compared.
    """

    system: str
    printed: str
    source: str
    notes: tuple[str, ...]


def is_answered(value: PublishedValue) -> bool:
    """Tell whether a row of a leaderboard can stand beside a number."""
    known = MEASURED_AS.get(value.metric, value.metric) in METRICS
    return value.split == "test" and known and not value.elsewhere and not value.peer


def quotations(protocol: str) -> list[Quotation]:
    """Return a protocol's quotations, in the order of the papers' files and tables."""
    lines: dict[tuple[str, str], list[PublishedValue]] = {}
    for value in (*reported.published_values(), *reported.peer_values()):
        if value.protocol == protocol and not is_answered(value):
            of_split = "" if value.split == "test" else f", {value.split}"
            source = f"{value.cite}, {value.source}{of_split}"
            lines.setdefault((source, value.system), []).append(value)
    return [
        Quotation(system, _printed(values), source, _notes(values))
        for (source, system), values in lines.items()
    ]


def _printed(values: Sequence[PublishedValue]) -> str:
    medians = {"mean": "", "median": "median "}
    return ", ".join(
        f"{medians[value.statistic]}{value.metric.replace('_', ' ')} {value.printed}"
        for value in values
    )


def _notes(values: Sequence[PublishedValue]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for value in values for note in value.notes))

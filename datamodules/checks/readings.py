"""What is to be said of how a user's films were read: one line a kind, with the number of films."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from datamodules.checks.problems import Problem
from datamodules.sources import Source
from datamodules.sources.films import Film


def tell_readings(source: Source, films: Sequence[tuple[Path, Film]]) -> list[Problem]:
    """Tell films of differing depth, films that were turned, and films that may be none.

    Args:
        source: the reader of the data set.
        films: each film's file and what reading it told.
    """
    problems = []
    depths = Counter(film.bits for _, film in films if film.bits is not None)
    if len(depths) > 1:
        found = ", ".join(
            f"{_films(count)} of {bits} bits" for bits, count in sorted(depths.items())
        )
        todo = "state `bits:` in the YAML file if they are alike; each is scaled by its own"
        problems.append(_reading(source.folder, found, "films of one depth", todo))
    doubts = [(text, path) for path, film in films for text in film.doubts]
    remarks = [(text, path) for path, film in films for text in film.remarks]
    for told, expected, todo in (
        (doubts, "frontal films of a chest, the right way up", "look at them"),
        (remarks, "upright films", "see that their masks are drawn upright too"),
    ):
        groups: dict[str, list[Path]] = {}
        for text, path in told:
            groups.setdefault(text, []).append(path)
        for text, paths in groups.items():
            found = f"{_films(len(paths))}, {paths[0].name} first: {text}"
            problems.append(_reading(source.folder, found, expected, todo))
    return problems


def _films(count: int) -> str:
    return f"{count} film{'s' if count > 1 else ''}"


def _reading(folder: Path, found: str, expected: str, todo: str) -> Problem:
    return Problem("reading", str(folder), found, expected, todo, breaks=False)

"""Which entries of the bibliography a leaderboard cites."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from leaderboards.manuscript import bibliography


@dataclass(frozen=True)
class DataSets:
    """The data sets of a suite, as its rows name them."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    @classmethod
    def of(cls, transferred: Iterable[tuple[str | None, str]]) -> DataSets:
        """Collect the names from pairs (``train_on``, ``test_on``) of rows."""
        pairs = list(transferred)
        train = {name for names, _ in pairs if names for name in names.split("+")}
        return cls(tuple(sorted(train)), tuple(sorted({test for _, test in pairs})))


def references(text: str) -> str:
    """BibTeX of what the methods cite, ``[@key; @key]``; the tables cite no more.

    Raises:
        KeyError: a key has no entry.
    """
    groups = re.findall(r"(?<!\\)\[(@\w+(?:; @\w+)*)\]", text)
    return bibliography.bibtex(key[1:] for group in groups for key in group.split("; "))

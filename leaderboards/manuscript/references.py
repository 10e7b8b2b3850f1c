"""Which entries of the bibliography a leaderboard cites."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

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


def references(table: pd.DataFrame, data: DataSets) -> str:
    """BibTeX of the systems and data sets of a leaderboard, and of the methods behind it."""
    cited = [bibliography.of_system(name) for name in table["system"].unique()]
    cited += [bibliography.of_data_set(name) for name in (*data.train, *data.test)]
    cited += [bibliography.of_method(name) for name in bibliography.uses()["methods"]]
    return bibliography.bibtex(key for keys in cited for key in keys or ())

"""A protocol on data: the one place where rules meet cases, for plans, DataModules and checks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from datamodules.digests import combined
from datamodules.protocol import Protocol
from datamodules.sources import Source
from datamodules.sources.base import Case
from datamodules.splits import Split, make_split

SIDES = ("train", "test")
"""What a protocol lists data sets under."""


@dataclass
class OpenedSet:
    """One opened data set.

    Attributes:
        source: its reader.
        cases: its cases, sorted by id.
        digests: the content digest of each case; none where only the division is wanted.
    """

    source: Source
    cases: Sequence[Case]
    digests: Sequence[str] = ()


@dataclass
class DividedProtocol:
    """A protocol together with the opened data sets that it divides.

    Attributes:
        rules: the rules.
        data: the opened data sets, by the names that the rules give them.
    """

    rules: Protocol
    data: Mapping[str, OpenedSet] = field(default_factory=dict)
    _splits: dict[tuple[int, int], Split] = field(default_factory=dict, init=False, repr=False)

    def _called(self, name: str) -> str:
        """Return what a data set calls itself; a user's own stands as a path in the rules."""
        return self.data[name].source.name if name in self.data else Path(name).stem

    @property
    def train_on(self) -> str:
        """Names of the training sets, joined by ``+``."""
        return "+".join(map(self._called, self.rules.train))

    @property
    def test_on(self) -> str:
        """Names of the test sets, joined by ``+``."""
        return "+".join(map(self._called, self.rules.test))

    @property
    def settings(self) -> dict[str, object]:
        """The rules as a config holds them."""
        lists = self.rules.case_lists
        pinned = {} if lists is None else {"lists_digest": lists.digest}
        return {**self.rules.settings, **pinned}

    @property
    def identity(self) -> dict[str, object]:
        """The rules with data sets' names and lists' contents in place of paths, for hashing."""
        called = {side: [self._called(n) for n in getattr(self.rules, side)] for side in SIDES}
        settings = {key: value for key, value in self.settings.items() if key != "lists"}
        return {**settings, **called}

    @cached_property
    def fingerprint(self) -> str:
        """The digest of every case's id and content; the data sets must know their digests."""
        return combined(
            json.dumps([opened.source.name, case.case_id, digest])
            for _, opened in sorted(self.data.items(), key=lambda item: item[1].source.name)
            for case, digest in zip(opened.cases, opened.digests, strict=True)
        )

    @property
    def phantom(self) -> bool:
        """Whether any data set is synthetic."""
        return any(opened.source.phantom is not None for opened in self.data.values())

    @property
    def structures(self) -> list[set[str]]:
        """The structures that each training set has masks for."""
        return [set(self.data[name].source.structures) for name in self.rules.train]

    @property
    def share(self) -> float:
        """Cases present as a share of the official releases: 1 for real data, less for phantoms."""
        return sum(d.source.official_share for d in self.data.values()) / len(self.data)

    def split(self, seed: int, fold: int = 0) -> Split:
        """Return the division that a cell trains, validates and tests one fold by.

        Args:
            seed: the cell's seed, which chooses among few-shot sets and nothing else.
            fold: which fold tests, below ``rules.fold_count``.

        Raises:
            UserError: if the rule leaves a list empty.
            DataError: if a patient or an id would stand on both sides.
        """
        draw = self.rules.draw(seed)
        if (draw, fold) not in self._splits:
            cases = {name: opened.cases for name, opened in self.data.items()}
            self._splits[draw, fold] = make_split(self.rules, cases, self.share, draw, fold)
        return self._splits[draw, fold]

    def splits(self, seed: int) -> list[Split]:
        """Return one split a fold, for a cell of that seed; see ``split``."""
        return [self.split(seed, fold) for fold in range(self.rules.fold_count)]


def split_hash(splits: Iterable[Split]) -> str:
    """Return what names a cell's division on leaderboards: the digests of its folds."""
    return "+".join(split.digest for split in splits)

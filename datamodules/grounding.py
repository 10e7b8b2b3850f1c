"""A protocol on the data of one root: its sources, splits and fingerprint, or what is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmark.planning.compose import DESCRIPTIVE
from benchmark.planning.library import Settings
from contract.errors import MissingDataError
from datamodules.digests import Digests, Progress, combined
from datamodules.protocol import Protocol
from datamodules.sources import Source, open_source
from datamodules.sources.base import Case
from datamodules.splits import Split, make_split


@dataclass
class DataSet:
    """One opened data set: its reader, cases, and each case's content digest."""

    source: Source
    cases: list[Case]
    digests: list[str]


class DataRoot:
    """The data sets below a root, each opened once; absent ones are remembered as such.

    Args:
        root: the data root.
        cache: where digests are remembered.
        progress: shows the reading of files.
    """

    def __init__(self, root: Path, cache: Path, progress: Progress) -> None:
        self.root, self._cache, self._progress = root, cache, progress
        self._index = Digests(cache / "digests.json")
        self._opened: dict[str, DataSet | MissingDataError] = {}

    def open(self, name: str) -> DataSet:
        """Return a data set by name or by the path of a user's YAML file.

        Raises:
            MissingDataError: if it is absent.
            DataError: if it is incomplete or damaged.
        """
        if name not in self._opened:
            try:
                source = open_source(name, self.root, self._cache)
                cases = source.cases()
                digests = self._index.of_cases(cases, self._progress)
                self._opened[name] = DataSet(source, cases, digests)
                with suppress(OSError):  # it only saves time; `status` works on a read-only folder
                    self._index.save()
            except MissingDataError as error:
                self._opened[name] = error
        opened = self._opened[name]
        if isinstance(opened, MissingDataError):
            raise opened
        return opened


@dataclass
class GroundedProtocol:
    """A protocol together with the data that it divides.

    Attributes:
        name: the protocol's name.
        rules: the rules, user's own data sets as absolute paths.
        data: the opened data sets, by the names that the rules give them.
        problem: what is missing, empty if nothing is.
    """

    name: str
    rules: Protocol
    data: Mapping[str, DataSet] = field(default_factory=dict)
    problem: str = ""
    _splits: dict[tuple[int, int], Split] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """The rules as a config holds them."""
        defaults = Protocol(("a",), ("b",))
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in vars(self.rules).items()
            if value != getattr(defaults, key) or key in ("train", "test", "validation")
        }

    @property
    def identity(self) -> Settings:
        """The rules with data sets' names in place of paths, for hashing."""
        return {
            key: [self._called(name) for name in value] if key in ("train", "test") else value
            for key, value in self.settings.items()
        }

    def _called(self, name: str) -> str:
        return self.data[name].source.name if name in self.data else Path(name).stem

    @property
    def train_on(self) -> str:
        """Names of the training sets, joined by ``+``."""
        return "+".join(map(self._called, self.rules.train))

    @property
    def test_on(self) -> str:
        """Names of the test sets, joined by ``+``."""
        return "+".join(map(self._called, self.rules.test))

    @cached_property
    def fingerprint(self) -> str:
        """The digest of every case's id and content."""
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

    def splits(self, seed: int) -> list[Split]:
        """Return one split a fold, for a cell of that seed."""
        share = sum(d.source.official_share for d in self.data.values()) / len(self.data)
        cases = {name: opened.cases for name, opened in self.data.items()}
        draw = self.rules.draw(seed)
        found = []
        for fold in range(self.rules.fold_count):
            if (draw, fold) not in self._splits:
                self._splits[draw, fold] = make_split(self.rules, cases, share, draw, fold)
            found.append(self._splits[draw, fold])
        return found


def ground(settings: Settings, data: DataRoot) -> GroundedProtocol:
    """Open a protocol's data sets.

    Args:
        settings: the protocol's YAML; data sets of the user's own are paths, read from the
            protocol's folder, the data root or the current folder.
        data: the data root.

    Raises:
        DataError: if a data set is present but incomplete or damaged.
    """
    rules = {key: value for key, value in settings.items() if key not in DESCRIPTIVE}
    for side in ("train", "test"):
        rules[side] = [_absolute(name, settings, data.root) for name in rules.get(side, ())]
    protocol = GroundedProtocol(settings["name"], Protocol(**rules))
    missing, opened = [], {}
    for name in protocol.rules.datasets:
        try:
            opened[name] = data.open(name)
        except MissingDataError as error:
            missing.append(str(error))
    protocol.data, protocol.problem = opened, " | ".join(missing)
    return protocol


def _absolute(name: str, settings: Settings, root: Path) -> str:
    if not name.lower().endswith((".yaml", ".yml")):
        return name
    for folder in (Path(settings["folder"]), root, Path()):
        if (folder / name).is_file():
            return str((folder / name).resolve())
    return name

"""A protocol on the data of one root: opened and divided, or what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.errors import MissingDataError
from datamodules.digests import Digests, Progress
from datamodules.division import SIDES, DividedProtocol, OpenedSet
from datamodules.mask_survey import survey_masks
from datamodules.protocol import Protocol
from datamodules.sources import OwnData, open_source, open_sources, require_own_name


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
        self._opened: dict[str, OpenedSet | MissingDataError] = {}
        self._asked: dict[str, str] = {}

    def open(self, name: str) -> OpenedSet:
        """Return a data set by name or by the path of a user's YAML file.

        Raises:
            MissingDataError: if it is absent.
            DataError: if it is incomplete or damaged, or its masks cannot be read without a guess.
            UserError: if another description has its name.
        """
        if name not in self._opened:
            try:
                source = open_source(name, self.root, self._cache)
                require_own_name(source, name, self._asked)
                cases = source.cases()
                if isinstance(source, OwnData):
                    memory = self._cache / "own_masks.json"
                    survey_masks(source, cases, memory, self._progress).require_clear()
                digests = self._index.of_cases(cases, self._progress)
                self._opened[name] = OpenedSet(source, cases, digests)
                with suppress(OSError):  # it only saves time; `status` works on a read-only folder
                    self._index.save()
            except MissingDataError as error:
                self._opened[name] = error
        opened = self._opened[name]
        if isinstance(opened, MissingDataError):
            raise opened
        return opened


@dataclass
class GroundedProtocol(DividedProtocol):
    """A named protocol on the data of a root; in its rules, a user's own sets are absolute paths.

    Attributes:
        name: the protocol's name.
        problem: what is missing, empty if nothing is.
    """

    name: str = ""
    problem: str = ""


def ground(name: str, rules: Mapping[str, Any], folder: Path, data: DataRoot) -> GroundedProtocol:
    """Open a protocol's data sets.

    Args:
        name: the protocol's name.
        rules: the arguments of ``Protocol``; data sets of the user's own and lists of cases are
            paths, read from the protocol's folder, the data root or the current folder.
        folder: the folder of the protocol's YAML file.
        data: the data root.

    Raises:
        UserError: if the rules contradict one another, or the lists of cases are faulty.
        DataError: if a data set is present but incomplete or damaged.
    """
    protocol = _protocol(rules, folder, data.root)
    _ = protocol.case_lists  # a faulty file of lists is told even where data is missing
    missing, opened = [], {}
    for dataset in protocol.datasets:
        try:
            opened[dataset] = data.open(dataset)
        except MissingDataError as error:
            missing.append(str(error))
    return GroundedProtocol(protocol, opened, name=name, problem=" | ".join(missing))


def ground_divided(rules: Mapping[str, Any], folder: Path, root: Path) -> DividedProtocol:
    """Open a protocol's data sets for their division alone: no file's content is read.

    Args:
        rules: as for ``ground``.
        folder: as for ``ground``.
        root: the data root.

    Raises:
        UserError: as ``ground`` does.
        DataError: if a data set is absent, incomplete or damaged.
    """
    protocol = _protocol(rules, folder, root)
    sources = open_sources(protocol.datasets, root)
    opened = {name: OpenedSet(source, source.cases()) for name, source in sources.items()}
    return DividedProtocol(protocol, opened)


def _protocol(rules: Mapping[str, Any], folder: Path, root: Path) -> Protocol:
    """Return the rules with the paths in them absolute, where a folder holds them."""
    folders = (folder, root, Path())
    placed: dict[str, Any] = {
        side: [_absolute(asked, folders, (".yaml", ".yml")) for asked in rules.get(side, ())]
        for side in SIDES
    }
    if isinstance(rules.get("lists"), str):
        placed["lists"] = _absolute(rules["lists"], folders, ("",))
    return Protocol(**{**rules, **placed})


def _absolute(name: str, folders: Sequence[Path], endings: tuple[str, ...]) -> str:
    if not name.lower().endswith(endings):
        return name
    for folder in folders:
        if (folder / name).is_file():
            return str((folder / name).resolve())
    return name

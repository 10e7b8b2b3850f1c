"""A suite to its cells, each knowing its split, its identity and its state."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.cells import Cell
from benchmark.compose import DESCRIPTIVE, choose_structures, compose, place
from benchmark.library import Settings, Suite, load, load_suite, override
from benchmark.pairs import cross
from contract.errors import MissingDataError, UserError
from datamodules.digests import Digests, Progress, combined, no_progress
from datamodules.protocol import Protocol
from datamodules.sources import Source, open_source
from datamodules.sources.base import Case
from datamodules.splits import Split, make_split


@dataclass
class Plan:
    """A suite's cells.

    Attributes:
        suite: the suite.
        folder: the suite's folder below the runs.
        cells: all its cells.
        protocols: each protocol's settings, by name.
        systems: each system's settings, by name, before any change.
        changes: the user's changes to every system, by dotted key.
        notices: what people should know before it runs.
    """

    suite: Suite
    folder: Path
    cells: list[Cell] = field(default_factory=list)
    protocols: dict[str, Settings] = field(default_factory=dict)
    systems: dict[str, Settings] = field(default_factory=dict)
    changes: Mapping[str, object] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


@dataclass
class _DataSet:
    source: Source
    cases: list[Case]
    digests: list[str]


class _DataRoot:
    """The data sets below a root, each opened once; absent ones are remembered as such."""

    def __init__(self, root: Path, cache: Path, progress: Progress) -> None:
        self.root, self._progress = root, progress
        self._index = Digests(cache / "digests.json")
        self._opened: dict[str, _DataSet | MissingDataError] = {}

    def open(self, name: str) -> _DataSet:
        if name not in self._opened:
            try:
                source = open_source(name, self.root)
                cases = source.cases()
                digests = self._index.of_cases(cases, self._progress)
                self._opened[name] = _DataSet(source, cases, digests)
                self._index.save()
            except MissingDataError as error:
                self._opened[name] = error
        opened = self._opened[name]
        if isinstance(opened, MissingDataError):
            raise opened
        return opened


def make_plan(
    suite_name: str,
    runs: Path,
    root: Path,
    changes: Mapping[str, object] | None = None,
    extra_systems: Sequence[str] = (),
    progress: Progress = no_progress,
) -> Plan:
    """Expand a suite.

    Args:
        suite_name: the suite's name or YAML file.
        runs: the runs folder.
        root: the data root.
        changes: overrides of every system, by dotted key.
        extra_systems: YAML files of systems that join the suite.
        progress: shows the reading of data files.

    Raises:
        UserError: if a YAML file is wrong.
        DataError: if a data set is present but incomplete or damaged.
    """
    suite = load_suite(suite_name)
    plan = Plan(suite, runs / suite.name, changes=changes or {})
    cache = runs / "cache"
    data = _DataRoot(root, cache, progress)
    for system in _systems(suite, extra_systems):
        if system["name"] in plan.systems:
            raise UserError(
                f"suite {suite.name}", f"a second system called {system['name']!r}", "unique names"
            )
        plan.systems[system["name"]] = system
    for name in suite.protocols:
        protocol = load("protocols", name)
        plan.protocols[protocol["name"]] = protocol
    _require_known(plan)
    for protocol in plan.protocols.values():
        _add_cells(plan, protocol, data, cache)
    return plan


def _systems(suite: Suite, extra_systems: Sequence[str]) -> list[Settings]:
    named = [load("systems", name) for name in dict.fromkeys((*suite.systems, *extra_systems))]
    if not suite.base:
        return named
    return [*named, *cross(load("systems", suite.base), suite.generators, suite.critics)]


def _require_known(plan: Plan) -> None:
    """Refuse a suite that speaks of systems or protocols which it does not hold."""
    suite = plan.suite
    limited = {name for names in suite.system_protocols.values() for name in names}
    spoken = [
        ("system", {*suite.system_overrides, *suite.system_protocols} - set(plan.systems)),
        ("protocol", {*suite.protocol_overrides, *limited} - set(plan.protocols)),
    ]
    for kind, unknown in spoken:
        for name in sorted(unknown):
            raise UserError(
                f"suite {suite.name}", f"settings for {name!r}", f"names of its {kind}s only"
            )


def _changed(plan: Plan, system: Settings, protocol: str) -> Settings:
    """Return a system with all changes that apply under a protocol, the user's last."""
    for layer in (*plan.suite.layers(system["name"], protocol), plan.changes):
        system = override(system, _strip(layer, system))
    return system


def _strip(overrides: Mapping[str, object], system: Settings) -> dict[str, object]:
    """Leave out overrides of things that the system does not have (a missing augmentation, say).

    A key marked with ``?`` applies only where the system already has it.
    """
    kept: dict[str, object] = {}
    for dotted, value in overrides.items():
        place: object = system
        for part in dotted.rstrip("?").split("."):
            place = place.get(part) if isinstance(place, dict) else None
        if not dotted.endswith("?") or place is not None:
            kept[dotted.rstrip("?")] = value
    return kept


def _add_cells(plan: Plan, settings: Settings, data: _DataRoot, cache: Path) -> None:
    rules = Protocol(**{k: v for k, v in settings.items() if k not in DESCRIPTIVE})
    missing, opened = [], {}
    for name in rules.datasets:
        try:
            opened[name] = data.open(name)
        except MissingDataError as error:
            missing.append(str(error))
    split: Split | None = None
    fingerprint = ""
    if not missing:
        share = sum(d.source.official_share for d in opened.values()) / len(opened)
        split = make_split(rules, {name: d.cases for name, d in opened.items()}, share)
        fingerprint = combined(
            json.dumps([name, case.case_id, digest])
            for name, d in sorted(opened.items())
            for case, digest in zip(d.cases, d.digests, strict=True)
        )
    for unchanged in plan.systems.values():
        if settings["name"] not in plan.suite.system_protocols.get(
            unchanged["name"], (settings["name"],)
        ):
            continue
        system = _changed(plan, unchanged, settings["name"])
        for seed in plan.suite.seeds:
            cell_folder = plan.folder / "cells" / system["name"] / settings["name"] / f"seed-{seed}"
            common = {
                "suite": plan.suite.name,
                "system": system["name"],
                "protocol": settings["name"],
                "seed": seed,
                "train_on": "+".join(rules.train),
                "test_on": "+".join(rules.test),
            }
            if split is None:
                plan.cells.append(Cell(**common, folder=cell_folder, problem=" | ".join(missing)))
                continue
            structures = choose_structures(
                system, [set(opened[name].source.structures) for name in rules.train]
            )
            config, digest = compose(system, settings, seed, structures, fingerprint)
            identity = {
                **common,
                "config_hash": digest,
                "checkpoint": config["checkpoint"],
                "code_folders": [system["folder"]],
            }
            plan.cells.append(
                Cell(
                    **common,
                    folder=cell_folder,
                    config=place(config, identity, data.root.resolve(), cache.resolve()),
                    config_hash=digest,
                    counts=(len(split.train), len(split.validation), len(split.test)),
                    split_hash=split.digest,
                    phantom=any(d.source.phantom is not None for d in opened.values()),
                    code_folders=(system["folder"],),
                )
            )

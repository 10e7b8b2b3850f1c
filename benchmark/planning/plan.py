"""A suite to its cells, each knowing its split, its identity and its state."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.cell.cell import Cell
from benchmark.planning.compose import (
    choose_structures,
    compose,
    first_epochs_without_critic,
    place,
    without_description,
)
from benchmark.planning.library import Settings, Suite, load_settings, load_suite, override
from benchmark.planning.pairs import cross
from contract.cell_folder import CellFolder
from contract.errors import DataError, UserError
from datamodules.digests import Progress, no_progress
from datamodules.division import split_hash
from datamodules.grounding import DataRoot, GroundedProtocol, ground


@dataclass
class Plan:
    """A suite's cells.

    Attributes:
        suite: the suite.
        folder: the suite's folder below the runs.
        cells: all its cells.
        protocols: each protocol's settings, by name.
        grounded: each protocol on the data of the root, by name.
        systems: each system's settings, by name, before any change.
        changes: the user's changes to every system, by dotted key.
        notices: what people should know before it runs.
    """

    suite: Suite
    folder: Path
    cells: list[Cell] = field(default_factory=list)
    protocols: dict[str, Settings] = field(default_factory=dict)
    grounded: dict[str, GroundedProtocol] = field(default_factory=dict)
    systems: dict[str, Settings] = field(default_factory=dict)
    changes: Mapping[str, object] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Selection:
    """Part of a suite's cells; an empty list leaves nothing out.

    Attributes:
        systems: names of systems.
        protocols: names of protocols.
        seeds: training seeds.
    """

    systems: Sequence[str] = ()
    protocols: Sequence[str] = ()
    seeds: Sequence[int] = ()

    def of(self, plan: Plan) -> list[Cell]:
        """Return the plan's cells that are meant.

        Raises:
            UserError: if a name or seed is not in the suite.
        """
        kinds: dict[str, tuple[Sequence[object], list[Any]]] = {
            "systems": (self.systems, list(plan.systems)),
            "protocols": (self.protocols, list(plan.protocols)),
            "seeds": (self.seeds, list(plan.suite.seeds)),
        }
        for kind, (wanted, known) in kinds.items():
            for unknown in [entry for entry in wanted if entry not in known]:
                raise UserError(f"--{kind}", repr(unknown), f"of suite {plan.suite.name}: {known}")
        return [
            cell
            for cell in plan.cells
            if (not self.systems or cell.system in self.systems)
            and (not self.protocols or cell.protocol in self.protocols)
            and (not self.seeds or cell.seed in self.seeds)
        ]


EVERYTHING = Selection()


def make_plan(
    suite_name: str,
    runs: Path,
    root: Path,
    changes: Mapping[str, object] | None = None,
    extra_systems: Sequence[str] = (),
    progress: Progress = no_progress,
    wanted: Collection[str] = (),
    wanted_systems: Collection[str] = (),
) -> Plan:
    """Expand a suite.

    Args:
        suite_name: the suite's name or YAML file.
        runs: the runs folder.
        root: the data root.
        changes: overrides of every system, by dotted key.
        extra_systems: YAML files of systems that join the suite.
        progress: shows the reading of data files.
        wanted: the protocols that are meant, if not all: damaged data of another one is told in
            a notice, and that protocol has no cells.
        wanted_systems: the systems that are meant, if not all: another one that cannot be trained
            is told in a notice, and has no cells.

    Raises:
        UserError: if a YAML file is wrong.
        DataError: if a data set is present but incomplete or damaged.
    """
    suite = load_suite(suite_name)
    plan = Plan(suite, runs / suite.name, changes=changes or {})
    cache = runs / "cache"
    data = DataRoot(root, cache, progress)
    for system in _systems(suite, extra_systems):
        if system["name"] in plan.systems:
            raise UserError(
                f"suite {suite.name}", f"a second system called {system['name']!r}", "unique names"
            )
        plan.systems[system["name"]] = system
    for name in suite.protocols:
        protocol = load_settings("protocols", name)
        plan.protocols[protocol["name"]] = protocol
    _require_known(plan)
    for name, protocol in plan.protocols.items():
        try:
            rules, folder = without_description(protocol), Path(protocol["folder"])
            plan.grounded[name] = ground(name, rules, folder, data)
        except DataError as error:
            if not wanted or name in wanted:
                raise
            plan.notices.append(f"protocol {name} is left out, its data is damaged: {error}")
            continue
        _add_cells(plan, plan.grounded[name], root, cache, wanted_systems)
    return plan


def _systems(suite: Suite, extra_systems: Sequence[str]) -> list[Settings]:
    named = [
        load_settings("systems", name) for name in dict.fromkeys((*suite.systems, *extra_systems))
    ]
    if not suite.base:
        return named
    return [*named, *cross(load_settings("systems", suite.base), suite.generators, suite.critics)]


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


def _add_cells(
    plan: Plan,
    protocol: GroundedProtocol,
    root: Path,
    cache: Path,
    wanted_systems: Collection[str],
) -> None:
    for name, unchanged in plan.systems.items():
        limited = plan.suite.system_protocols.get(name, (protocol.name,))
        if protocol.name in limited:
            system = _changed(plan, unchanged, protocol.name)
            try:
                _require_adversarial(system)
            except UserError as error:
                if not wanted_systems or name in wanted_systems:
                    raise
                plan.notices.append(f"{name} {protocol.name} is left out: {error}")
                continue
            for seed in plan.suite.seeds:
                plan.cells.append(_cell(plan, system, protocol, seed, root, cache))


def _cell(
    plan: Plan, system: Settings, protocol: GroundedProtocol, seed: int, root: Path, cache: Path
) -> Cell:
    common = {
        "suite": plan.suite.name,
        "system": system["name"],
        "protocol": protocol.name,
        "seed": seed,
        "train_on": protocol.train_on,
        "test_on": protocol.test_on,
    }
    folder = CellFolder.of(plan.folder, system["name"], protocol.name, seed).path
    if protocol.problem:
        return Cell(**common, folder=folder, problem=protocol.problem)
    structures = choose_structures(system, protocol.structures)
    config, digest = compose(system, protocol.identity, seed, structures, protocol.fingerprint)
    identity = {
        **common,
        "config_hash": digest,
        "checkpoint": config["checkpoint"],
        "checkpoint_after": config.get("checkpoint_after"),
        "code_folders": [system["folder"]],
    }
    splits = protocol.splits(seed)
    return Cell(
        **common,
        folder=folder,
        config=place(config, identity, protocol.settings, root.resolve(), cache.resolve()),
        config_hash=digest,
        counts=(
            len(splits[0].train),
            len(splits[0].validation),
            sum(len(split.test) for split in splits),
        ),
        split_hash=split_hash(splits),
        phantom=protocol.phantom,
    )


def _require_adversarial(system: Settings) -> None:
    """Refuse a training that ends before the epochs among which its weights are chosen.

    Raises:
        UserError: if it does.
    """
    epochs = system.get("trainer", {}).get("max_epochs")
    before = first_epochs_without_critic(system) or 0
    if isinstance(epochs, int) and 0 < epochs <= before:
        raise UserError(
            f"system {system['name']}, model.init_args.pretrain_epochs",
            f"{before}, and trainer.max_epochs {epochs}: no epoch in which the critic plays",
            f"less than {epochs}",
            "train longer, or --set 'model.init_args.pretrain_epochs?=$half_epochs'",
        )

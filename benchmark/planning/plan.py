"""A suite to its cells, each knowing its split, its identity and its state."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.cell.cell import Cell
from benchmark.planning.cells import Places, composed_cells
from benchmark.planning.compose import without_description
from benchmark.planning.design import Design, read_design
from benchmark.planning.library import Settings, Suite
from benchmark.planning.system_check import require_adversarial
from contract.errors import DataError, UserError
from contract.suggestions import did_you_mean
from datamodules.digests import Progress, no_progress
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
        left_out: why systems of the suite have no cells, by name.
    """

    suite: Suite
    folder: Path
    cells: list[Cell] = field(default_factory=list)
    protocols: dict[str, Settings] = field(default_factory=dict)
    grounded: dict[str, GroundedProtocol] = field(default_factory=dict)
    systems: dict[str, Settings] = field(default_factory=dict)
    changes: Mapping[str, object] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


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
                if unknown in plan.left_out:
                    raise UserError(f"--{kind}", f"{unknown!r}, which is faulty", "a sound one")
                expected = f"of suite {plan.suite.name}: {known}"
                todo = did_you_mean(unknown, known)
                raise UserError(f"--{kind}", repr(unknown), expected, todo)
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
    keep_going: bool = False,
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
        keep_going: leave faulty systems out, and say so in ``left_out``, instead of raising.

    Raises:
        UserError: if a YAML file is wrong.
        DataError: if a data set is present but incomplete or damaged.
    """
    design = read_design(suite_name, changes, extra_systems, root, keep_going, wanted_systems)
    return plan_design(design, runs, root, progress, wanted, wanted_systems)


def plan_design(
    design: Design,
    runs: Path,
    root: Path,
    progress: Progress = no_progress,
    wanted: Collection[str] = (),
    wanted_systems: Collection[str] = (),
) -> Plan:
    """Put a suite that is read and checked on the data of a root.

    Args:
        design: the suite's files.
        runs: as for ``make_plan``, like the others.
        root: the data root.
        progress: shows the reading of data files.
        wanted: the protocols that are meant, if not all.
        wanted_systems: the systems that are meant, if not all.

    Raises:
        DataError: if a data set is present but incomplete or damaged.
    """
    plan = Plan(design.suite, runs / design.suite.name, changes=design.changes)
    plan.left_out = {name: str(fault) for name, fault in design.faults.items()}
    plan.notices += [
        f"{name} is left out: its configuration is faulty, and nobody asked for it ({fault})"
        for name, fault in design.unwanted.items()
    ]
    plan.protocols = design.protocols
    plan.systems = {n: one for n, one in design.systems.items() if n not in design.faults}
    cache = runs / "cache"
    data = DataRoot(root, cache, progress)
    places = Places(plan.folder, root.resolve(), cache.resolve())
    for name, protocol in plan.protocols.items():
        try:
            rules, folder = without_description(protocol), Path(protocol["folder"])
            plan.grounded[name] = ground(name, rules, folder, data)
        except DataError as error:
            if not wanted or name in wanted:
                raise
            plan.notices.append(f"protocol {name} is left out, its data is damaged: {error}")
            continue
        _add_cells(plan, design, plan.grounded[name], places, wanted_systems)
    return plan


def _add_cells(
    plan: Plan,
    design: Design,
    protocol: GroundedProtocol,
    places: Places,
    wanted_systems: Collection[str],
) -> None:
    for name in plan.systems:
        if protocol.name in design.protocols_of(name):
            system = design.changed(name, protocol.name)
            try:
                require_adversarial(system)
            except UserError as error:
                if not wanted_systems or name in wanted_systems:
                    raise
                plan.notices.append(f"{name} {protocol.name} is left out: {error}")
                continue
            plan.cells += composed_cells(design, system, protocol, places)

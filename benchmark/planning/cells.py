"""A system under a protocol to its cells, one for each seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmark.cell.cell import Cell
from benchmark.cell.seal import sealed
from benchmark.planning.changes import changes_between
from benchmark.planning.compose import (
    choose_structures,
    compose,
    descriptive,
    place,
)
from benchmark.planning.design import Design
from benchmark.planning.library import Settings
from benchmark.planning.pairs import compared_pairs, completed, pair_names
from contract.cell_folder import CellFolder
from datamodules.division import split_hash
from datamodules.grounding import GroundedProtocol


@dataclass(frozen=True)
class Places:
    """Folders of this machine.

    Attributes:
        suite: the suite's, below the runs.
        root: the data root, resolved.
        cache: prepared images, resolved.
    """

    suite: Path
    root: Path
    cache: Path


def composed_cells(
    design: Design, system: Settings, protocol: GroundedProtocol, places: Places
) -> list[Cell]:
    """Return the cells of a system under a protocol, one for each of the suite's seeds.

    What all seeds share is made once; a cell's config is made when somebody asks for it.

    Args:
        design: the suite's files.
        system: the system with all changes.
        protocol: the protocol on data.
        places: where cells and data lie.

    Raises:
        UserError: if the training sets lack the system's structures, or nothing could choose its
            checkpoint.
    """
    name = system["name"]
    marks = _marks(design, system, protocol.name)
    folders = {
        seed: CellFolder.of(places.suite, name, protocol.name, seed).path
        for seed in design.suite.seeds
    }

    def common(seed: int) -> dict[str, Any]:
        return {
            "suite": design.suite.name,
            "system": name,
            "protocol": protocol.name,
            "seed": seed,
            "train_on": protocol.train_on,
            "test_on": protocol.test_on,
            **marks,
        }

    if protocol.problem:
        return [
            Cell(**common(seed), folder=folder, problem=protocol.problem)
            for seed, folder in folders.items()
        ]
    structures = choose_structures(system, protocol.structures)
    composition = compose(system, protocol.identity, structures, protocol.fingerprint)
    beside = {
        "code_folders": [system["folder"]],
        "about": {
            "system": descriptive(system),
            "protocol": descriptive(design.protocols[protocol.name]),
        },
    }

    def placed(seed: int, digest: str) -> Settings:
        config = composition.config(seed)
        identity = {
            **common(seed),
            "changes": [dict(change) for change in marks["changes"]],
            "config_hash": digest,
            "checkpoint": config["checkpoint"],
            "checkpoint_after": config.get("checkpoint_after"),
            **beside,
        }
        return sealed(place(config, identity, protocol.settings, places.root, places.cache))

    def cell(seed: int, folder: Path) -> Cell:
        digest, splits = composition.digest(seed), protocol.splits(seed)
        return Cell(
            **common(seed),
            folder=folder,
            placed=partial(placed, seed, digest),
            config_hash=digest,
            counts=(
                len(splits[0].train),
                len(splits[0].validation),
                sum(len(split.test) for split in splits),
            ),
            split_hash=split_hash(splits),
            phantom=protocol.phantom,
        )

    return [cell(seed, folder) for seed, folder in folders.items()]


def _marks(design: Design, system: Settings, protocol: str) -> dict[str, Any]:
    """Return what sets a cell apart from its system's file, and whom it is compared with.

    Args:
        design: the suite's files.
        system: the system with all changes.
        protocol: the protocol's name.
    """
    name, suite = system["name"], design.suite
    said = design.said(name, protocol)
    if name in pair_names(suite.generators, suite.critics):
        said = completed(said, suite.overrides)
    pair = compared_pairs(suite.generators, suite.critics).get(name)
    compared = pair is not None and pair.is_like(system, design.changed(pair.baseline, protocol))
    return {
        "changes": tuple(changes_between(said, system)),
        "baseline": pair.baseline if pair is not None and compared else "",
    }

"""What a cell is, as its config states it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmark.cell.checkpoints import CheckpointChoice


@dataclass(frozen=True)
class Identity:
    """What a cell is, as its config states it.

    Attributes:
        suite: the suite's name.
        system: the system's name.
        protocol: the protocol's name.
        seed: the training seed.
        train_on: the data sets that train.
        test_on: the data sets that test.
        config_hash: the hash of what was composed.
        checkpoint: which weights are tested: ``best`` validation Dice, or the ``last`` epoch.
        code_folders: folders of the user's own Python files.
        checkpoint_after: number of first epochs that ``best`` passes over, since no critic plays
            in them; None where no critic is in the game.
        about: titles, papers and notes of ``system`` and ``protocol``, for readers.
        changes: what the cell does otherwise than its system's file says.
        baseline: the system without a critic that it is compared with, of a pair.
        seal: digest of the config that ``config_hash`` was given to, see ``benchmark.cell.seal``.
    """

    suite: str
    system: str
    protocol: str
    seed: int
    train_on: str = ""
    test_on: str = ""
    config_hash: str = ""
    checkpoint: CheckpointChoice = "best"
    code_folders: list[str] = field(default_factory=list)
    checkpoint_after: int | None = None
    about: dict[str, Any] = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)
    baseline: str = ""
    seal: str = ""

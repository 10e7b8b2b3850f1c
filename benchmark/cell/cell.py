"""A cell: one system, protocol and seed, with its folder and the state recorded there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.cell.ownership import describe_owner, is_owned, owner_job
from benchmark.planning.library import Settings
from contract.files import write_atomically

INTERRUPTED = "interrupted; will resume"


@dataclass(frozen=True)
class Ticket:
    """A cell's place in a cluster's queue, as the cluster told.

    Attributes:
        job: the job's id, ``12_3`` for a task of an array.
        state: ``queued``, ``running``, or ``gone`` when the cluster knows it no longer.
        reason: why it waits, or how it ended.
        config_hash: the configuration that was submitted.
        log: the job's own log, beside the cell's.
    """

    job: str
    state: str
    reason: str
    config_hash: str
    log: Path


@dataclass(frozen=True, eq=False)
class Cell:
    """One system × protocol × seed.

    Attributes:
        suite: the suite's name.
        system: the system's name.
        protocol: the protocol's name.
        seed: the training seed.
        folder: where everything of the cell lies.
        config: the placed LightningCLI config, or None where the data is absent.
        config_hash: the hash of what was composed.
        train_on: the data sets that train, joined by ``+``.
        test_on: the data sets that test.
        counts: training, validation and test cases.
        split_hash: names the split.
        phantom: whether the data is synthetic.
        problem: why the cell cannot run, if so.
    """

    suite: str
    system: str
    protocol: str
    seed: int
    folder: Path
    train_on: str
    test_on: str
    config: Settings | None = None
    config_hash: str = ""
    counts: tuple[int, int, int] = (0, 0, 0)
    split_hash: str = ""
    phantom: bool = False
    problem: str = ""

    @property
    def name(self) -> str:
        """``system protocol seed-n``, for people."""
        return f"{self.system} {self.protocol} seed-{self.seed}"

    @property
    def log(self) -> Path:
        """The cell's log."""
        return self.folder / "log.txt"

    def state(self, ticket: Ticket | None = None) -> tuple[str, str]:
        """Return the state and its reason, from what the folder records.

        Args:
            ticket: the cell's place in a cluster's queue, if it was submitted.
        """
        if self.problem:
            return "no_data", self.problem
        record = read_record(self.folder)
        state, reason = str(record.get("state", "pending")), str(record.get("reason") or "")
        changed = bool(record) and record.get("config_hash") != self.config_hash
        gone = ticket is not None and ticket.state == "gone"
        if state != "done" or changed:
            if ticket and not gone:
                return ticket.state, ticket.reason
            lost = ticket is not None and owner_job(self.folder) == ticket.job
            if not lost and is_owned(self.folder):
                return "running", f"by {describe_owner(self.folder)}"
        if changed:
            return "stale", "its results come from another configuration or other data"
        if state in ("running", "pending"):
            told = ticket.reason if ticket and gone else ""
            return "pending", told or (INTERRUPTED if state == "running" else reason)
        return state, reason


def read_record(folder: Path) -> dict[str, Any]:
    """Return ``cell.json``, or nothing where there is none."""
    try:
        record = json.loads((folder / "cell.json").read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def update_record(folder: Path, **changes: Any) -> dict[str, Any]:
    """Change entries of ``cell.json`` atomically and return the whole."""
    record = {**read_record(folder), **changes}
    write_atomically(folder / "cell.json", json.dumps(record, indent=1))
    return record

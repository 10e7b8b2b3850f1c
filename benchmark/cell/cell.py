"""A cell: one system, protocol and seed, with its folder and the state recorded there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmark.cell.ownership import describe_owner, is_owned, owner_job
from benchmark.planning.library import Settings
from contract.cell_folder import CellFolder, cell_name
from contract.cell_record import NOTHING, Change
from contract.files import digest_of_bytes, write_atomically
from contract.yaml_files import yaml_text

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
        placed: makes the cell's LightningCLI config, or None where the data is absent.
        config_hash: the hash of what was composed.
        train_on: the data sets that train, joined by ``+``.
        test_on: the data sets that test.
        counts: training, validation and test cases.
        split_hash: names the split.
        phantom: whether the data is synthetic.
        problem: why the cell cannot run, if so.
        changes: what it does otherwise than its system's file says.
        baseline: the system without a critic that it is compared with, of a pair.
    """

    suite: str
    system: str
    protocol: str
    seed: int
    folder: Path
    train_on: str
    test_on: str
    placed: Callable[[], Settings] | None = None
    config_hash: str = ""
    counts: tuple[int, int, int] = (0, 0, 0)
    split_hash: str = ""
    phantom: bool = False
    problem: str = ""
    changes: tuple[Change, ...] = ()
    baseline: str = ""

    @cached_property
    def config(self) -> Settings | None:
        """The placed LightningCLI config, made when first asked for; None as ``placed``."""
        return None if self.placed is None else self.placed()

    @property
    def name(self) -> str:
        """System, protocol and seed, for people."""
        return cell_name(self.system, self.protocol, self.seed)

    @property
    def files(self) -> CellFolder:
        """The files in the cell's folder, its record among them."""
        return CellFolder(self.folder)

    @property
    def log(self) -> Path:
        """The cell's log."""
        return self.files.log

    def write_config(self) -> str:
        """Write the config into the folder, as a whole; return the digest of what was written."""
        text = yaml_text(self.config)
        write_atomically(self.files.config, text)
        return digest_of_bytes(text.encode())

    def state(self, ticket: Ticket | None = None) -> tuple[str, str]:
        """Return the state and its reason, from what the folder records.

        Args:
            ticket: the cell's place in a cluster's queue, if it was submitted.
        """
        if self.problem:
            return "no_data", self.problem
        record = self.files.record
        state, reason = record.state or "pending", record.reason or ""
        changed = record != NOTHING and record.config_hash != self.config_hash
        gone = ticket is not None and ticket.state == "gone"
        doubt = ""
        if state == "done" and not changed:
            doubt = self.files.doubt(record, (self.system, self.protocol, self.seed))
        if state != "done" or changed or doubt:
            if ticket and not gone:
                return ticket.state, ticket.reason
            lost = ticket is not None and owner_job(self.folder) == ticket.job
            if not lost and is_owned(self.folder):
                return "running", f"by {describe_owner(self.folder)}"
        if changed:
            return "stale", "its results come from another configuration or other data"
        if doubt:
            return "failed", f"{doubt}; `run` tests the cell again"
        if state in ("running", "pending"):
            told = ticket.reason if ticket and gone else ""
            return "pending", told or (INTERRUPTED if state == "running" else reason)
        return state, reason

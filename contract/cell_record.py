"""What ``cell.json`` says of one cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, cast, get_args, get_origin, get_type_hints

from contract.words import STATES

CellKey = tuple[str, str, int]
"""System, protocol, seed."""


Change = Mapping[str, Any]
"""A key of a system's YAML file that was changed: ``key``, ``from`` and ``to``."""


@dataclass(frozen=True)
class CellRecord:
    """What a cell's file records of it; what is not known (yet) is None or empty.

    Attributes:
        system: name.
        protocol: name.
        seed: training seed.
        state: one of ``contract.words.STATES``; empty where nothing is recorded.
        reason: why it is in this state.
        suite: name of the suite.
        config_hash: identity of what was composed.
        n_train: number of training cases.
        n_test: number of test cases, over all folds.
        split_hash: identity of the split, the folds' joined by ``+``.
        phantom: trained or tested on synthetic data.
        versions: version by library.
        commit: git commit of the code.
        device: device in words.
        wall_s: wall-clock time over all starts, seconds.
        parameters: number of the generator's parameters.
        gpu_hours: wall-clock hours times GPUs, divided by the cells that share these; 0 on a CPU.
        images_per_s: training images a second, without validation, checkpoints and tests.
        peak_memory_mib: peak memory in training, of the GPU or of the process on a CPU, MiB.
        external: for masks that another tool predicted, what is known of them (``tool``, ``masks``,
            the digest of the files, …); None for a cell that was trained here.
        train_on: training sets, joined by ``+``.
        test_on: test sets, joined by ``+``.
        n_validation: number of validation cases that were looked at; 0 where none was.
        folds: how many folds were tested.
        tested_epochs: epochs that the tested weights had trained, of each fold.
        val_dice: their validation Dice, where it chose them.
        processes: processes that trained together.
        threads: CPU threads of a process.
        precision: of the Trainer, in Lightning's words.
        host: the machine of the last start.
        started: the last start, seconds since 1970, as are ``ended`` and ``finished``.
        ended: when a start ended without finishing the cell.
        finished: when the cell was done.
        wandb_id: id of the W&B run, the same over all starts.
        rows_digest: of the file of rows that the record vouches for, see ``contract.files``.
        rows_bytes: its size.
        config_digest: of the config that the cell was run by.
        reduced: whether the suite, ``--set`` or arguments of ``fit`` changed what the system's file
            says.
        changes: those changes.
        baseline: of a pair in a suite of pairs, the system without a critic that it differs from
            in its critic alone; empty elsewhere.
    """

    system: str = ""
    protocol: str = ""
    seed: int = 0
    state: str = ""
    reason: str | None = None
    suite: str | None = None
    config_hash: str | None = None
    n_train: int | None = None
    n_test: int | None = None
    split_hash: str | None = None
    phantom: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None
    device: str | None = None
    wall_s: float | None = None
    parameters: int | None = None
    gpu_hours: float | None = None
    images_per_s: float | None = None
    peak_memory_mib: float | None = None
    external: Mapping[str, Any] | None = None
    train_on: str | None = None
    test_on: str | None = None
    n_validation: int | None = None
    folds: int | None = None
    tested_epochs: Sequence[int] = ()
    val_dice: float | None = None
    processes: int | None = None
    threads: int | None = None
    precision: str | None = None
    host: str | None = None
    started: float | None = None
    ended: float | None = None
    finished: float | None = None
    wandb_id: str | None = None
    rows_digest: str | None = None
    rows_bytes: int | None = None
    config_digest: str | None = None
    reduced: bool = False
    changes: Sequence[Change] = ()
    baseline: str = ""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> CellRecord:
        """Return the record that a file's content is; keys of other versions are passed over.

        Raises:
            ValueError: if an entry holds what it cannot hold; such a record is not believed at all.
        """
        known = {name: content[name] for name in NAMES if content.get(name) is not None}
        if isinstance(known.get("tested_epochs"), int):  # of the first fold, as once recorded
            known["tested_epochs"] = [known["tested_epochs"]]
        for name, value in known.items():
            if not _fits(value, _KINDS[name]) or (name == "state" and value not in ("", *STATES)):
                raise ValueError(f"{name} {str(value)[:60]!r}")
        return cls(**known)

    @property
    def key(self) -> CellKey:
        """System, protocol and seed."""
        return self.system, self.protocol, self.seed

    @property
    def is_done(self) -> bool:
        """Whether the cell's rows are complete."""
        return self.state == "done"


def _fits(value: object, kind: Any) -> bool:
    """Tell whether a value out of JSON is of an entry's kind, its numbers of a sane size."""
    if kind is float:
        return type(value) in (int, float) and abs(cast("float", value)) < 1e15  # no NaN either
    if kind is int:
        return type(value) is int and abs(value) < 1 << 62
    if get_origin(kind) is Sequence:
        inner = get_args(kind)[0]
        return isinstance(value, list) and all(_fits(entry, inner) for entry in value)
    if get_origin(kind) is Mapping:
        inner = get_args(kind)[1]
        return isinstance(value, dict) and (
            inner is Any or all(type(entry) is inner for entry in value.values())
        )
    return type(value) is kind


NAMES = tuple(entry.name for entry in fields(CellRecord))
"""The entries that a record may have."""
_KINDS = {
    name: next((kind for kind in get_args(hint) if kind is not type(None)), hint)
    if get_origin(hint) not in (Mapping, Sequence)
    else hint
    for name, hint in get_type_hints(CellRecord).items()
}
REQUIRED = ("system", "protocol", "seed", "state")
"""Those that no cell's record lacks."""
NOTHING = CellRecord()
"""The record of a cell that left none."""

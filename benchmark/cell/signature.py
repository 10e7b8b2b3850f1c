"""Who holds a cell's folder, as ``owner/owner.json`` says; other content is no signature."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from contract.cell_folder import CellFolder
from contract.files import read_object

SIGNED = "owner.json"
_LARGEST = 1 << 16
"""No owner signs with more bytes."""


@dataclass(frozen=True)
class Signature:
    """A process that holds a cell's folder.

    Attributes:
        host: the machine's name.
        pid: the process.
        born: when it started, as its machine counts; None where that cannot be told.
        job: its SLURM job.
        starts: how often SLURM had started that job before.
        token: tells this holding apart from any other one.
    """

    host: str
    pid: int
    born: str | None = None
    job: str | None = None
    starts: int = 0
    token: str = ""

    @classmethod
    def of_this_process(cls, token: str) -> Signature:
        """Return what this process signs with."""
        pid = os.getpid()
        return cls(platform.node(), pid, birth(pid), slurm_job(), slurm_starts(), token)

    def as_text(self) -> str:
        """Return the content of the file."""
        return json.dumps(asdict(self))

    @property
    def here(self) -> bool:
        """Whether the process belongs to this machine and can be looked for."""
        return self.host == platform.node() and self.born is not None


def signature_of(folder: Path) -> Signature | None:
    """Return who signed a cell's folder; None where nobody did, or the file holds anything else."""
    said = {"starts": 0, "token": "", **read_object(CellFolder(folder).owner / SIGNED, _LARGEST)}
    read = {name: said.get(name) for name in _KINDS}
    if not all(is_so(read[name]) for name, is_so in _KINDS.items()):
        return None
    return Signature(**read)  # type: ignore[arg-type]


def slurm_job() -> str | None:
    """Return the SLURM job that this process belongs to, ``12_3`` for a task of an array."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def slurm_starts() -> int:
    """Return how often SLURM started this job before."""
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0)


def birth(pid: int) -> str | None:
    """Return when a process of this host started, so that a reused number is not mistaken.

    None where it is dead, and on systems without ``/proc``, where only its heartbeat tells.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _is_word(said: object) -> bool:
    return isinstance(said, str) and len(said) < 256 and said.isprintable()


def _is_count(said: object) -> bool:
    return type(said) is int and 0 <= said < 1 << 31


def _is_token(said: object) -> bool:
    return isinstance(said, str) and re.fullmatch(r"[A-Za-z0-9-]{0,64}", said) is not None


_KINDS: dict[str, Callable[[object], bool]] = {
    "host": _is_word,
    "pid": _is_count,
    "born": lambda said: said is None or _is_word(said),
    "job": lambda said: said is None or _is_word(said),
    "starts": _is_count,
    "token": _is_token,  # it becomes part of a folder's name
}

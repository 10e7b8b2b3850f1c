"""One process a cell: a folder made atomically says who works there, and that it still lives.

File locks cannot be trusted on network file systems; making a folder is atomic on all of them.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

from contract.errors import UserError

SIGNED = "owner.json"
GRAVE = ".owner-"
HANDED_OVER = "LUNGBENCH_OWNER"
BEAT_S = 10.0
DEAD_AFTER_S = 90.0
"""An owner on another host is dead when it has not been heard of for this long."""


class BusyError(UserError):
    """Another process works on the cell."""


class Owner:
    """Holds a cell's folder while a ``with`` block runs.

    A process that starts another one to work on the cell holds the folder first and hands it over:
    the other one finds the token in its environment (``hand_over``) and signs in its own name.

    Args:
        folder: the cell's folder.

    Attributes:
        token: tells this holding apart from any later one.

    Raises:
        BusyError: on entering, if another process holds it and lives.
    """

    def __init__(self, folder: Path) -> None:
        self._place = folder / "owner"
        self._stop = threading.Event()
        self.token = uuid.uuid4().hex

    def __enter__(self) -> Owner:
        handed = os.environ.get(HANDED_OVER)
        if not (handed and self._take_over(handed)):
            self._claim()
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def _claim(self) -> None:
        self._place.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                self._place.mkdir()
                break
            except FileExistsError:
                dead = _dead(self._place.parent)
                if dead is None and self._place.exists():
                    raise BusyError(
                        self._place.parent,
                        f"a cell that {describe_owner(self._place.parent)} works on",
                        "one process a cell",
                        "wait for it, or stop it",
                    ) from None
                if dead is not None:
                    _bury(self._place.parent, dead)
        try:
            (self._place / SIGNED).write_text(self._signature())
        except OSError:  # a full disk: nobody shall wait for an owner without a name
            shutil.rmtree(self._place, ignore_errors=True)
            raise

    def _take_over(self, token: str) -> bool:
        """Sign a folder that the parent holds; false if it is the parent's no longer."""
        try:
            if json.loads((self._place / SIGNED).read_text())["token"] != token:
                return False
            self.token = token
            beside = self._place / f"{SIGNED}.new"
            beside.write_text(self._signature())
            beside.replace(self._place / SIGNED)
        except (OSError, ValueError, KeyError):
            return False
        return self.holds()

    def _signature(self) -> str:
        said = {
            "host": platform.node(),
            "pid": os.getpid(),
            "born": _birth(os.getpid()),
            "job": slurm_job(),
            "starts": _slurm_starts(),
            "token": self.token,
        }
        return json.dumps(said)

    def hand_over(self) -> dict[str, str]:
        """Return the environment variable by which a child process takes the folder over."""
        return {HANDED_OVER: self.token}

    def holds(self) -> bool:
        """Tell whether the folder is still this owner's, or its child's."""
        return _signed(self._place.parent).get("token") == self.token

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self.holds():
            for grave in self._place.parent.glob(f"{GRAVE}*"):
                shutil.rmtree(grave, ignore_errors=True)
            shutil.rmtree(self._place, ignore_errors=True)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                os.utime(self._place / SIGNED)
            except OSError:
                return


def _signed(folder: Path) -> dict[str, Any]:
    try:
        said = json.loads((folder / "owner" / SIGNED).read_text())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def is_owned(folder: Path) -> bool:
    """Tell whether a living process works on the cell."""
    return (folder / "owner").is_dir() and _dead(folder) is None


def _dead(folder: Path) -> str | None:
    """Return the token of a cell's owner if it is dead; None if it lives or there is none."""
    place = folder / "owner"
    said = _signed(folder)
    try:
        stat = (place / SIGNED if said else place).stat()
    except OSError:
        return None
    silent = time.time() - stat.st_mtime
    if not said:
        return None if silent < BEAT_S else f"unsigned-{stat.st_ino}"  # else made a moment ago
    token = str(said.get("token") or f"unnamed-{stat.st_ino}")
    if said.get("job") and said["job"] == slurm_job() and said["starts"] < _slurm_starts():
        return token  # SLURM starts a requeued job only after its predecessor's death
    if said["host"] == platform.node() and said["born"] is not None:
        return None if _birth(said["pid"]) == said["born"] else token
    return None if silent < DEAD_AFTER_S else token


def _bury(folder: Path, dead: str) -> None:
    """Move a dead owner aside: of several who try, one succeeds.

    The grave is called after the dead and stays until the next owner ends. Who judged earlier and
    acts later would put the next owner, who lives, into it; but no folder moves onto a full one.
    """
    grave = folder / f"{GRAVE}{dead}"
    try:
        (folder / "owner").rename(grave)
        (grave / "buried").touch()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise
        time.sleep(0.05)


def slurm_job() -> str | None:
    """Return the SLURM job that this process belongs to, ``12_3`` for a task of an array."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def _slurm_starts() -> int:
    """Return how often SLURM started this job before."""
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0)


def owner_job(folder: Path) -> str | None:
    """Return the SLURM job of the process that works, or worked last, on the cell."""
    job = _signed(folder).get("job")
    return str(job) if job else None


def bury(folder: Path, job: str) -> None:
    """Free a cell's folder from a SLURM job that is known to be over, wherever it ran."""
    said = _signed(folder)
    if said.get("job") == job:
        _bury(folder, str(said.get("token") or "unnamed"))


def describe_owner(folder: Path) -> str:
    """Return who works on the cell, in words."""
    said = _signed(folder)
    if not said:
        return "another process"
    job = f", job {said['job']}" if said.get("job") else ""
    return f"process {said['pid']} on {said['host']}{job}"


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed owner was just writing; only the folder's owner may do so."""
    for place in (folder, folder / "checkpoints", *folder.glob("checkpoints/fold-*")):
        for path in place.glob(".*"):
            if path.name.startswith(GRAVE):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _birth(pid: int) -> str | None:
    """Return when a process of this host started, so that a reused number is not mistaken.

    None where it is dead, and on systems without ``/proc``, where only its heartbeat tells.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]

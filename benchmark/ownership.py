"""One process a cell: a folder made atomically says who works there, and that it still lives.

File locks cannot be trusted on network file systems; making a folder is atomic on all of them.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType

from contract.errors import UserError

BEAT_S = 10.0
DEAD_AFTER_S = 90.0
"""An owner on another host is dead when it has not been heard of for this long."""


class BusyError(UserError):
    """Another process works on the cell."""


class Owner:
    """Holds a cell's folder while a ``with`` block runs.

    Args:
        folder: the cell's folder.

    Raises:
        BusyError: on entering, if another process holds it and lives.
    """

    def __init__(self, folder: Path) -> None:
        self._place = folder / "owner"
        self._stop = threading.Event()

    def __enter__(self) -> Owner:
        self._place.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                self._place.mkdir()
                break
            except FileExistsError:
                if is_owned(self._place.parent):
                    raise BusyError(
                        self._place.parent,
                        f"a cell that {describe(self._place.parent)} works on",
                        "one process a cell",
                        "wait for it, or stop it",
                    ) from None
                self._bury()
        said = {
            "host": os.uname().nodename,
            "pid": os.getpid(),
            "born": _birth(os.getpid()),
            "job": os.environ.get("SLURM_JOB_ID"),
        }
        (self._place / "owner.json").write_text(json.dumps(said))
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        shutil.rmtree(self._place, ignore_errors=True)

    def _bury(self) -> None:
        """Move a dead owner aside: of several who try, one succeeds."""
        aside = self._place.with_name(f".owner-{uuid.uuid4().hex}")
        try:
            self._place.rename(aside)
        except OSError:
            return
        shutil.rmtree(aside, ignore_errors=True)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                os.utime(self._place / "owner.json")
            except OSError:
                return


def is_owned(folder: Path) -> bool:
    """Tell whether a living process works on the cell."""
    place = folder / "owner"
    try:
        silent = time.time() - place.stat().st_mtime
    except OSError:
        return False
    try:
        said = json.loads((place / "owner.json").read_text())
        silent = time.time() - (place / "owner.json").stat().st_mtime
    except (OSError, ValueError):
        return silent < BEAT_S  # made a moment ago, not yet signed
    if said["host"] == os.uname().nodename:
        return _birth(said["pid"]) == said["born"] and said["born"] is not None
    return silent < DEAD_AFTER_S


def describe(folder: Path) -> str:
    """Return who works on the cell, in words."""
    try:
        said = json.loads((folder / "owner" / "owner.json").read_text())
    except (OSError, ValueError):
        return "another process"
    job = f", job {said['job']}" if said.get("job") else ""
    return f"process {said['pid']} on {said['host']}{job}"


def _birth(pid: int) -> str | None:
    """Return when a process of this host started, so that a reused number is not mistaken."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]

"""One process a cell: a folder made atomically says who works there, and that it still lives.

File locks cannot be trusted on network file systems; making a folder is atomic on all of them.
Clocks of two machines cannot be trusted either: whether an owner elsewhere lives is judged by the
file server's clock, and it loses its cell only after its heartbeat was watched to stand still.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from benchmark.cell.signature import SIGNED, Signature, birth, signature_of, slurm_job, slurm_starts
from contract.cell_folder import CellFolder
from contract.errors import UserError

GRAVE = ".owner-"
HANDED_OVER = "LUNGBENCH_OWNER"
BEAT_S = 10.0
DEAD_AFTER_S = 90.0
"""An owner on another host is dead when it has not been heard of for this long …"""
WATCH_S = 3 * BEAT_S
"""… and not either while somebody who wants its cell listens."""


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
        self._place = CellFolder(folder).owner
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
                if (
                    self._place.is_symlink() or self._place.is_file()
                ):  # nobody's: owners are folders
                    self._place.unlink(missing_ok=True)
                    continue
                dead = _dead(self._place.parent, WATCH_S)
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
            (self._place / SIGNED).write_text(Signature.of_this_process(self.token).as_text())
        except OSError:  # a full disk: nobody shall wait for an owner without a name
            shutil.rmtree(self._place, ignore_errors=True)
            raise

    def _take_over(self, token: str) -> bool:
        """Sign a folder that the parent holds; false if it is the parent's no longer."""
        try:
            signed = signature_of(self._place.parent)
            if signed is None or signed.token != token:
                return False
            self.token = token
            beside = self._place / f"{SIGNED}.new"
            beside.write_text(Signature.of_this_process(self.token).as_text())
            beside.replace(self._place / SIGNED)
        except OSError:
            return False
        return self.holds()

    def hand_over(self) -> dict[str, str]:
        """Return the environment variable by which a child process takes the folder over."""
        return {HANDED_OVER: self.token}

    def holds(self) -> bool:
        """Tell whether the folder is still this owner's, or its child's."""
        signed = signature_of(self._place.parent)
        return signed is not None and signed.token == self.token

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Leave the folder to others, if it is this owner's."""
        self._stop.set()
        if self.holds():
            for grave in self._place.parent.glob(f"{GRAVE}*"):
                shutil.rmtree(grave, ignore_errors=True)
            shutil.rmtree(self._place, ignore_errors=True)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            signed = signature_of(self._place.parent)
            if signed is None or signed.token == self.token:  # else it is another one's by now
                with suppress(OSError):  # a network disk may be back the next time
                    os.utime(self._place / SIGNED)


def is_owned(folder: Path) -> bool:
    """Tell whether a living process works on the cell."""
    return CellFolder(folder).owner.is_dir() and _dead(folder) is None


def _dead(folder: Path, watch_s: float = 0.0) -> str | None:
    """Return the token of a cell's owner if it is dead; None if it lives or there is none.

    Args:
        folder: the cell's folder.
        watch_s: how long to listen to an owner of whom nothing was heard.
    """
    place = CellFolder(folder).owner
    signed, beat = signature_of(folder), place / SIGNED
    try:
        inode = (place if signed is None else beat).stat().st_ino
    except OSError:
        return None
    if signed is None:  # made a moment ago, or nobody can read whose it is
        heard, limit_s = (beat, DEAD_AFTER_S) if beat.exists() else (place, BEAT_S)
        return f"unsigned-{inode}" if _silent(heard, limit_s, watch_s) else None
    token = signed.token or f"unnamed-{inode}"
    if signed.job and signed.job == slurm_job() and signed.starts < slurm_starts():
        return token  # SLURM starts a requeued job only after its predecessor's death
    if signed.here:
        return None if birth(signed.pid) == signed.born else token
    return token if _silent(beat, DEAD_AFTER_S, watch_s) else None


def _silent(heard: Path, limit_s: float, watch_s: float) -> bool:
    """Tell whether a file was not touched for so long, nor is while it is watched.

    A time in the future is as strange as one long ago: whose clocks disagree, watching tells.
    """
    last = _touched(heard)
    if last is None or abs(_server_time(heard.parents[1]) - last) < limit_s:
        return False
    until = time.monotonic() + watch_s
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 1.0))
        if _touched(heard) != last:
            return False
    return True


def _touched(path: Path) -> float | None:
    """Return when a file was touched last; opening it asks the server anew."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        with suppress(OSError):  # Windows opens no folders
            return path.stat().st_mtime
        return None
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)


def _server_time(folder: Path) -> float:
    """Return what the file server's clock shows, which also times the heartbeats."""
    mark = folder / f".clock-{uuid.uuid4().hex}"
    try:
        mark.touch()
        return mark.stat().st_mtime
    except OSError:  # who cannot write here takes nothing over either
        return time.time()
    finally:
        with suppress(OSError):
            mark.unlink()


def _bury(folder: Path, dead: str) -> None:
    """Move a dead owner aside: of several who try, one succeeds.

    The grave is called after the dead and stays until the next owner ends. Who judged earlier and
    acts later would put the next owner, who lives, into it; but no folder moves onto a full one.
    """
    grave = folder / f"{GRAVE}{dead}"
    try:
        CellFolder(folder).owner.rename(grave)
        (grave / "buried").touch()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise
        time.sleep(0.05)


def owner_job(folder: Path) -> str | None:
    """Return the SLURM job of the process that works, or worked last, on the cell."""
    signed = signature_of(folder)
    return signed.job if signed is not None else None


def bury(folder: Path, job: str) -> None:
    """Free a cell's folder from a SLURM job that is known to be over, wherever it ran."""
    signed = signature_of(folder)
    if signed is not None and signed.job == job:
        _bury(folder, signed.token or "unnamed")


def describe_owner(folder: Path) -> str:
    """Return who works on the cell, in words."""
    signed = signature_of(folder)
    if signed is None:
        return "another process"
    job = f", job {signed.job}" if signed.job else ""
    return f"process {signed.pid} on {signed.host}{job}"


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed owner was just writing; only the folder's owner may do so."""
    checkpoints = [place.path for place in CellFolder(folder).every_checkpoints()]
    for place in (folder, *checkpoints):
        for path in place.glob(".*"):
            if path.name.startswith(GRAVE):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

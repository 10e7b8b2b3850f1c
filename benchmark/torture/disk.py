"""A small disk that can be filled to its last byte."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

SIZE_MIB = 64


class SmallDisk:
    """A disk of its own at a folder, where that can be had.

    Args:
        place: the folder, made if absent.

    Attributes:
        missing: why there is no such disk, in words; empty where there is one.
    """

    def __init__(self, place: Path) -> None:
        self._place, self.missing = place, ""
        place.mkdir(parents=True, exist_ok=True)
        mount = shutil.which("mount")
        if mount is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
            self.missing = "only root can mount one"
            return
        words = [mount, "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(place)]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        if ended.returncode:
            self.missing = ended.stderr.strip() or "it could not be mounted"

    @property
    def ballast(self) -> Path:
        """The file that fills the disk."""
        return self._place / ".ballast"

    def fill(self) -> None:
        """Leave no room."""
        with suppress(OSError), self.ballast.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 20)):
                pass
        with suppress(OSError), self.ballast.open("ab", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    def free(self) -> None:
        """Give the room back."""
        self.ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Take the disk away, with all that lies on it."""
        if not self.missing:
            words = ["umount", "--lazy", str(self._place)]
            subprocess.run(words, capture_output=True, check=False)

"""Do the caches still hold what was written there? Every file is read to tell."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datamodules.cache_parts import PARTS, find_damage
from datamodules.digests import Progress, no_progress


@dataclass(frozen=True)
class CacheReport:
    """What was found in one cache folder.

    Attributes:
        cache: the folder's name: data set, size of the images, digest of what it was made from.
        bytes: the size of its files.
        damage: what is wrong, or nothing.
    """

    cache: str
    bytes: int
    damage: str

    def as_object(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return asdict(self)


def check_caches(folder: Path, progress: Progress = no_progress) -> list[CacheReport]:
    """Read all caches whole and compare them with their checksums.

    Args:
        folder: the folder of all caches; what is being built there has a hidden name.
        progress: shows the progress of reading large files.

    Raises:
        OSError: if the disk fails, or a file must not be read.
    """
    found = (p for p in folder.glob("*") if p.is_dir() and not p.name.startswith("."))
    return [
        CacheReport(path.name, _size(path), find_damage(path, progress=progress))
        for path in sorted(found)
    ]


def _size(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in PARTS if (folder / name).is_file())

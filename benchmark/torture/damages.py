"""Damages: which files, in what way, and whether somebody said so or they were mended."""

from __future__ import annotations

import json
import os
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.cell.checkpoints import is_whole
from benchmark.planning.plan import Plan
from benchmark.progress import read_progress
from benchmark.torture.scene import Scene
from contract.errors import DataError
from contract.files import digest_of
from datamodules.cache_parts import CHECKSUMS, PARTS, find_damage

Harm = Callable[[bytes, random.Random], bytes | None]
"""A file's content and chance to the new content; None removes the file."""


def _zeros(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content) or 1)
    stop = min(len(content), start + chance.choice((8, 512, 1 << 20)))
    return content[:start] + bytes(stop - start) + content[stop:]


def _flip(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 20) if content else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


HARMS: dict[str, Harm] = {
    "missing": lambda content, chance: None,
    "empty": lambda content, chance: b"",
    "truncated": lambda content, chance: content[: chance.randrange(len(content) or 1)],
    "zeros in it": _zeros,
    "flipped bits": _flip,
    "another thing": lambda content, chance: chance.choice((b"[]", b"{}", b"null", b"\xff\xfe")),
    "noise": lambda content, chance: chance.randbytes(len(content)),
}
"""What may happen to any file."""
OF_A_RECORD = ("missing", "empty", "truncated", "another thing", "noise")
"""Of what no checksum is kept, a change of a letter is no damage that anybody could see."""


@dataclass
class Fault:
    """Something planted.

    Attributes:
        kind: what kind of file, or ``disk``.
        path: the file.
        what: how it was harmed.
        words: one of them names the fault.
        marks: sizes of the texts at that time; what comes after them may name it.
        said: whether somebody named it at once.
    """

    kind: str
    path: Path
    what: str
    words: tuple[str, ...]
    marks: dict[Path, int]
    said: bool = False

    def is_named(self, texts: Sequence[Path]) -> bool:
        """Tell whether a log or an output names it."""
        self.said = self.said or any(
            word in _after(text, self.marks.get(text, 0)) for text in texts for word in self.words
        )
        return self.said


def _after(text: Path, mark: int) -> str:
    """Return what a text says behind a mark; all of one that began anew."""
    try:
        content = text.read_bytes()
    except OSError:
        return ""
    return content[mark if mark <= len(content) else 0 :].decode(errors="replace")


def candidates(scene: Scene, plan: Plan) -> dict[str, list[Path]]:
    """Return the files of each kind that may be damaged now."""
    cells = [cell.files for cell in plan.cells]
    tested = {cell.folder: (cell.config or {})["cell"]["checkpoint"] for cell in plan.cells}
    weights = [f.checkpoints().weights(tested[f.path]) for f in cells]
    newest = [path for f in cells for path in f.checkpoints().resumable()[:1]]
    cache = scene.runs / "cache"
    kinds = {
        "rows": [f.rows_file for f in cells],
        "record": [f.record_file for f in cells],
        "config": [f.config for f in cells],
        "checkpoint": [*weights, *newest],
        "owner": [f.owner / "owner.json" for f in cells],
        "progress": [f.progress for f in cells],
        "cache": [folder / name for folder in cache.glob("[!.]*/") for name in (*PARTS, CHECKSUMS)],
        "digests": [cache / "digests.json"],
        "leaderboard": list(scene.board.rglob("*")),
    }
    return {
        kind: found
        for kind, paths in kinds.items()
        if (found := sorted(path for path in paths if path.is_file()))
    }


def plant(
    kind: str, path: Path, plan: Plan, chance: random.Random, texts: Sequence[Path]
) -> Fault | None:
    """Damage a file, as a whole new file in its place: what is mapped or read stays as it was.

    Returns:
        the fault; None where the file is gone by now, or is what it was.
    """
    unsealed = kind in ("record", "config", "owner", "progress", "digests")
    what = chance.choice(OF_A_RECORD if unsealed else tuple(HARMS))
    marks = {text: text.stat().st_size for text in texts if text.exists()}
    beside = path.with_name(f".damage-{uuid.uuid4().hex}")
    try:
        content = path.read_bytes()
        harmed = HARMS[what](content, chance)
        if harmed == content:
            return None
        if harmed is None:
            path.unlink()
        else:
            beside.write_bytes(harmed)
            beside.replace(path)
            if kind == "owner":  # long ago: whose it was is not asked for a minute and a half
                os.utime(path, (1, 1))
    except OSError:
        beside.unlink(missing_ok=True)
        return None
    words = (path.name, "of another configuration") if kind == "record" else (path.name,)
    if kind == "cache":
        words = (f"cache {path.parent} is damaged",)
    if kind == "leaderboard":
        words = ("the leaderboard is built again",)
    fault = Fault(kind, path, what, words, marks)
    if kind == "rows":
        states = [cell.state() for cell in plan.cells if cell.files.rows_file == path]
        fault.said = any(path.name in reason for _, reason in states)
    return fault


def is_refused(fault: Fault) -> bool:
    """Tell whether who uses a file that nobody needed since is told: it is checked at opening.

    ``data check --cache`` names such a cache, and ``predict`` such weights.
    """
    if fault.kind == "cache":
        return bool(find_damage(fault.path.parent)) and fault.path.parent.exists()
    return fault.kind == "checkpoint" and fault.path.exists() and not is_whole(fault.path)


def is_mended(fault: Fault, plan: Plan) -> bool:
    """Tell whether what was damaged is sound at the end, when all cells are done."""
    path = fault.path
    if fault.kind in ("disk", "quota"):
        return True  # there is room again, and the rows are compared
    if fault.kind in ("owner", "progress"):
        return not path.exists() or (fault.kind == "progress" and read_progress(path) is not None)
    if fault.kind == "cache":
        return not path.parent.exists() or not find_damage(path.parent)
    if fault.kind == "checkpoint":
        return not path.exists() or is_whole(path)
    cells = [cell for cell in plan.cells if cell.folder in path.parents]
    try:
        if fault.kind == "config":
            found = digest_of(path)
            return all(found == cell.files.require_record().config_digest for cell in cells)
        if fault.kind == "record":
            return all(cell.files.require_record().is_done for cell in cells)
        if fault.kind == "rows":
            return all(cell.state()[0] == "done" for cell in cells)
        if fault.kind == "digests":
            return isinstance(json.loads(path.read_text("utf-8")), dict)
        return path.exists()  # of the leaderboard; its own record vouches for its files
    except (OSError, ValueError, DataError):
        return False

"""The data root of a suite that runs without any: phantoms of the kinds that it needs."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from benchmark.planning.library import load_settings, load_suite
from benchmark.progress import say
from datamodules.phantoms import write_ct_phantoms, write_phantoms
from datamodules.sources import CT_SOURCES


def phantom_root(runs: Path, suite: str) -> Path:
    """Return a data root of phantoms below the runs folder, writing it where it is not whole.

    Films and scans are written only for suites that use them; ``phantoms`` holds films,
    ``phantoms-ct`` scans and ``phantoms-all`` both.

    Raises:
        UserError: if the suite or a protocol of it is not known.
    """
    protocols = [load_settings("protocols", name) for name in load_suite(suite).protocols]
    used = {name for rule in protocols for side in ("train", "test") for name in rule.get(side, ())}
    scans, films = used & set(CT_SOURCES), used - set(CT_SOURCES)
    kind = ("-all" if films else "-ct") if scans else ""
    home = runs / f"phantoms{kind}"
    if (home / "complete").exists():
        return home
    what = " and ".join(["films"] * bool(films) + ["CT scans"] * bool(scans))
    say(f"no DATA_ROOT: writing phantoms (synthetic {what}) to {home}")
    beside = runs / f".phantoms-{uuid.uuid4().hex}"
    try:
        if films or not scans:
            write_phantoms(beside)
        if scans:
            write_ct_phantoms(beside)
        (beside / "complete").touch()
        beside.rename(home)
    except OSError:
        if not (home / "complete").exists():  # no other `run` was quicker
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return home

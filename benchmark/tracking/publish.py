"""Sends a suite's leaderboard to W&B: one run a suite, however often it is sent."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.planning.library import Suite
from benchmark.progress import say
from benchmark.running.rebuild import suite_of
from benchmark.tracking import cell_runs, wandb_place
from contract.cell_folder import EVERY_OFFLINE_RUN, offline_runs_of, recorded_cells_of
from contract.errors import UserError
from contract.files import write_atomically

if TYPE_CHECKING:
    import wandb

STATE = "published.json"
"""Beside the leaderboard: the run's id, and what was sent last."""

MAX_LENGTH = 64
"""W&B takes no longer tags."""

PUBLISH_FORMAT = 1
"""Raised whenever the same leaderboard would make another run."""


@dataclass(frozen=True)
class Destination:
    """Where the leaderboard goes.

    Attributes:
        entity: the user or team; None for the key's own.
        project: the project.
        offline: whether the run stays on the disk.
    """

    entity: str | None
    project: str
    offline: bool


def publish(
    suite_name: str,
    runs: Path,
    entity: str | None = None,
    project: str | None = None,
    with_pictures: bool = False,
) -> int:
    """Send a suite's leaderboard, as it lies on the disk, to its one W&B run.

    Args:
        suite_name: the suite's name, YAML file or folder below the runs.
        runs: the runs folder.
        entity: W&B's user or team; ``WANDB_ENTITY`` or the key's own unless given.
        project: W&B's project; ``WANDB_PROJECT`` or ``lungbench`` unless given.
        with_pictures: whether pictures of films go along.

    Returns:
        0.

    Raises:
        UserError: if W&B is switched off or cannot be reached, or there is no leaderboard.
    """
    if wandb_place.is_disabled():
        todo = "unset it, or set WANDB_MODE=offline to write the run's folder"
        raise UserError("WANDB_MODE", "disabled", "online or offline", todo)
    to = Destination(
        entity or wandb_place.entity(), project or wandb_place.project(), wandb_place.is_offline()
    )
    suite = suite_of(suite_name, runs)
    folder = runs / suite.name / "leaderboard"
    if not (folder / "leaderboard.csv").is_file():
        command = f"lungbench leaderboard --suite {shlex.quote(suite_name)}"
        todo = f"run the suite, or rebuild its tables: {command}"
        raise UserError(folder, "no leaderboard", "leaderboard.csv and what lies beside it", todo)
    _tell_newer_cells(folder)
    digest = _digest(folder, to, with_pictures)
    state = _read_state(folder)
    if state.get("digest") == digest and (not to.offline or _offline_runs(folder)):
        say(f"leaderboard of {suite.name}: unchanged since it was published; nothing to do")
    else:
        state["run_id"] = state.get("run_id") or uuid.uuid4().hex[:12]
        _write_state(folder, run_id=state["run_id"])
        url = _send(suite, folder, to, state["run_id"], with_pictures)
        state = {"run_id": state["run_id"], "digest": digest, "url": url, **asdict(to)}
        _write_state(folder, **state)
    if to.offline:
        say(f"offline run: {_offline_runs(folder)[0]}")
        say("to upload it, with the cells' offline runs where there are any:")
        say(sync_line(folder))
    else:
        say(f"W&B run: {state['url']}")
    return 0


def sync_line(folder: Path) -> str:
    """Return the shell command that uploads the offline runs of a leaderboard and its cells.

    Args:
        folder: ``<runs>/<suite>/leaderboard``.
    """
    command = shutil.which("wandb") or str(Path(sys.executable).with_name("wandb"))
    words = [shlex.quote("wandb" if shutil.which("wandb") else command), "sync"]
    words += [shlex.quote(str(run)) for run in _offline_runs(folder)]
    suite = folder.parent
    if next(suite.glob(EVERY_OFFLINE_RUN), None):
        words.append(offline_runs_of(suite))
    return " ".join(words)


def _tell_newer_cells(folder: Path) -> None:
    built = (folder / "leaderboard.csv").stat().st_mtime
    cells = recorded_cells_of(folder.parent)
    newer = sum(cell.record_file.stat().st_mtime > built for cell in cells)
    if newer:
        say(f"{newer} cells changed after this leaderboard was built: `leaderboard` rebuilds it")


def _digest(folder: Path, to: Destination, with_pictures: bool) -> str:
    from leaderboards.wandb_run import content_digest, files_of

    content = content_digest(folder, files_of(folder))
    cells = cell_runs.read_cells(folder.parent).to_dict("records")
    parts = [PUBLISH_FORMAT, content, asdict(to), with_pictures, cells]
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _send(
    suite: Suite, folder: Path, to: Destination, run_id: str, with_pictures: bool
) -> str | None:
    """Write or update the run and return its address, where it has one."""
    import wandb

    from leaderboards import wandb_run

    # Appending to an offline run of the same id leaves files that do not upload.
    shutil.rmtree(folder / "wandb", ignore_errors=True)
    facts = cell_runs.suite_facts(folder.parent)
    cells = cell_runs.read_cells(folder.parent)
    with _staging_in(folder / "wandb"):
        try:
            with _open(suite, folder, to, run_id, facts) as run:
                cells["url"] = cell_runs.addresses(cells, run.entity or to.entity, to.project)
                names = [suite.name, f"splits-{facts['splits_digest']}"]
                names += [f"commit-{commit}" for commit in facts["commits"]]
                aliases = [re.sub(r"[^\w.-]+", "-", name)[:MAX_LENGTH] for name in names]
                wandb_run.send(run, folder, cells, aliases, facts, with_pictures)
                url = None if to.offline else run.url
        except wandb.Error as error:
            raise UserError(
                "W&B", f"{type(error).__name__}: {error}", "a server that takes the run",
                "check the network, WANDB_API_KEY, --entity and --project; or WANDB_MODE=offline",
            ) from error  # fmt: skip
    return url


def _open(
    suite: Suite, folder: Path, to: Destination, run_id: str, facts: dict[str, Any]
) -> wandb.Run:
    import wandb

    return wandb.init(
        id=run_id,
        reinit="create_new",
        resume=None if to.offline else "allow",
        entity=to.entity,
        project=to.project,
        mode="offline" if to.offline else "online",
        dir=str(folder),
        name=f"leaderboard {suite.name}",
        group=suite.name,
        job_type="leaderboard",
        tags=["leaderboard", suite.name[:MAX_LENGTH]],
        notes=suite.title,
        config={"suite": suite.name, "title": suite.title, **facts},
        settings=wandb_place.quiet_settings(init_timeout=60, x_disable_stats=True),
    )


@contextmanager
def _staging_in(folder: Path) -> Iterator[None]:
    """Let W&B keep copies of an artifact's files beside the run, so that they upload later."""
    before = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = str((folder / "data").resolve())
    try:
        yield
    finally:
        if before is None:
            del os.environ["WANDB_DATA_DIR"]
        else:
            os.environ["WANDB_DATA_DIR"] = before


def _offline_runs(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("offline-run-*"))


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        state = json.loads((folder / STATE).read_text())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _write_state(folder: Path, **state: Any) -> None:
    write_atomically(folder / STATE, json.dumps(state, indent=1))

"""What a cluster wants to be told: a site profile, one YAML file a site."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from contract.errors import UserError

BESIDE = "lungbench-site.yaml"
VARIABLE = "LUNGBENCH_SITE"


@dataclass(frozen=True)
class Site:
    """How jobs of one cluster look; ``site.example.yaml`` explains each key.

    Attributes:
        partition: of the cells' jobs; the cluster's default where empty.
        account: to be charged.
        qos: quality of service.
        nodes: nodes of one cell.
        gpus_per_node: GPUs of one cell on each node; 0 trains on the CPU.
        cpus_per_task: CPU cores of each process.
        time: limit of one job, ``[days-]hours:minutes:seconds``.
        memory: of each node, such as ``32G``.
        modules: environment modules to load.
        environment: shell lines to run before anything else.
        container: command before ``python``, such as ``apptainer exec --nv image.sif``.
        python: the interpreter on the nodes; by default the one that submits, or plain
            ``python`` in a container.
        max_parallel: cells at a time; no limit where 0.
        checkpoint_seconds: seconds between two checkpoints, written at the ends of epochs.
        signal_seconds: how long before the time limit a job requeues itself.
        retries: times that a cell whose process was killed is requeued.
        resubmit: times that cells whose jobs vanished are submitted again by the last job.
        internet: whether compute nodes reach the internet; W&B stays offline where not.
        sbatch: further ``#SBATCH`` options of the cells' jobs.
        finish_partition: of the job that builds the leaderboard and publishes.
        finish_sbatch: further ``#SBATCH`` options of that job.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    nodes: int = 1
    gpus_per_node: int = 0
    cpus_per_task: int = 1
    time: str = ""
    memory: str = ""
    modules: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    container: str = ""
    python: str = ""
    max_parallel: int = 0
    checkpoint_seconds: int = 30
    signal_seconds: int = 120
    retries: int = 2
    resubmit: int = 2
    internet: bool = True
    sbatch: tuple[str, ...] = ()
    finish_partition: str = ""
    finish_sbatch: tuple[str, ...] = ()


def find_site(given: Path | None) -> Path | None:
    """Return the profile's file: the one given, ``$LUNGBENCH_SITE``, or the one lying here.

    Raises:
        UserError: if a file that was asked for does not exist.
    """
    asked = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if asked is not None:
        if not asked.is_file():
            raise UserError(
                asked, "no such file", "a site profile (YAML)", f"check --site or {VARIABLE}"
            )
        return asked.resolve()
    beside = Path(BESIDE)
    return beside.resolve() if beside.is_file() else None


def load_site(path: Path | None) -> Site:
    """Read a site profile; without one, every cell gets one CPU and the cluster's defaults.

    Raises:
        UserError: if a key is unknown or a value of the wrong kind.
    """
    if path is None:
        return Site()
    try:
        settings = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise UserError(path, f"no valid YAML ({error})", todo="mend the file") from None
    if not isinstance(settings, dict):
        raise UserError(path, "no mapping of keys to values", f"keys {_keys()}")
    for unknown in sorted(set(settings) - set(_keys())):
        raise UserError(path, f"an unknown key {unknown!r}", f"keys {_keys()}")
    values = {field.name: field.default for field in fields(Site)}
    return Site(**{key: _checked(path, key, value, values[key]) for key, value in settings.items()})


def _keys() -> list[str]:
    return [field.name for field in fields(Site)]


def _checked(path: Path, key: str, value: Any, default: Any) -> Any:
    """Return a value in the kind that its key has."""
    if isinstance(default, tuple):
        lines = [value] if isinstance(value, str) else value
        if isinstance(lines, list) and all(isinstance(line, str) for line in lines):
            return tuple(lines)
        raise UserError(path, f"{key}: {value!r}", "a list of lines")
    if isinstance(default, bool) or isinstance(value, bool):
        if isinstance(value, bool) and isinstance(default, bool):
            return value
        raise UserError(path, f"{key}: {value!r}", f"a value such as {default!r}")
    if key == "time" and isinstance(value, int):
        # YAML 1.1 reads an unquoted 12:00:00 as a number in base 60.
        raise UserError(path, f"time: {value}, a number", 'text in quotes, as in "12:00:00"')
    if isinstance(default, int):
        least = 1 if key in ("nodes", "cpus_per_task") else 0
        if isinstance(value, int) and value >= least:
            return value
        raise UserError(path, f"{key}: {value!r}", f"a whole number from {least}")
    if isinstance(value, str | int):
        return str(value)
    raise UserError(path, f"{key}: {value!r}", "text")

"""What a cluster wants to be told: a site profile, one YAML file a site."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from contract.errors import UserError
from contract.language import Count, Natural, check_settings, documented_keys
from contract.yaml_files import read_yaml

BESIDE = "lungbench-site.yaml"
VARIABLE = "LUNGBENCH_SITE"


def _no_number(value: object) -> object:
    """Refuse an unquoted 12:00:00, which YAML 1.1 reads as a number in base 60."""
    if isinstance(value, int):
        raise ValueError('text in quotes, as in "12:00:00"')
    return value


def _words(value: object) -> object:
    """Read a number as the text that it is meant as: an account may be 1234."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Words = Annotated[str, BeforeValidator(_words)]
Lines = tuple[str, ...] | str


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
        gpu_tflops: operations that training reaches a second on a GPU, in TFLOP; with it jobs ask
            for less than ``time`` where their cells cost less, and 0 lets all ask for it.
        gpu_memory: of a GPU, in GiB; cells that may not fit it are told. 0: not known.
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

    partition: Words = ""
    account: Words = ""
    qos: Words = ""
    nodes: Count = 1
    gpus_per_node: Natural = 0
    cpus_per_task: Count = 1
    time: Annotated[str, BeforeValidator(_no_number)] = ""
    gpu_tflops: Natural = 0
    gpu_memory: Natural = 0
    memory: Words = ""
    modules: Lines = ()
    environment: Lines = ()
    container: str = ""
    python: str = ""
    max_parallel: Natural = 0
    checkpoint_seconds: Natural = 30
    signal_seconds: Natural = 120
    retries: Natural = 2
    resubmit: Natural = 2
    internet: bool = True
    sbatch: Lines = ()
    finish_partition: Words = ""
    finish_sbatch: Lines = ()

    def __post_init__(self) -> None:
        """Read one line as a list of it, and numbers as text."""
        for name in ("modules", "environment", "sbatch", "finish_sbatch"):
            lines = getattr(self, name)
            object.__setattr__(self, name, (lines,) if isinstance(lines, str) else tuple(lines))
        for name in ("partition", "account", "qos", "memory", "finish_partition"):
            object.__setattr__(self, name, str(getattr(self, name)))


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
    settings = read_yaml(path) or {}
    if not isinstance(settings, dict):
        known = ", ".join(documented_keys(Site))
        raise UserError(path, "no mapping of keys to values", f"the keys {known}")
    check_settings(Site, settings, path)
    return Site(**settings)

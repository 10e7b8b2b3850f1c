"""The text of the batch scripts. They run outside any container, so they are plain bash.

``cell.sh`` and ``finish.sh`` beside this file are their bodies; the ``-P`` keeps what lies in the
directory that they are submitted from out of Python's sight.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark.launchers.site_profile import Site
from benchmark.start import FILE
from contract.cell_folder import EVERY_OFFLINE_RUN

TEMPLATES = Path(__file__).parent


def cell_script(site: Site, name: str, submission: Path, per_node: int) -> str:
    """Return the script of the array; its argument is the row of its first task.

    Args:
        site: the site profile.
        name: the job's name.
        submission: the submission's folder.
        per_node: processes of a cell on each node.
    """
    options = _common(site, name, submission / "logs" / "%A_%a.txt", site.partition, site.sbatch)
    options[1:1] = [f"--nodes={site.nodes}", f"--ntasks-per-node={per_node}"]
    if site.gpus_per_node:
        options.append(f"--gpus-per-node={site.gpus_per_node}")
    options += ["--requeue", "--open-mode=append", f"--signal=B:USR1@{site.signal_seconds}"]
    values = {
        "submission": submission, "nodes": site.nodes, "per_node": per_node,
        "cpus": site.cpus_per_task, "retries": site.retries, "every": site.checkpoint_seconds,
    }  # fmt: skip
    return _filled("cell.sh", _head(site, options, site.internet), values)


def finish_script(site: Site, name: str, submission: Path, commands: Sequence[str]) -> str:
    """Return the script of the job that comes last.

    Args:
        site: the site profile.
        name: the job's name.
        submission: the submission's folder.
        commands: each a module of the project and its arguments, as shell text.
    """
    partition = site.finish_partition or site.partition
    output = submission / "logs" / "finish-%j.txt"
    options = _common(site, name, output, partition, site.finish_sbatch)
    options[1:1] = ["--nodes=1", "--ntasks=1"]
    options += ["--requeue", "--open-mode=append"]
    online = site.internet or bool(site.finish_partition)
    upload = "yes" if online and not site.internet else "no"
    quoted = "".join(f"\n    {shlex.quote(command)}" for command in commands)
    head = [*_head(site, options, online), f"closing=({quoted}\n)"]
    suite = submission.parent.parent
    values = {"suite": suite, "runs": EVERY_OFFLINE_RUN, "upload": upload}
    return _filled("finish.sh", head, values)


def _filled(template: str, head: Sequence[str], values: Mapping[str, object]) -> str:
    """Return a script: what differs is assigned at its head, the rest is a file as it stands."""
    assigned = " ".join(f"{key}={shlex.quote(str(value))}" for key, value in values.items())
    return "\n".join([*head, assigned, (TEMPLATES / template).read_text()])


def _common(
    site: Site, name: str, output: Path, partition: str, further: Sequence[str]
) -> list[str]:
    wanted = {
        "job-name": name, "partition": partition, "account": site.account, "qos": site.qos,
        "cpus-per-task": site.cpus_per_task, "mem": site.memory, "time": site.time,
    }  # fmt: skip
    options = [f"--{key}={value}" for key, value in wanted.items() if value]
    place = str(output.parent).replace("%", "%%") + f"/{output.name}"
    return [*options, f'--output="{place}"', *further]


def _head(site: Site, options: Sequence[str], online: bool) -> list[str]:
    """Return the lines that every script begins with."""
    python = site.python or ("python" if site.container else shlex.quote(sys.executable))
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in options), ""]
    lines += [f"module load {module}" for module in site.modules]
    lines += list(site.environment)
    threads = site.cpus_per_task
    lines.append(f"export OMP_NUM_THREADS={threads} MKL_NUM_THREADS={threads}")
    if not online:
        lines.append('export WANDB_MODE="${WANDB_MODE:-offline}"  # no internet here')
    lines.append(f"python=({f'{site.container} {python}'.strip()} -P)")
    # A container has a copy of the project of its own.
    own = "-m" if site.container else shlex.quote(str(FILE))
    lines.append(f'start=("${{python[@]}}" {own})')
    return lines

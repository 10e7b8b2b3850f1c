"""Runs a suite on a SLURM cluster: submits its cells as job arrays, and takes them back."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from benchmark.cell.cell import Cell
from benchmark.launchers import slots
from benchmark.launchers.site_profile import Site
from benchmark.launchers.slurm_queue import Submission, ask, look, submissions
from benchmark.launchers.slurm_scripts import cell_script, finish_script
from contract.errors import UserError
from contract.files import replacing
from contract.names import escaped, odd_signs
from contract.yaml_files import yaml_text

USUAL_ARRAY = 1001
"""SLURM's ``MaxArraySize`` where a cluster does not say."""


@dataclass(frozen=True)
class Order:
    """What is to be submitted.

    Attributes:
        suite: the suite's name.
        folder: the suite's folder below the runs.
        site: the site profile.
        devices: processes of a cell on each node.
        profile: the site profile's text, kept with the scripts.
        closing: what the last job runs: modules with their arguments, as shell text.
        round: how often lost cells were submitted again before.
    """

    suite: str
    folder: Path
    site: Site
    devices: int
    profile: str
    closing: Sequence[str]
    round: int = 0


def is_available() -> bool:
    """Tell whether this is a cluster's login node: ``sbatch``, an answer, and not inside a job."""
    if "SLURM_JOB_ID" in os.environ or shutil.which("sbatch") is None:
        return False
    return ask(["sinfo", "--noheader", "--format=%P"])[0] == 0


def require_sbatch() -> None:
    """Refuse to submit where nothing can be submitted, before anything is prepared.

    Raises:
        UserError: if there is no ``sbatch``.
    """
    if shutil.which("sbatch") is None:
        found = f"no sbatch on this machine ({platform.system()})"
        todo = "submit from there, or run here with --launcher local"
        raise UserError("SLURM", found, "a login node of a cluster, which has it", todo)


def require_plain_folder(folder: Path) -> None:
    """Refuse a suite's folder that a batch script cannot name; quotes do not help there.

    ``sbatch`` knows no way to write a quotation mark in a line of options, and a backslash switches
    off the job's number in the names of logs.

    Raises:
        UserError: naming the sign.
    """
    path = str(folder.resolve())
    bad = odd_signs(path, more='"\\')
    if bad:
        expected = "a path without quotation marks, backslashes and line breaks"
        todo = "choose another --runs, or rename the folder"
        raise UserError(escaped(path), f"{bad!a} in the path", expected, todo)


def require_shares(cells: Sequence[Cell], site: Site, devices: int) -> None:
    """Refuse cells whose joint batch cannot be divided among their processes.

    Raises:
        UserError: naming them.
    """
    shape = f"{site.nodes} nodes × {devices} processes"
    options = "nodes or gpus_per_node in the site profile, --devices"
    slots.require_divisible(cells, site.nodes * devices, shape, options)


def submit(order: Order, limited: Sequence[tuple[Cell, str]]) -> Submission:
    """Submit cells as job arrays, and the job that comes last.

    Args:
        order: how.
        limited: the cells, the longest expected first, each with its job's limit of time where that
            is not the script's; none of them is in the queue.

    Raises:
        UserError: if SLURM refuses; nothing stays in the queue then.
    """
    cells, limits = [cell for cell, _ in limited], [limit for _, limit in limited]
    folder = new_folder(order.folder)
    (folder / "logs").mkdir(parents=True)
    for cell in cells:
        _write_config(cell)
    for name, text in files(order, cells, folder).items():
        (folder / name).write_text(text)
    made = Submission(
        folder,
        [str(cell.folder.relative_to(order.folder)) for cell in cells],
        [cell.config_hash for cell in cells],
        order.round,
    )
    made.save()
    try:
        _send(order, made, limits)
    except UserError:
        if made.arrays:
            ask(["scancel", *(job for job, _, _ in made.arrays)])
        raise
    return made


def _send(order: Order, made: Submission, limits: Sequence[str]) -> None:
    """Give a submission's scripts to SLURM, recording each job at once."""
    for first, count in chunks(limits, max_array()):
        after = made.arrays[-1][0] if made.arrays else ""
        job = _sbatch(array_command(order, made.folder, first, count, after, limits[first]))
        made.arrays.append((job, first, count))
        made.save()
    made.finish = _sbatch(finish_command(made.folder, [job for job, _, _ in made.arrays]))
    made.save()


def new_folder(suite_folder: Path) -> Path:
    """Return a folder for a submission that does not exist yet; names sort by time."""
    stamp, number = time.strftime("%Y%m%d-%H%M%S"), 1
    folder = suite_folder.resolve() / "slurm" / stamp
    while folder.exists():
        number += 1
        folder = folder.with_name(f"{stamp}-{number}")
    return folder


def files(order: Order, cells: Sequence[Cell], folder: Path) -> dict[str, str]:
    """Return what a submission's folder holds, by name: two scripts, the cells, the profile."""
    closing = [text.replace("$submission", shlex.quote(str(folder))) for text in order.closing]
    name = f"lungbench-{order.suite}"
    return {
        "cells.sh": cell_script(order.site, name, folder, order.devices),
        "finish.sh": finish_script(order.site, f"{name}-finish", folder, closing),
        "cells.txt": "".join(
            f"{_processes(cell)}\t{_accelerator(cell, order.site)}\t{cell.folder.resolve()}\n"
            for cell in cells
        ),
        "site.yaml": order.profile,
    }


def chunks(limits: Sequence[str], size: int) -> list[tuple[int, int]]:
    """Return first row and number of tasks of each array: tasks of one limit of time.

    Args:
        limits: each row's.
        size: tasks of an array at most.
    """
    found, first = [], 0
    for _, rows in groupby(limits):
        end = first + len(list(rows))
        found += [(row, min(size, end - row)) for row in range(first, end, size)]
        first = end
    return found


def array_command(
    order: Order, folder: Path, first: int, count: int, after: str, limit: str = ""
) -> list[str]:
    """Return the command that submits an array.

    Args:
        order: how.
        folder: the submission's folder.
        first: the row of its first task.
        count: its number of tasks.
        after: the array before it; where only so many cells may run at a time it is waited for.
        limit: of its tasks' time, where that is not the script's.
    """
    most = order.site.max_parallel
    command = ["sbatch", "--parsable", f"--array=0-{count - 1}" + (f"%{most}" if most else "")]
    if limit:
        command.append(f"--time={limit}")
    if after and most:
        command.append(f"--dependency=afterany:{after}")
    return [*command, str(folder / "cells.sh"), str(first)]


def finish_command(folder: Path, arrays: Sequence[str]) -> list[str]:
    """Return the command that submits the last job."""
    after = f"--dependency=afterany:{':'.join(arrays)}"
    return ["sbatch", "--parsable", after, str(folder / "finish.sh")]


def cancel(suite_folder: Path, cells: Sequence[Cell] | None = None) -> int:
    """Take cells out of the queue and stop those that run.

    Args:
        suite_folder: the suite's folder below the runs.
        cells: the cells; everything of the suite, its last jobs too, where not given.

    Returns:
        The number of cells taken back.

    Raises:
        UserError: if SLURM does not answer.
    """
    queue = look(suite_folder)
    wanted = None if cells is None else {cell.folder for cell in cells}
    jobs, count = [], 0
    for made in submissions(suite_folder):
        tasks = {row: made.job_of(row) for row in range(len(made.cells))}
        rows = [
            row
            for row, job in tasks.items()
            if job in queue.live and (wanted is None or suite_folder / made.cells[row] in wanted)
        ]
        # Marked first: the last job submits lost cells again, but not those.
        made.cancelled = sorted({*made.cancelled, *rows})
        made.save()
        count += len(rows)
        everything = sum(job in queue.live for job in tasks.values()) == len(rows)
        if everything:
            jobs += [job for job, _, _ in made.arrays if rows]
            jobs += [made.finish] if wanted is None and made.finish in queue.live else []
        else:
            jobs += [tasks[row] for row in rows]
    if jobs:
        _insist(["scancel", *jobs])
    return count


def _processes(cell: Cell) -> str:
    """Return ``one`` for cells that train in a single process by their own config."""
    assert cell.config is not None
    return "one" if "devices" in cell.config["trainer"] else "all"


def _accelerator(cell: Cell, site: Site) -> str:
    """Return what a cell trains on, by name: "auto" may mean the CPU of a job with GPUs."""
    assert cell.config is not None
    return cell.config["trainer"].get("accelerator") or ("gpu" if site.gpus_per_node else "cpu")


def _write_config(cell: Cell) -> None:
    with replacing(cell.files.config, durable=False) as file:  # thousands, before they wait
        file.write(yaml_text(cell.config).encode())


def max_array() -> int:
    """Return how many tasks an array may have here."""
    _, told, _ = ask(["scontrol", "show", "config"])
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", told, re.MULTILINE)
    # Where it is 0, arrays are switched off, as sbatch will say.
    return max(1, int(found[1])) if found else USUAL_ARRAY


def _sbatch(command: Sequence[str]) -> str:
    return job_id(_insist(command))


def job_id(told: str) -> str:
    """Return the job id that ``sbatch --parsable`` printed: alone, or before its cluster's name.

    Some sites' ``sbatch`` prints lines of its own around it.

    Raises:
        UserError: if there is none.
    """
    found: list[str] = re.findall(r"^(\d+)(?:;\S*)?\s*$", told, re.MULTILINE)
    if not found:
        raise UserError("sbatch", f"{told.strip()[-300:]!r}", "a job id", "see squeue --me")
    return found[-1]


def _insist(command: Sequence[str]) -> str:
    code, out, error = ask(command)
    if code != 0:
        said = " ".join(error.replace(f"{command[0]}: error: ", "").split())
        said = said or f"exit code {code}"
        todo = "check the site profile; `lungbench submit --dry-run` prints the scripts"
        raise UserError(command[0], f"'{said}' (from {shlex.join(command)[:300]})", todo=todo)
    return out

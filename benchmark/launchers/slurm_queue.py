"""What was submitted, and what the cluster says of it: one ``squeue`` a question."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmark.cell.cell import Cell, Ticket
from benchmark.cell.ownership import bury
from contract.errors import UserError
from contract.files import write_atomically

RECORD = "submission.json"
RUNNING = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT")
PATIENCE_S = 30


@dataclass
class Submission:
    """Cells that were submitted together: arrays of tasks, and the job that comes last.

    Attributes:
        folder: holds scripts, logs and the list of cells.
        cells: each cell's folder below the suite's, by row.
        hashes: each cell's configuration.
        round: how often lost cells were submitted again before.
        arrays: job id, first row and number of tasks of each array.
        finish: the job that builds the leaderboard, once submitted.
        cancelled: rows that someone took back.
    """

    folder: Path
    cells: list[str]
    hashes: list[str]
    round: int = 0
    arrays: list[tuple[str, int, int]] = field(default_factory=list)
    finish: str = ""
    cancelled: list[int] = field(default_factory=list)

    @property
    def suite_folder(self) -> Path:
        """The suite's folder below the runs."""
        return self.folder.parent.parent

    def save(self) -> None:
        """Write the record atomically."""
        content = {name: value for name, value in asdict(self).items() if name != "folder"}
        write_atomically(self.folder / RECORD, json.dumps(content))

    def job_of(self, row: int) -> str:
        """Return the job id of a row's task, or nothing where it was not submitted."""
        for job, first, count in self.arrays:
            if first <= row < first + count:
                return f"{job}_{row - first}"
        return ""


def submissions(suite_folder: Path) -> list[Submission]:
    """Return a suite's submissions, the oldest first."""
    found = []
    for path in sorted((suite_folder / "slurm").glob(f"*/{RECORD}")):
        said = json.loads(path.read_text())
        said["arrays"] = [tuple(entry) for entry in said["arrays"]]
        found.append(Submission(path.parent, **said))
    return found


@dataclass
class Queue:
    """What the cluster said of a suite's submissions.

    Attributes:
        tickets: the newest ticket of each cell, by its folder.
        live: ids of jobs in the queue, with their states.
    """

    tickets: dict[Path, Ticket]
    live: dict[str, str]


def look(suite_folder: Path) -> Queue:
    """Ask the cluster once about everything that was submitted for a suite.

    Raises:
        UserError: if there are submissions and the cluster does not answer.
    """
    made = submissions(suite_folder)
    jobs = [job for one in made for job, _, _ in one.arrays] + [o.finish for o in made if o.finish]
    told = _squeue(jobs) if jobs else {}
    tickets: dict[Path, Ticket] = {}
    for one in made:
        for row, (cell, config_hash) in enumerate(zip(one.cells, one.hashes, strict=True)):
            job = one.job_of(row)
            if not job:
                continue
            log = one.folder / "logs" / f"{job}.txt"
            state, why = told.get(job, ("", ""))
            if not state:
                reason = "" if row in one.cancelled else _ending(job, log)
                ticket = Ticket(job, "gone", reason, config_hash, log)
            elif state in RUNNING:
                ticket = Ticket(job, "running", f"job {job}", config_hash, log)
            else:
                told_why = f" ({why})" if why not in ("", "None") else ""
                ticket = Ticket(job, "queued", f"job {job}{told_why}", config_hash, log)
            tickets[one.suite_folder / cell] = ticket
    return Queue(tickets, {job: state for job, (state, _) in told.items()})


def tickets_of(suite_folder: Path) -> tuple[dict[Path, Ticket], str]:
    """Return a suite's tickets, and a remark where the cluster does not answer."""
    try:
        return look(suite_folder).tickets, ""
    except UserError as error:
        return {}, f"{error.where}: {error.found}; jobs are left out, cells' folders speak alone"


def bury_lost(cells: Iterable[Cell], tickets: Mapping[Path, Ticket]) -> None:
    """Free cells from owners whose jobs the cluster knows no longer, however lately they beat."""
    for cell in cells:
        ticket = tickets.get(cell.folder)
        if ticket and ticket.state == "gone":
            bury(cell.folder, ticket.job)


def _squeue(jobs: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return state and reason of each job that the queue still holds."""
    command = ["squeue", "--noheader", "--array", "--all", "--format=%i|%T|%r"]
    code, out, error = ask([*command, f"--jobs={','.join(jobs)}"])
    if code == 1:  # so too where it has forgotten the only job asked for; the whole queue tells
        code, out, error = ask(command)
    if code != 0:
        said = error.strip().partition("\n")[0] or f"exit code {code}"
        todo = "ask again later, or where the cluster is; nothing was changed"
        raise UserError("SLURM", f"no answer ({said})", "its queue", todo)
    lines = [line.split("|", 2) for line in out.splitlines() if line.count("|") >= 2]
    told = {job.strip(): (state, why) for job, state, why in lines}
    return {job: said for job, said in told.items() if job.partition("_")[0] in jobs}


def ask(command: Sequence[str]) -> tuple[int, str, str]:
    """Run one of SLURM's commands; its exit code, output and errors.

    Variables of a surrounding job are hidden from it: a job may submit others. So are a user's
    filters of ``squeue``, which would make queued jobs look as if they had gone.
    """
    if shutil.which(command[0]) is None:
        return 127, "", f"{command[0]} is not installed here"
    inside = "SLURM_JOB_ID" in os.environ
    hidden = re.compile(r"SQUEUE_|SLURMD?_(?!CONF$)" if inside else "SQUEUE_")
    environment = {name: value for name, value in os.environ.items() if not hidden.match(name)}
    try:
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False,
            timeout=PATIENCE_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 124, "", f"no answer in {PATIENCE_S} s"
    return ended.returncode, ended.stdout, ended.stderr


def _ending(job: str, log: Path) -> str:
    """Return how a job ended that the queue no longer holds, as SLURM wrote into its log."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return f"job {job} left the queue before it began (cancelled?)"
    told = [line.split("***")[1].strip() for line in lines if line.count("***") >= 2]
    how = f": {told[-1]}" if told else ""
    return f"job {job} left the queue before the cell ended{how}; log: {log}"

"""Submits what is not done in a suite to a SLURM cluster; the last job builds its leaderboard."""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmark.cell.cell import Cell
from benchmark.cell.ownership import BusyError, Owner, describe_owner
from benchmark.launchers import slurm
from benchmark.launchers.job_limits import too_large, with_limits
from benchmark.launchers.site_profile import Site, load_site
from benchmark.launchers.slurm_queue import (
    Queue,
    Submission,
    bury_lost,
    look,
    submissions,
    tickets_of,
)
from benchmark.planning.design import read_design
from benchmark.planning.plan import EVERYTHING, Plan, Selection, plan_design
from benchmark.progress import say, shown
from benchmark.running.run import (
    FINISHED,
    data_root,
    leaderboard_if_changed,
    prepare_caches,
    record_no_data,
    set_aside_stale,
)
from contract.cell_folder import offline_runs_of
from contract.errors import UserError
from contract.machine import be_modest

LOGIN_CORES = 4
"""Images are prepared on the node that submits; it has other users too."""


@dataclass(frozen=True)
class Request:
    """What ``run --launcher slurm`` and ``submit`` are asked for.

    Attributes:
        suite: the suite's name or YAML file.
        runs: the runs folder.
        root: the data root; phantoms where none is given.
        site: the site profile's file, if any.
        devices: processes of a cell on each node; by default its GPUs, or one.
        changes: overrides of every system, by dotted key.
        extra_systems: YAML files of systems that join the suite.
        selection: the part of the suite that is meant.
        keep_going: whether systems with a faulty configuration are left out.
    """

    suite: str
    runs: Path
    root: Path | None = None
    site: Path | None = None
    devices: int | None = None
    changes: Mapping[str, object] = field(default_factory=dict)
    extra_systems: Sequence[str] = ()
    selection: Selection = EVERYTHING
    keep_going: bool = False

    def arguments(self, root: Path | None = None) -> list[str]:
        """Return the suite and its changes as command-line arguments.

        Args:
            root: the data root, for arguments that hold anywhere; as given, for here, without it.
        """

        def path(given: object) -> str:
            named = Path(str(given)).suffix == "" and isinstance(given, str)
            return str(given) if root is None or named else str(Path(str(given)).resolve())

        words = ["--suite", path(self.suite), "--runs", path(self.runs)]
        data = root or self.root
        words += ["--data-root", path(data)] if data else []
        pairs = [f"{key}={json.dumps(value)}" for key, value in self.changes.items()]
        words += ["--set", *pairs] if pairs else []
        words += ["--keep-going"] if self.keep_going else []
        return words + (["--with", *map(path, self.extra_systems)] if self.extra_systems else [])


def submit_suite(request: Request, dry_run: bool = False, jobs: int | None = None) -> int:
    """Submit a suite's cells that are neither finished nor in the queue; return at once.

    Args:
        request: what is asked for.
        dry_run: print the scripts instead.
        jobs: cells at a time, instead of the site profile's ``max_parallel``.

    Returns:
        0.

    Raises:
        UserError: if a YAML file, the data, the site profile or SLURM is at fault.
    """
    slurm.require_plain_folder(request.runs)
    site = load_site(request.site)
    if jobs is not None:
        site = replace(site, max_parallel=jobs)
    root, plan = _plan(request)
    order = _order(request, plan, root, site)
    if dry_run:
        queue = Queue(tickets_of(plan.folder)[0], {})
        _print_scripts(order, _unfinished(plan, request.selection, queue))
        return 0
    with _alone(plan):
        queue = look(plan.folder)
        todo = _unfinished(plan, request.selection, queue)
        _tell_queued(plan, request, queue)
        for cell in plan.cells:
            if cell.problem:
                record_no_data(cell)
        if not todo:
            return _nothing_to_submit(request, plan, root, queue)
        slurm.require_sbatch()
        slurm.require_shares(todo, site, order.devices)
        bury_lost(todo, queue.tickets)
        for cell in todo:
            set_aside_stale(cell)
        be_modest(LOGIN_CORES)
        prepare_caches(plan, todo, root, request.runs / "cache")
        made = slurm.submit(order, _limited(order, todo))
    _tell_submitted(request, site, made, len(todo))
    return 0


def resubmit_lost(request: Request, folder: Path) -> int:
    """Submit again what vanished from the queue of an earlier submission before it ended.

    Nodes die, and some clusters cancel what they pre-empt; cells that someone took back with
    ``cancel`` stay out, and so do those that failed by themselves.

    Args:
        request: as of the earlier submission.
        folder: the earlier submission's folder.

    Returns:
        0, or 1 where it was done often enough.
    """
    site = load_site(request.site)
    root, plan = _plan(request)
    with _alone(plan):
        queue = look(plan.folder)
        made = next(one for one in submissions(plan.folder) if one.folder == folder)
        lost = [cell for cell in plan.cells if _is_lost(cell, made, queue)]
        if not lost:
            return 0
        if made.round >= site.resubmit:
            say(f"{len(lost)} cells vanished from the queue again; not submitted any more")
            return 1
        bury_lost(lost, queue.tickets)
        order = _order(request, plan, root, site, made.round + 1)
        again = slurm.submit(order, _limited(order, lost))
    say(f"{len(lost)} cells vanished from the queue; submitted again as {_jobs(again)}")
    return 0


@contextmanager
def _alone(plan: Plan) -> Iterator[None]:
    """Keep others from submitting the same cells meanwhile.

    Raises:
        UserError: if another process is just submitting.
    """
    folder = plan.folder / "slurm"
    with ExitStack() as held:
        try:
            held.enter_context(Owner(folder))
        except BusyError:
            who = f"{describe_owner(folder)}, which is just submitting"
            todo = "try again when it is through"
            raise UserError(f"suite {plan.suite.name}", who, "one at a time", todo) from None
        yield


def _is_lost(cell: Cell, made: Submission, queue: Queue) -> bool:
    ticket = queue.tickets.get(cell.folder)
    if ticket is None or ticket.state != "gone" or ticket.config_hash != cell.config_hash:
        return False
    row = next((r for r in range(len(made.cells)) if made.job_of(r) == ticket.job), None)
    return row is not None and row not in made.cancelled and cell.state(ticket)[0] == "pending"


def _plan(request: Request) -> tuple[Path, Plan]:
    given, chosen = request, request.selection
    design = read_design(
        given.suite, given.changes, given.extra_systems, given.root, given.keep_going,
        chosen.systems,
    )  # fmt: skip
    root = data_root(given.root, given.runs, given.suite).resolve()  # after that: writes phantoms
    plan = plan_design(design, given.runs, root, shown, chosen.protocols, chosen.systems)
    for notice in plan.notices:
        say(notice)
    for name, fault in plan.left_out.items():
        say(f"{name}: left out, its configuration is faulty: {fault}")
    return root, plan


def _order(
    request: Request, plan: Plan, root: Path, site: Site, round_number: int = 0
) -> slurm.Order:
    devices = request.devices or site.gpus_per_node or 1
    arguments = request.arguments(root)
    closing = [f"benchmark leaderboard {shlex.join(arguments)}"]
    if os.environ.get("WANDB_MODE") != "disabled":
        closing.append(f"benchmark publish {shlex.join(arguments[:4])}")
    if site.resubmit and not site.container:
        more = f"--devices {devices} --site $submission/site.yaml --lost $submission"
        closing.append(f"benchmark submit {shlex.join(arguments)} {more}")
    profile = request.site.read_text() if request.site else ""
    return slurm.Order(plan.suite.name, plan.folder, site, devices, profile, closing, round_number)


def _limited(order: slurm.Order, cells: Sequence[Cell]) -> list[tuple[Cell, str]]:
    """Return cells, the longest first, with their jobs' limits, and say what may not fit a GPU."""
    site, found = order.site, {}
    if site.gpus_per_node and (site.gpu_tflops or site.gpu_memory):
        from benchmark.planning.cost import costs

        found = costs(cells)
    for remark in too_large(cells, found, site, order.devices):
        say(remark)
    return with_limits(cells, found, site, order.devices)


def _unfinished(plan: Plan, selection: Selection, queue: Queue) -> list[Cell]:
    return [
        cell
        for cell in selection.of(plan)
        if cell.state(queue.tickets.get(cell.folder))[0] not in (*FINISHED, "queued", "running")
    ]


def _tell_queued(plan: Plan, request: Request, queue: Queue) -> None:
    """Say what is in the queue already.

    Raises:
        UserError: if that is another configuration of the same cells.
    """
    tickets = [queue.tickets.get(cell.folder) for cell in request.selection.of(plan)]
    counts = Counter(ticket.state for ticket in tickets if ticket)
    inside = counts["queued"] + counts["running"]
    for cell, ticket in zip(request.selection.of(plan), tickets, strict=True):
        if ticket and ticket.state != "gone" and ticket.config_hash != cell.config_hash:
            raise UserError(
                cell.name,
                f"job {ticket.job} in the queue, of another configuration",
                "the same suite and changes as were submitted",
                f"wait for it, or take it back: lungbench cancel {shlex.join(request.arguments())}",
            )
    if inside:
        say(
            f"{counts['queued']} cells are queued and {counts['running']} running already; "
            "they are not submitted again"
        )


def _nothing_to_submit(request: Request, plan: Plan, root: Path, queue: Queue) -> int:
    coming = [one.finish for one in submissions(plan.folder) if one.finish in queue.live]
    if coming:
        say(f"nothing to submit; job {coming[-1]} builds the leaderboard afterwards")
        _tell_how_to_watch(request)
        return 0
    if any(ticket.state != "gone" for ticket in queue.tickets.values()):
        command = f"lungbench leaderboard {shlex.join(request.arguments())}"
        say(f"nothing to submit; when the jobs are through, build the leaderboard: {command}")
        return 0
    say("nothing to submit: every cell that can run is done")
    board = leaderboard_if_changed(plan, False, root, request.runs)
    if board:
        say(f"leaderboard: {board / 'leaderboard.html'}")
    return 0


def _tell_submitted(request: Request, site: Site, made: Submission, count: int) -> None:
    say(f"submitted {count} cells as {_jobs(made)}")
    say(f"afterwards job {made.finish} builds {made.suite_folder / 'leaderboard'}")
    say(f"scripts and logs: {made.folder}")
    if not site.internet and not site.finish_partition:
        runs = offline_runs_of(made.suite_folder)
        say(f"W&B stays offline on the nodes; to upload afterwards: wandb sync {runs}")
    _tell_how_to_watch(request)


def _jobs(made: Submission) -> str:
    jobs = [job for job, _, _ in made.arrays]
    return f"job array{'s' if len(jobs) > 1 else ''} {', '.join(jobs)}"


def _tell_how_to_watch(request: Request) -> None:
    words = shlex.join(request.arguments())
    say(f"watch: lungbench status {words}\nstop:  lungbench cancel {words}")


def _print_scripts(order: slurm.Order, cells: Sequence[Cell]) -> None:
    if not cells:
        say("nothing to submit: every cell that can run is done")
        return
    slurm.require_shares(cells, order.site, order.devices)
    limited = _limited(order, cells)
    cells, limits = [cell for cell, _ in limited], [limit for _, limit in limited]
    folder = slurm.new_folder(order.folder)
    arrays: list[str] = []
    for first, count in slurm.chunks(limits, slurm.max_array()):
        after = arrays[-1] if arrays else ""
        limit = limits[first]
        print(shlex.join(slurm.array_command(order, folder, first, count, after, limit)))
        arrays.append(f"ARRAY{len(arrays) + 1}")
    print(shlex.join(slurm.finish_command(folder, arrays)))
    for name, text in slurm.files(order, cells, folder).items():
        print(f"\n### {folder / name}\n{text}", end="")

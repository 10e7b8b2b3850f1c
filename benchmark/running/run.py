"""Runs what is not done in a suite, then builds its leaderboard."""

from __future__ import annotations

import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from benchmark.cell.cell import Cell
from benchmark.launchers.forecast import longest_first
from benchmark.launchers.local import run_cells, slots_for
from benchmark.launchers.slurm_queue import bury_lost, tickets_of
from benchmark.launchers.watch import Limits
from benchmark.planning.changes import what_it_is
from benchmark.planning.design import read_design
from benchmark.planning.phantom_roots import phantom_root
from benchmark.planning.plan import EVERYTHING, Plan, Selection, plan_design
from benchmark.progress import duration, say, shown
from contract.cell_record import CellRecord
from contract.errors import UserError
from datamodules.cache import PreparedSet, prepare_all
from datamodules.checks.audit import suspects
from datamodules.checks.twins import require_distinct
from datamodules.preprocessing import Preprocessing
from datamodules.sources import open_source

FINISHED = ("done", "no_data")


def data_root(given: Path | None, runs: Path, suite: str) -> Path:
    """Return the data root, writing the suite's phantoms below the runs folder if none is given.

    Raises:
        UserError: if the given folder does not exist.
    """
    if given is None:
        return phantom_root(runs, suite)
    if not given.is_dir():
        raise UserError(
            given,
            "no such folder",
            "a data root that holds MontgomerySet/, ChinaSet_AllFiles/ …",
            "check DATA_ROOT; leave it unset to try the suite on phantoms",
        )
    return given


def run(
    suite: str,
    runs: Path,
    root: Path | None = None,
    *,
    jobs: int | None = None,
    devices: int = 1,
    cells_per_gpu: int | Literal["auto"] | None = None,
    limits: Limits | None = None,
    changes: Mapping[str, object] | None = None,
    extra_systems: Sequence[str] = (),
    selection: Selection = EVERYTHING,
    keep_going: bool = False,
) -> int:
    """Run a suite's unfinished cells on this machine and build the leaderboard.

    Args:
        suite: the suite's name or YAML file.
        runs: the runs folder.
        root: the data root; phantoms where none is given.
        jobs: cells at a time; by default as many as the machine carries.
        devices: GPUs (or CPU processes) a cell.
        cells_per_gpu: cells that share a GPU; ``auto``: as many as fit by their estimated cost.
        limits: when a cell is given up.
        changes: overrides of every system, by dotted key.
        extra_systems: YAML files of systems that join the suite.
        selection: the part of the suite to run; the leaderboard shows all that is done.
        keep_going: leave systems with a faulty configuration out instead of raising.

    Returns:
        0 if every cell that could run did and no system was left out, otherwise 1.

    Raises:
        UserError: if a YAML file or the data is faulty; nothing has been trained then.
    """
    started = time.monotonic()
    chosen = selection.systems
    design = read_design(suite, changes, extra_systems, root, keep_going, chosen)
    root = data_root(root, runs, suite)  # phantoms are written only now
    plan = plan_design(design, runs, root, shown, selection.protocols, chosen)
    for notice in plan.notices:
        say(notice)
    selected = selection.of(plan)
    tickets, remark = tickets_of(plan.folder)
    if remark:
        say(remark)
    taken = (*FINISHED, "running", "queued")
    states = {cell: cell.state(tickets.get(cell.folder)) for cell in selected}
    todo = [cell for cell, (state, _) in states.items() if state not in taken]
    say(f"suite {plan.suite.name}: {len(selected)} cells, {len(todo)} to run")
    tell_of_damage(states)
    slots = slots_for(todo, devices, cells_per_gpu, jobs, plan.cells) if todo else None
    for cell in plan.cells:
        if cell.problem:
            record_no_data(cell)
    for reason in sorted({cell.problem for cell in plan.cells if cell.problem}):
        say(f"no data: {reason}")
    bury_lost(todo, tickets)
    for cell in todo:
        set_aside_stale(cell)
    if slots is not None:
        prepare_caches(plan, todo, root, runs / "cache")
        say(f"cells: {slots}")
        run_cells(longest_first(todo), slots, limits, _taken(plan))
    mend_configs(plan)
    counts = Counter(cell.state(tickets.get(cell.folder))[0] for cell in selected)
    told = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
    say(f"{told} in {duration(time.monotonic() - started)}")
    board = leaderboard_if_changed(plan, bool(todo), root, runs)
    if not todo and counts["queued"]:
        say("nothing to do here: the cells that are not done are in the cluster's queue")
    elif not todo:
        say("nothing to do: every cell that can run is done")
    if board:
        say(f"leaderboard: {board / 'leaderboard.html'}")
    if counts["running"]:
        say(f"{counts['running']} cells are being run by another process; it ends the leaderboard")
    for name, fault in plan.left_out.items():
        say(f"{name}: left out, its configuration is faulty: {fault}")
    # What the leaderboard refused of a finished cell is told above.
    believed = board is None or not leaderboard_faults(plan)
    return 0 if believed and all(state in taken for state in counts) and not plan.left_out else 1


def tell_of_damage(states: Mapping[Cell, tuple[str, str]]) -> None:
    """Say of cells that were done why their results serve no more."""
    for cell, (state, reason) in states.items():
        if state == "failed" and cell.files.record.is_done:
            say(f"{cell.name}: {reason}")


def record_no_data(cell: Cell) -> None:
    """Record why a cell cannot run."""
    record = cell.files.record
    if record.state in ("", "no_data") and record.reason != cell.problem:
        cell.files.update(
            suite=cell.suite, system=cell.system, protocol=cell.protocol,
            seed=cell.seed, state="no_data", reason=cell.problem,
        )  # fmt: skip


def set_aside_stale(cell: Cell) -> None:
    """Keep the results of another configuration under another name, out of every table."""
    record = cell.files.record
    if record.state == "no_data":
        cell.files.record_file.unlink(missing_ok=True)
    elif cell.state()[0] == "stale":
        aside = cell.files.set_aside(record.config_hash)
        shutil.rmtree(aside, ignore_errors=True)
        try:
            cell.folder.rename(aside)
        except FileNotFoundError:  # another `run` was quicker
            return
        say(f"{cell.name}: results of another configuration kept in {aside}")


def prepare_caches(plan: Plan, cells: Sequence[Cell], root: Path, cache: Path) -> None:
    """Decode each data set once, for all preprocessings of the cells, before any of them starts."""
    wanted: dict[str, dict[Preprocessing, None]] = defaultdict(dict)
    for cell in cells:
        assert cell.config is not None
        arguments = cell.config["data"]["init_args"]
        settings = dict(arguments["preprocessing"])
        settings["value_range"] = tuple(settings.get("value_range", (-1, 1)))
        rules = arguments["protocol"]
        for name in (*rules["train"], *rules["test"]):
            wanted[name][Preprocessing(**settings)] = None
    prepared: dict[Preprocessing, dict[str, PreparedSet]] = defaultdict(dict)
    for name, preprocessings in wanted.items():
        source = open_source(name, root, cache)
        found = prepare_all(source, source.cases(), list(preprocessings), cache, shown)
        for preprocessing, one in found.items():
            prepared[preprocessing][source.name] = one
    for sets in prepared.values():
        require_distinct(sets)


def _taken(plan: Plan) -> list[tuple[Cell, float]]:
    """Return the finished cells with the seconds that each took."""
    taken = [(cell, cell.files.record.wall_s) for cell in _done(plan)]
    return [(cell, seconds) for cell, seconds in taken if seconds]


def leaderboard_if_changed(plan: Plan, changed: bool, root: Path, runs: Path) -> Path | None:
    """Build the leaderboard where anything changed since the last one.

    Args:
        plan: the plan.
        changed: whether cells ran just now.
        root: the data root.
        runs: the runs folder.

    Returns:
        The leaderboard's folder, or None where no cell is done.
    """
    from leaderboards.products import PRODUCTS

    folder = plan.folder / "leaderboard"
    done = _done(plan)
    if not done:
        return None
    if not changed and folder.exists():
        newest = max(cell.files.record_file.stat().st_mtime for cell in done)
        found = leaderboard_faults(plan)
        if not found and (folder / PRODUCTS).stat().st_mtime >= newest:
            return folder
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            say(f"the leaderboard is built again: {found[0]}{more}")
    while True:
        folder = build_suite_leaderboard(plan, root, runs)
        shown_cells, done = done, _done(plan)
        if len(done) == len(shown_cells):  # else another `run` ended a cell in the meantime
            return folder


def mend_configs(plan: Plan) -> None:
    """Write the configs of finished cells anew that were lost, damaged or edited since.

    Their rows are those of the config that is planned: who edits one wants another folder.
    """
    for cell in _done(plan):
        if cell.placed is not None and not cell.files.is_own_config(cell.files.record):
            cell.files.update(config_digest=cell.write_config())
            say(f"{cell.files.config} was not the one that the cell was run by; written anew")


def leaderboard_faults(plan: Plan) -> list[str]:
    """Return in words what is wrong with the files of a suite's leaderboard."""
    from leaderboards.products import faults

    done = set(_done(plan))
    records = {
        (cell.system, cell.protocol, cell.seed): cell.files.record if cell in done else None
        for cell in plan.cells
    }
    return faults(plan.folder / "leaderboard", records)


def _done(plan: Plan) -> list[Cell]:
    return [cell for cell in plan.cells if cell.state()[0] == "done"]


def record_changes(cells: Sequence[Cell]) -> None:
    """Let finished cells say what sets them apart from their systems' files as these are today.

    The same training may have been run before a file said so, or by a suite with other words.
    """
    for cell in cells:
        record = cell.files.record
        if record.is_done and record.config_hash == cell.config_hash:
            told = what_it_is(cell.changes, cell.baseline)
            if told != what_it_is(record.changes, record.baseline):
                cell.files.update(**told)


def build_suite_leaderboard(plan: Plan, root: Path, runs: Path, gallery: bool = True) -> Path:
    """Build the leaderboard of a planned suite from its cells' rows.

    Args:
        plan: the plan.
        root: the data root, whose reference masks are audited for the ``clean`` columns.
        runs: the runs folder, whose cache remembers the audit.
        gallery: whether the page shows films.
    """
    from benchmark.foreign import external
    from leaderboards.board import build_leaderboard

    record_changes(plan.cells)
    trained = {(c.system, c.protocol, c.seed): c.config_hash for c in plan.cells if c.placed}
    tested = {
        name
        for cell in plan.cells
        if cell.config is not None
        for name in cell.config["data"]["init_args"]["protocol"]["test"]
    }
    sources = [open_source(name, root) for name in sorted(tested)]
    return build_leaderboard(
        plan.folder,
        suspects=suspects(sources, runs / "cache", shown),
        protocols={name: p.get("title", name) for name, p in plan.protocols.items()},
        current=trained | external.current(plan),
        planned=[planned_record(cell) for cell in plan.cells],
        gallery=gallery,
        tell=say,
    )


def planned_record(cell: Cell) -> CellRecord:
    """Return what a leaderboard is told of a cell that has no folder yet."""
    state, reason = ("no_data", cell.problem) if cell.problem else ("pending", "not begun")
    return CellRecord(cell.system, cell.protocol, cell.seed, state=state, reason=reason)

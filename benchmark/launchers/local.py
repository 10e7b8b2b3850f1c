"""Runs cells on this machine, several at a time, each in a process of its own."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Literal

from benchmark.cell.cell import INTERRUPTED, Cell
from benchmark.cell.ownership import BusyError, Owner, clear_leftovers
from benchmark.cell.peers import first_fault
from benchmark.failures import explain, explain_exit
from benchmark.gpus import require_usable, visible_gpus
from benchmark.launchers.display import Board
from benchmark.launchers.packing import cells_that_fit
from benchmark.launchers.slots import Slot, Slots, require_divisible, share_out
from benchmark.launchers.warm import StartedProcess, WarmStarts, warm_starts_for
from benchmark.launchers.watch import Limits, Pulse
from benchmark.progress import duration, say
from benchmark.start import command
from benchmark.tracking import wandb_place
from contract.machine import cores

INTERRUPTED_CODE = 130
GRACE_S = 10.0
"""What an interrupted cell gets to end by itself."""
SAME_SIGNAL_S = 1.0
"""Signals that come no further apart are one."""


def slots_for(
    cells: Sequence[Cell],
    devices: int = 1,
    cells_per_gpu: int | Literal["auto"] | None = None,
    jobs: int | None = None,
    suite: Sequence[Cell] = (),
) -> Slots:
    """Divide this machine for cells; see ``share_out``. Cells told to use the CPU get no GPUs.

    Args:
        cells: those that are to run.
        devices: GPUs (or processes on CPU cores) a cell.
        cells_per_gpu: cells that share a GPU; ``auto``: as many of the suite's as fit.
        jobs: cells at a time.
        suite: all cells of the suite, for ``auto``.

    Raises:
        UserError: if the machine has fewer GPUs than a cell asks for or torch cannot use them, or
            the processes of a cell do not divide its batch.
    """
    accelerators = {(cell.config or {}).get("trainer", {}).get("accelerator") for cell in cells}
    gpus = [] if accelerators == {"cpu"} else visible_gpus()
    if cells_per_gpu == "auto":
        cells_per_gpu, why = cells_that_fit(suite, devices, gpus)
        say(f"cells: {why}")
    slots = share_out(gpus, cores(), devices, cells_per_gpu, jobs)
    require_divisible(cells, devices, f"{devices} processes", "--devices")
    if gpus:
        require_usable(gpus)
    return slots


def run_cells(
    cells: Sequence[Cell],
    slots: Slots,
    limits: Limits | None = None,
    earlier: Iterable[tuple[Cell, float]] = (),
) -> None:
    """Run cells to their ends; a cell's failure is recorded in its folder and is its own.

    Args:
        cells: the cells, the longest expected first.
        slots: what each gets of the machine.
        limits: when a cell is given up.
        earlier: finished cells and their seconds, for the forecast.

    Raises:
        KeyboardInterrupt: after all cells have been ended, on Ctrl-C and on SIGTERM or SIGHUP.
    """
    board = Board(cells, len(slots.all), earlier)
    stop = threading.Event()
    with (
        _interruptible(),
        warm_starts_for(len(cells), slots) as warm,
        ThreadPoolExecutor(len(slots.all)) as pool,
    ):
        shown = threading.Thread(target=board.show, daemon=True)
        try:
            futures = {
                pool.submit(_run_cell, cell, slots, limits or Limits(), board, stop, warm): cell
                for cell in cells
            }
            shown.start()
            for ended, future in enumerate(as_completed(futures), 1):
                cell = futures[future]
                state, reason, seconds = future.result()
                tail = f" — {reason}" if reason else ""
                tail += f" (log: {cell.log})" if state != "done" else ""
                left = board.left()
                tail += f"; suite: {left}" if left else ""
                say(f"[{ended}/{len(cells)}] {cell.name}: {state} in {duration(seconds)}{tail}")
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            stop.set()
            board.close()
            if shown.ident is not None:
                shown.join()  # or its bars would be drawn over what is said next


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM, and a closed terminal unless it is ignored, do what Ctrl-C does.

    A second signal right behind the first is the same one, which a terminal or ``timeout`` sent to
    the process and to its group: raised while the first unwinds, it would break what waits.
    Windows knows no closed terminal (SIGHUP).
    """
    last = -math.inf

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        before_this, last = last, time.monotonic()
        if last - before_this > SAME_SIGNAL_S:
            raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            theirs = (signal.SIG_DFL, signal.default_int_handler)
            if number is not None and signal.getsignal(number) in theirs:
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_cell(
    cell: Cell,
    slots: Slots,
    limits: Limits,
    board: Board,
    stop: threading.Event,
    warm: WarmStarts | None,
) -> tuple[str, str, float]:
    """Run one cell's ``fit`` process; return its state, the reason and its seconds."""
    if stop.is_set():
        return "pending", INTERRUPTED, 0.0
    slot, started = slots.take(), time.monotonic()
    board.begin(cell)
    state, reason = "failed", ""
    try:
        state, reason = _hold_and_run(cell, slot, limits, stop, warm)
    except BusyError:
        state, reason = cell.state()
    except OSError as error:
        reason = explain(error)
    finally:
        seconds = time.monotonic() - started
        slots.give_back(slot)
        board.end(cell, seconds, done=state == "done" and not reason)
    return state, reason, seconds


def _hold_and_run(
    cell: Cell, slot: Slot, limits: Limits, stop: threading.Event, warm: WarmStarts | None
) -> tuple[str, str]:
    assert cell.config is not None
    with Owner(cell.folder) as owner:
        if cell.state()[0] == "done":
            return "done", "by another process meanwhile"
        clear_leftovers(cell.folder)  # no fault of an earlier start explains this one's death
        cell.write_config()
        words = ["fit", "--config", str(cell.files.config), "--out", str(cell.folder)]
        if "devices" not in cell.config["trainer"]:
            words.append(f"--trainer.devices={slot.devices}")
        if slot.gpus and "accelerator" not in cell.config["trainer"]:
            words.append("--trainer.accelerator=gpu")  # by name: "auto" may mean the CPU
        # Each cell is a run of its own, also where an agent of a sweep started all of them.
        common = {k: v for k, v in os.environ.items() if k not in wandb_place.OF_AN_AGENT}
        environment = {**common, **slot.environment(), **owner.hand_over()}
        code, given_up = _attend(cell, words, environment, limits, stop, warm)
        if code != 0 and (given_up or not stop.is_set()):
            return _record_death(cell, owner, given_up, code)
    return cell.state()


def _attend(
    cell: Cell,
    words: Sequence[str],
    environment: Mapping[str, str],
    limits: Limits,
    stop: threading.Event,
    warm: WarmStarts | None,
) -> tuple[int, str]:
    """Run a process until it ends, is given up or all is stopped; return its exit code and why."""
    given_up = ""
    process = _start(cell, words, environment, warm, stop)
    if process is None:
        return INTERRUPTED_CODE, ""
    try:
        pulse, looked = Pulse(cell.folder, limits), time.monotonic()
        while process.poll() is None and not given_up and not stop.wait(0.2):
            if time.monotonic() - looked >= 1:
                given_up, looked = pulse.overdue(), time.monotonic()
    finally:
        code = _end(process, 0.0 if given_up else GRACE_S)
    if given_up:
        with suppress(OSError), cell.log.open("a") as log:
            log.write(f"lungbench: {given_up}; the process was ended\n")
    return code, given_up


def _start(
    cell: Cell,
    words: Sequence[str],
    environment: Mapping[str, str],
    warm: WarmStarts | None,
    stop: threading.Event,
) -> StartedProcess | None:
    """Start a cell's process, forked from what has loaded its libraries where that serves.

    Returns:
        None where all was stopped meanwhile.
    """
    forked = warm.start(words, environment, cell.log, stop) if warm else None
    if forked is not None or stop.is_set():
        return forked
    with cell.log.open("a") as log:
        return subprocess.Popen(
            command("benchmark", *words), stdout=log, stderr=subprocess.STDOUT,
            env=environment, start_new_session=True,
        )  # fmt: skip


def _record_death(cell: Cell, owner: Owner, given_up: str, code: int) -> tuple[str, str]:
    """Record why a cell's process ended, unless it said so itself."""
    if not owner.holds():  # it ended in good order, or another process has taken over
        state, said = cell.state()
        if state in ("done", "running") or (said and not given_up):
            return state, said
    reason = f"{given_up}; ended" if given_up else first_fault(cell.folder) or explain_exit(code)
    try:
        cell.files.update(
            state="failed", reason=reason, config_hash=cell.config_hash,
            suite=cell.suite, system=cell.system, protocol=cell.protocol, seed=cell.seed,
        )  # fmt: skip
    except OSError as error:
        reason += f"; and that could not be recorded: {explain(error)}"
    return "failed", reason


def _end(process: StartedProcess, grace_s: float) -> int:
    """End a process and all its children, after some grace where it may help; return its code."""
    if not hasattr(os, "killpg"):
        return _end_without_group(process)
    try:
        if process.poll() is None and grace_s:
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(grace_s)
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    return process.wait()


def _end_without_group(process: StartedProcess) -> int:
    """End a process where the system has no process groups (Windows); it gets no grace there."""
    program = shutil.which("taskkill")
    if program is not None and process.poll() is None:
        words = [program, "/F", "/T", "/PID", str(process.pid)]  # with all its children
        subprocess.run(words, capture_output=True, check=False)
    process.kill()
    return process.wait()

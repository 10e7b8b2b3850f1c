"""Runs cells on this machine, several at a time, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmark.cells import Cell, read_record, update_record
from benchmark.ownership import is_owned
from benchmark.progress import bars, console, duration, read_progress, say


@dataclass(frozen=True)
class Share:
    """What each cell gets of this machine.

    Attributes:
        jobs: cells at a time.
        threads: CPU threads a cell.
        devices: processes (GPUs, or CPU processes) a cell.
    """

    jobs: int
    threads: int
    devices: int

    @classmethod
    def of_machine(cls, jobs: int | None, devices: int) -> Share:
        """Divide the CPU cores: up to four cells at a time, the same threads for each.

        The number of threads depends on the machine alone, never on how many cells are left, so
        that a repeated cell sums in the same order.
        """
        cores = len(os.sched_getaffinity(0))
        jobs = jobs or max(1, min(4, cores) // devices)
        return cls(jobs, max(1, cores // (jobs * devices)), devices)


def run_cells(cells: Sequence[Cell], share: Share) -> None:
    """Run cells to their ends; a cell's failure is recorded in its folder and is its own.

    Args:
        cells: the cells, the longest expected first.
        share: what each gets of the machine.
    """
    running: dict[Cell, float] = {}
    stop = threading.Event()
    with ThreadPoolExecutor(share.jobs) as pool:
        futures = {pool.submit(_run_cell, cell, share, running, stop): cell for cell in cells}
        watcher = threading.Thread(target=_watch, args=(running, len(cells), stop), daemon=True)
        watcher.start()
        try:
            for done, future in enumerate(as_completed(futures), 1):
                cell = futures[future]
                seconds = future.result()
                state, reason = cell.state()
                tail = f" — {reason} (log: {cell.log})" if state != "done" else ""
                say(f"[{done}/{len(cells)}] {cell.name}: {state} in {duration(seconds)}{tail}")
        except KeyboardInterrupt:
            stop.set()
            for future in futures:
                future.cancel()
            raise
        finally:
            stop.set()
            watcher.join()


def _run_cell(cell: Cell, share: Share, running: dict[Cell, float], stop: threading.Event) -> float:
    """Run one cell's ``fit`` process and return its seconds."""
    assert cell.config is not None
    if stop.is_set():
        return 0.0
    cell.folder.mkdir(parents=True, exist_ok=True)
    config = cell.folder / "config.yaml"
    config.write_text(yaml.safe_dump(cell.config, sort_keys=False, allow_unicode=True))
    command = [sys.executable, "-m", "benchmark", "fit", "--config", str(config)]
    command += ["--out", str(cell.folder)]
    if "devices" not in cell.config["trainer"]:
        command.append(f"--trainer.devices={share.devices}")
    threads = str(share.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    started = running[cell] = time.monotonic()
    with cell.log.open("a") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            while process.poll() is None and not stop.wait(0.2):
                pass
        finally:
            _end(process)
            running.pop(cell, None)
    if process.returncode != 0 and read_record(cell.folder).get("state") != "failed":
        _record_death(cell, process.returncode, stop.is_set())
    return time.monotonic() - started


def _record_death(cell: Cell, code: int, interrupted: bool) -> None:
    if interrupted or is_owned(cell.folder):
        return
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    update_record(
        cell.folder, state="failed", reason=f"{how} before it could say why; see its log",
        config_hash=cell.config_hash, suite=cell.suite, system=cell.system,
        protocol=cell.protocol, seed=cell.seed,
    )  # fmt: skip


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all its children."""
    send: Callable[[int], None] = lambda sent: os.killpg(process.pid, sent)  # noqa: E731
    try:
        if process.poll() is None:
            send(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                send(signal.SIGKILL)
                process.wait()
        send(signal.SIGKILL)
    except ProcessLookupError:
        pass


def _watch(running: dict[Cell, float], total: int, stop: threading.Event) -> None:
    """Show how far the running cells are: bars on a terminal, a line a half minute elsewhere."""
    if not console.is_terminal:
        while not stop.wait(30):
            told = [_told(cell, since) for cell, since in list(running.items())]
            say("running: " + "; ".join(told))
        return
    with bars() as progress:
        tasks: dict[Cell, int] = {}
        while not stop.wait(0.5):
            current = dict(running)
            for cell in current:
                said = read_progress(cell.folder / "progress.json")
                if cell not in tasks:
                    tasks[cell] = progress.add_task(cell.name, total=None)
                if said:
                    progress.update(
                        tasks[cell],  # type: ignore[arg-type]
                        completed=said["done"],
                        total=said["total"],
                        description=f"{cell.name} {said['what']}",
                    )
            for cell in set(tasks) - set(current):
                progress.remove_task(tasks.pop(cell))  # type: ignore[arg-type]


def _told(cell: Cell, since: float) -> str:
    said = read_progress(Path(cell.folder / "progress.json"))
    if not said or not said["done"]:
        return f"{cell.name} (starting)"
    if said["what"] != "training":
        return f"{cell.name} {said['what']} {said['done']:.0f}/{said['total']:.0f}"
    spent = time.monotonic() - since
    left = spent / said["done"] * max(0, said["total"] - said["done"])
    done = f"{said['done']:.0f}/{said['total']:.0f}"
    return f"{cell.name} {said['what']} {done}, {duration(left)} left"

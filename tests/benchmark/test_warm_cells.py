"""Cells forked from a process that has loaded everything are the cells of cold processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from processes import children_of

from benchmark.__main__ import main
from benchmark.cell.nursery import why_not_alone
from benchmark.launchers.local import slots_for
from benchmark.launchers.slots import Slot, Slots
from benchmark.launchers.warm import COLD, WarmStarts, warm_starts_for
from contract.machine import cores

NETWORK = """
import atexit, json, os, sys, time
from pathlib import Path
import torch
from threadpoolctl import threadpool_info
from torch import nn


class Telling(nn.Conv2d):
    def __init__(self, classes: int, waits_for: str = "", raises: bool = False) -> None:
        super().__init__(1, classes, 3, padding=1)
        self.waits_for, self.raises, self.said = waits_for, raises, False

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if not self.said:
            self.said = True
            atexit.register(print, "LEFT")
            names = "OMP_NUM_THREADS", "MKL_NUM_THREADS", "MARK", "JE_ARROW_MALLOC_CONF"
            told = {name: os.environ.get(name) for name in names}
            told |= {"threads": torch.get_num_threads(), "session": os.getsid(0) == os.getpid()}
            told |= {"libraries": sorted((Path(one["filepath"]).name, one["num_threads"])
                                         for one in threadpool_info())}
            told |= {"words": sys.argv[1:3], "input": sys.stdin.read(), "parent": os.getppid()}
            print(f"TOLD {json.dumps(told)}\\n", end="", flush=True)  # unbuffered: one piece
            while self.waits_for and not Path(self.waits_for).exists():
                time.sleep(0.05)
            if self.raises:
                raise ValueError("planted fault")
        return super().forward(image)
"""
SMALL = {"preprocessing.size": 32, "trainer.max_epochs": 1, "batch_size": 2}


def write_suite(folder: Path, **systems: dict) -> str:
    """Write a network, a system for each set of its arguments and a suite of all."""
    folder.mkdir(exist_ok=True)
    (folder / "telling.py").write_text(NETWORK)
    for name, arguments in systems.items():
        network = {"class_path": "telling.Telling",
                   "init_args": {"classes": "$classes", **arguments}}  # fmt: skip
        settings = {"extends": "unet", "model": {"init_args": {"generator": network}}}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    names = ["mean_shape", *(f"{name}.yaml" for name in systems)]
    suite = {"systems": names, "protocols": ["m_to_s"], "overrides": SMALL}
    (folder / "warm.yaml").write_text(yaml.safe_dump(suite))
    return str(folder / "warm.yaml")


def run(suite: str, root: Path, runs: Path, jobs: int = 2) -> int:
    return main(["run", "--suite", suite, "--data-root", str(root), "--runs", str(runs),
                 "--launcher", "local", "--jobs", str(jobs)])  # fmt: skip


def cell(runs: Path, system: str) -> Path:
    return runs / "warm" / "cells" / system / "m_to_s" / "seed-0"


def told(runs: Path, system: str) -> dict:
    """What the system's network has told; nothing before it has, to the end of its line."""
    log = cell(runs, system) / "log.txt"
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    whole = [line for line in lines if line.startswith("TOLD") and line.endswith("\n")]
    return json.loads(whole[0].removeprefix("TOLD")) if whole else {}


@pytest.fixture(scope="module")
def both(tmp_path_factory, phantom_root):
    """The same suite, one of its three systems faulty, run warm and cold, a cell at a time.

    Each cell has all cores, so that its libraries have more than one thread.
    """
    home = tmp_path_factory.mktemp("warm")
    suite = write_suite(home, telling={}, failing={"raises": True})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARK", "seen")
        assert run(suite, phantom_root, home / "warm", jobs=1) == 1
        patch.setenv(COLD, "1")
        assert run(suite, phantom_root, home / "cold", jobs=1) == 1
    return home / "warm", home / "cold"


def test_rows_and_records_are_those_of_cold_cells(both):
    for system in ("mean_shape", "telling"):
        warm, cold = (pd.read_parquet(cell(runs, system) / "cases.parquet") for runs in both)
        pd.testing.assert_frame_equal(warm, cold, check_exact=True)
        warm, cold = (json.loads((cell(runs, system) / "cell.json").read_text()) for runs in both)
        differing = {name for name in warm if warm[name] != cold.get(name)}
        assert warm.keys() == cold.keys()
        assert differing <= {
            "started", "finished", "wall_s", "images_per_s", "peak_memory_mib", "wandb_id",
            "config_digest",
        }, differing  # fmt: skip


def test_a_cell_has_its_own_environment_session_and_log(both):
    warm, cold = (told(runs, "telling") for runs in both)
    assert cold.pop("parent") == os.getpid() != warm.pop("parent")  # the nursery forked it
    assert warm == cold
    assert warm["MARK"] == "seen" and warm["session"] and warm["words"] == ["benchmark", "fit"]
    assert warm["OMP_NUM_THREADS"] == str(warm["threads"]) == str(cores())
    assert {threads for _, threads in warm["libraries"]} == {cores()}


def test_a_cell_does_what_is_left_for_its_end(both):
    logs = ((cell(runs, "telling") / "log.txt").read_text().splitlines() for runs in both)
    warm, cold = (log.count("LEFT") for log in logs)
    assert warm == cold > 0


def test_a_failing_cell_says_why_as_a_cold_one_does(both):
    reasons = set()
    for runs in both:
        said = json.loads((cell(runs, "failing") / "cell.json").read_text())
        assert said["state"] == "failed" and "ValueError: planted fault" in said["reason"]
        assert f"lungbench: {said['reason']}" in (cell(runs, "failing") / "log.txt").read_text()
        reasons.add(said["reason"])
    assert len(reasons) == 1


def test_a_killed_nursery_costs_no_cell(tmp_path, phantom_root, capsys):
    gate = tmp_path / "gate"
    suite = write_suite(tmp_path, first={"waits_for": str(gate)}, second={"waits_for": str(gate)})
    runs = tmp_path / "runs"

    def kill() -> None:
        try:
            until = time.monotonic() + 300
            while not told(runs, "first") and time.monotonic() < until:
                time.sleep(0.1)
            os.kill(told(runs, "first")["parent"], signal.SIGKILL)
            time.sleep(1)
        finally:
            gate.touch()  # or a fault here would have the cells wait for ever

    killer = threading.Thread(target=kill)
    killer.start()
    code = run(suite, phantom_root, runs)
    killer.join()
    said = capsys.readouterr().out
    assert code == 0, said
    assert "3 done" in said
    assert "cells load their libraries themselves from here on: the process" in said


@pytest.fixture(scope="module")
def nursery():
    """A nursery whose children do other things than train."""
    made = WarmStarts()
    yield made
    made.close()


def test_exit_codes_and_signals_are_seen(nursery, tmp_path):
    def start(*words: str):
        environment = {**os.environ, **Slot((), 1).limits()}
        return nursery.start(words, environment, tmp_path / "log.txt", threading.Event())

    assert start("plan", "--suite", "nothing").wait(60) == 2
    assert "nothing" in (tmp_path / "log.txt").read_text()
    assert start("list", "suites").wait(60) == 0
    port = "0"
    served = start("serve", "--runs", str(tmp_path), "--port", port)
    assert served.poll() is None
    os.killpg(served.pid, signal.SIGKILL)
    assert served.wait(60) == -signal.SIGKILL


def test_a_log_that_cannot_be_written_is_told(nursery, tmp_path, capsys):
    log = tmp_path / "no" / "folder" / "log.txt"
    assert nursery.start(["list", "suites"], {}, log, threading.Event()) is None
    assert "No such file or directory" in capsys.readouterr().out


def forks(pid: int) -> list[int]:
    """The nursery that a process started, or the cells that a nursery forked."""
    return children_of(pid, b"nursery")


@pytest.mark.parametrize("when", ["while libraries load", "while cells train"])
def test_an_interrupted_run_leaves_nothing_behind(when, tmp_path, phantom_root):
    never = {"waits_for": str(tmp_path / "never")}
    suite = write_suite(tmp_path, first=never, second=never)
    words = ["run", "--suite", suite, "--data-root", str(phantom_root),
             "--runs", str(tmp_path / "runs"), "--launcher", "local", "--jobs", "3"]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "benchmark", *words], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip

    def ready() -> bool:
        if when == "while libraries load":
            return bool(forks(process.pid))
        return all(told(tmp_path / "runs", name) for name in ("first", "second"))

    until = time.monotonic() + 200
    while not ready():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.05)
    (nursery,) = forks(process.pid)
    family = [nursery, *forks(nursery)]
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command goes on from here" in said and "themselves" not in said
    until = time.monotonic() + 10  # the kernel takes a moment to bury them
    while any(Path(f"/proc/{pid}").exists() for pid in family) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]
    assert not list((tmp_path / "runs").rglob("owner.json"))


def test_an_interruption_as_the_nursery_starts_ends_it(monkeypatch):
    """Its process is there, and nothing that could end it knows of it yet."""
    started = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), warm_starts_for(5, Slots([Slot((), 1)] * 2)):
        raise AssertionError("the interruption is lost")
    assert [process.poll() for process in started] == [-signal.SIGKILL]
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(
    ("count", "slots", "cold"),
    [
        (1, Slots([Slot((), 1)] * 2), ""),
        (5, Slots([Slot((), 1, devices=2)]), ""),
        (5, slots_for([], jobs=1), "1"),
    ],
    ids=["one cell", "several processes a cell", "told so"],
)
def test_where_forking_does_not_serve_cells_start_cold(count, slots, cold, monkeypatch):
    monkeypatch.setenv(COLD, cold)
    with warm_starts_for(count, slots) as found:
        assert found is None


def test_nothing_is_forked_where_a_library_started_the_driver_of_gpus(tmp_path):
    before = why_not_alone()
    with (tmp_path / "nvidia-uvm").open("w"):
        assert why_not_alone() == "CUDA was started in the process that cells are forked from"
    assert why_not_alone() == before

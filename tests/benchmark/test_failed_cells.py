"""A cell's failure is its own: the others finish, and people are told which failed and why."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from processes import children_of

from benchmark.__main__ import main
from benchmark.cell.fit import fit
from lightning_modules.segmenter import Segmenter

NETWORK = """
import os, resource, time
import torch
from torch import nn


class Frail(nn.Conv2d):
    def __init__(self, classes: int, fault: str) -> None:
        super().__init__(1, classes, 3, padding=1)
        self.fault, self.batches = fault, 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.batches += 1
        if self.batches == 3:
            getattr(self, self.fault)()
        return super().forward(image)

    def raises(self) -> None:
        raise ValueError("planted fault")

    def greedy(self) -> None:
        used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
        torch.zeros(2**28)

    def hangs(self) -> None:
        time.sleep(100_000)
"""
FAULTS = ("raises", "greedy", "hangs")


def write_systems(folder: Path, faults=FAULTS) -> list[str]:
    """Write the networks and a YAML file for each, and return these."""
    (folder / "frail.py").write_text(NETWORK)
    files = []
    for fault in faults:
        arguments = {"classes": "$classes", "fault": fault}
        network = {"class_path": "frail.Frail", "init_args": arguments}
        settings = {"extends": "unet", "model": {"init_args": {"generator": network}}}
        files.append(folder / f"{fault}.yaml")
        files[-1].write_text(yaml.safe_dump(settings))
    return [str(file) for file in files]


def command(folder: Path, root: Path, systems: list[str], *names: str) -> list[str]:
    """Write a suite and return the arguments that run it."""
    suite = folder / "frail_suite.yaml"
    overrides = {"preprocessing.size": 32, "trainer.max_epochs": 1, "batch_size": 2}
    suite.write_text(
        yaml.safe_dump({"systems": list(names), "protocols": ["m_to_s"], "overrides": overrides})
    )
    arguments = ["--suite", str(suite), "--runs", str(folder / "runs"), "--data-root", str(root)]
    return [*arguments, "--with", *systems]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_one_raises_one_needs_too_much_memory_one_hangs(tmp_path, phantom_root, capsys):
    systems = write_systems(tmp_path)
    arguments = command(tmp_path, phantom_root, systems, "mean_shape")
    run = ["run", *arguments, "--launcher", "local"]
    assert main([*run, "--silence", "40s"]) == 1
    told = capsys.readouterr().out
    assert "1 done, 3 failed" in told and "leaderboard.html" in told
    assert main(["status", *arguments, "--json"]) == 0
    cells = {cell["system"]: cell for cell in json.loads(capsys.readouterr().out)}
    assert cells["mean_shape"]["state"] == "done"
    expected = {
        "raises": "ValueError: planted fault",
        "greedy": "out of memory (it asked for 1073741824 bytes more); use less of it: a smaller",
        "hangs": "no sign of life for 0:00:4",
    }
    for system, reason in expected.items():
        assert cells[system]["state"] == "failed"
        assert cells[system]["reason"].startswith(reason)
        assert f"{system} m_to_s seed-0: failed" in told and cells[system]["reason"] in told
        log = Path(cells[system]["log"]).read_text()
        assert f"lungbench: {reason}" in log
    assert "--set batch_size=" in cells["greedy"]["reason"]
    suite = tmp_path / "runs" / "frail_suite"
    for page in ("leaderboard.md", "leaderboard.html"):
        text = (suite / "leaderboard" / page).read_text()
        assert all(system in text for system in expected), page
        assert "planted fault" in text and "no sign of life" in text, page
    untouched = list((suite / "cells" / "mean_shape").rglob("*"))
    before = {path: path.stat().st_mtime_ns for path in untouched}

    mended = NETWORK.replace("self.batches == 3", "False")
    (tmp_path / "frail.py").write_text(mended)
    assert main(run) == 0
    told = capsys.readouterr().out
    assert "4 cells, 3 to run" in told and "4 done" in told and "mean_shape" not in told
    assert {path: path.stat().st_mtime_ns for path in untouched} == before
    assert not list(suite.glob("cells/*/*/*/owner"))


def test_an_error_while_scoring_is_the_cells_own_and_names_the_case(
    tiny_cell, tmp_path, monkeypatch
):
    """Scoring has threads of its own; their errors are told like any other."""
    score = Segmenter.score

    def strict(module, case):
        if case.identity["case_id"].endswith("7_0"):
            raise ValueError("planted fault")
        return score(module, case)

    monkeypatch.setattr(Segmenter, "score", strict)
    with pytest.raises(ValueError, match="planted fault"):
        fit(tiny_cell(), tmp_path / "cell", ["--trainer.max_epochs=3"])
    said = json.loads((tmp_path / "cell" / "cell.json").read_text())
    assert said["state"] == "failed"
    assert re.fullmatch(r"ValueError: planted fault \(shenzhen, case \w+7_0\)", said["reason"])


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_sigterm_ends_a_run_in_good_order_and_a_killed_cell_fails(tmp_path, phantom_root, capsys):
    systems = write_systems(tmp_path, ["hangs"])
    arguments = command(tmp_path, phantom_root, systems, "mean_shape")
    arguments += ["--systems", "hangs"]
    record = tmp_path / "runs/frail_suite/cells/hangs/m_to_s/seed-0/cell.json"

    def start(awaited: Callable[[int], object]) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmark", "run", *arguments, "--launcher", "local"],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        deadline = time.monotonic() + 600
        while not awaited(process.pid):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        return process

    def cells(launcher: int) -> list[int]:
        return children_of(launcher, b"fit")

    process = start(lambda _: record.with_name("progress.json").exists())
    (cell,) = cells(process.pid)
    process.terminate()
    assert process.wait(120) == 130
    assert "interrupted; the same command goes on from here" in process.stdout.read()
    assert not Path(f"/proc/{cell}").exists() and not (record.parent / "owner").exists()
    said = json.loads(record.read_text())
    assert said["state"] in ("pending", "running")  # ended by itself, or after the time of grace
    assert main(["status", *arguments, "--json"]) == 0
    (status,) = json.loads(capsys.readouterr().out)
    assert (status["state"], status["reason"]) == ("pending", "interrupted; will resume")

    process = start(cells)
    os.kill(cells(process.pid)[0], signal.SIGKILL)
    assert process.wait(120) == 1
    said = json.loads(record.read_text())
    assert said["state"] == "failed" and said["reason"].startswith("killed (SIGKILL), most likely")
    assert said["reason"] in process.stdout.read()

"""Where the system has neither CPU affinity nor ``resource`` nor process groups, as elsewhere."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from benchmark.__main__ import main
from benchmark.launchers import local
from contract import machine

ABSENT = ("sched_getaffinity", "sched_setaffinity", "nice", "killpg", "uname")
IN_CHILDREN = f"""
import os, sys
for name in {ABSENT[:4]!r}:  # torch asks for uname by itself, wherever it finds a Linux
    delattr(os, name)
sys.modules["resource"] = None  # importing it fails
"""


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """Take away, here and in child processes, what only some systems have."""
    for name in ABSENT:
        monkeypatch.delattr(os, name)
    monkeypatch.delattr(signal, "SIGHUP")
    monkeypatch.setattr(machine, "resource", None)
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(IN_CHILDREN)
    monkeypatch.setenv("PYTHONPATH", str(site))


@pytest.mark.slow
def test_a_suite_runs(bare, write_suite, phantom_root, tmp_path, capsys):
    overrides = {"preprocessing.size": 32}
    suite = write_suite(systems=["mean_shape"], overrides=overrides)
    runs = tmp_path / "runs"
    words = ["--suite", str(suite), "--runs", str(runs), "--data-root", str(phantom_root)]
    assert main(["run", *words, "--launcher", "local"]) == 0, capsys.readouterr().out
    (record,) = runs.glob("tiny/cells/*/*/*/cell.json")
    said = json.loads(record.read_text())
    assert said["state"] == "done" and said["peak_memory_mib"] is None
    assert (runs / "tiny" / "leaderboard" / "leaderboard.html").exists()


def test_checks_audits_and_predictions_run(bare, trained_runs, phantom_root, tmp_path):
    root = ["--data-root", str(phantom_root)]
    assert main(["data", "check", *root]) == 0
    assert main(["data", "audit", *root, "--out", str(tmp_path / "audit")]) == 0
    films = next(phantom_root.glob("MontgomerySet/CXR_png"))
    words = ["--system", "unet", "--runs", str(trained_runs), "--images", str(films)]
    assert main(["predict", *words, "--out", str(tmp_path / "masks")]) == 0
    assert list((tmp_path / "masks").rglob("*.png"))


def test_a_cell_s_process_is_ended(bare):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"], env={})
    began = time.monotonic()
    local._end(process, grace_s=50)
    assert process.returncode is not None and time.monotonic() - began < 40

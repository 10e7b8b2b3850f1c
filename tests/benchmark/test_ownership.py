"""Two processes never work on one cell; the dead do not keep theirs."""

import json
import os
import resource
import subprocess
import sys
import time

import pytest

from benchmark.cell import ownership
from benchmark.cell.fit import fit
from benchmark.cell.ownership import BusyError, Owner, is_owned

WINNERS = """
import sys, time
from pathlib import Path
from benchmark.cell.ownership import BusyError, Owner
while time.time() < float(sys.argv[2]):
    pass
try:
    with Owner(Path(sys.argv[1])):
        print("won")
        time.sleep(3)
except BusyError:
    print("left")
"""


def test_of_processes_that_start_together_one_wins(tmp_path):
    start = str(time.time() + 2)
    command = [sys.executable, "-c", WINNERS, str(tmp_path / "cell"), start]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = sorted(racer.communicate()[0].strip() for racer in racers)
    assert said == ["left"] * 3 + ["won"]
    assert not list((tmp_path / "cell").iterdir())


def test_a_killed_owner_is_replaced(tmp_path):
    code = "import os; from pathlib import Path; from benchmark.cell.ownership import Owner\n"
    code += f"Owner(Path({str(tmp_path)!r})).__enter__(); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert (tmp_path / "owner").is_dir() and not is_owned(tmp_path)
    with Owner(tmp_path):
        assert is_owned(tmp_path)
    assert not (tmp_path / "owner").exists()


def test_who_judged_early_and_acts_late_does_not_bury_the_next_owner(tmp_path):
    said = {"host": os.uname().nodename, "pid": 1 << 30, "born": "1", "job": None, "token": "t"}
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "owner.json").write_text(json.dumps(said))
    judged = ownership._dead(tmp_path)
    assert judged == "t"
    with Owner(tmp_path) as living:
        ownership._bury(tmp_path, judged)
        assert living.holds() and is_owned(tmp_path)
        ownership.clear_leftovers(tmp_path)
        ownership._bury(tmp_path, judged)
        with pytest.raises(BusyError), Owner(tmp_path):
            pass
    assert not list(tmp_path.iterdir())


def test_who_cannot_sign_leaves_no_owner_behind(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # as on a full disk
    try:
        with pytest.raises(OSError, match="too large"), Owner(tmp_path):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_an_owner_on_another_host_lives_as_long_as_it_is_heard_of(tmp_path):
    (tmp_path / "owner").mkdir()
    signed = tmp_path / "owner" / "owner.json"
    signed.write_text(json.dumps({"host": "elsewhere", "pid": 1, "born": "1", "job": "7"}))
    assert is_owned(tmp_path)
    with pytest.raises(BusyError, match="process 1 on elsewhere, job 7"), Owner(tmp_path):
        pass
    long_ago = time.time() - ownership.DEAD_AFTER_S - 1
    os.utime(signed, (long_ago, long_ago))
    assert not is_owned(tmp_path)


def test_a_cell_that_another_process_runs_is_not_touched(tiny_cell, tmp_path):
    out = tmp_path / "cell"
    with Owner(out), pytest.raises(BusyError, match="works on"):
        fit(tiny_cell(), out)
    assert not (out / "cell.json").exists()


def test_a_requeued_job_takes_over_from_itself_on_another_node(tmp_path, monkeypatch):
    said = {"host": "elsewhere", "pid": 1, "born": "1", "job": "7_3", "starts": 0, "token": ""}
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "owner.json").write_text(json.dumps(said))
    monkeypatch.setenv("SLURM_JOB_ID", "9")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert is_owned(tmp_path)  # two processes of one start of the job
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with Owner(tmp_path):
        assert json.loads((tmp_path / "owner" / "owner.json").read_text())["starts"] == 1


CHILD = """
import json, os, sys
from pathlib import Path
from benchmark.cell.ownership import Owner
with Owner(Path(sys.argv[1])):
    signed = json.loads((Path(sys.argv[1]) / "owner" / "owner.json").read_text())
    print(signed["pid"] == os.getpid())
    sys.stdout.flush()
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(("end", "code"), [("well", 0), ("killed", -9)])
def test_a_launcher_hands_the_folder_to_its_process(tmp_path, end, code):
    with Owner(tmp_path) as owner:
        assert owner.holds()
        ended = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path), end], capture_output=True, text=True,
            env=os.environ | owner.hand_over(), check=False,
        )  # fmt: skip
        assert (ended.stdout.strip(), ended.returncode) == ("True", code), ended.stderr
        assert owner.holds() == (end == "killed") and not is_owned(tmp_path)
    assert not (tmp_path / "owner").exists()


def test_a_folder_that_was_lost_meanwhile_is_not_taken_over(tmp_path):
    with Owner(tmp_path) as other:
        ended = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path), "well"], capture_output=True, text=True,
            env=os.environ | {ownership.HANDED_OVER: "of a dead launcher"}, check=False,
        )  # fmt: skip
        assert ended.returncode == 1 and "BusyError" in ended.stderr
        assert other.holds()

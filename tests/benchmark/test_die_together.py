"""The processes of one cell end together, whichever dies; the first fault is the cell's."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from benchmark.cell import peers as peers_module
from benchmark.cell.peers import FAULT, LEADER, Peers, first_fault
from benchmark.failures import PeerError, explain, is_of_machine

HELPERS = Path(__file__).parents[1] / "helpers"
FOLLOWER = """
import sys, time
from benchmark.cell.peers import follow_leader
follow_leader()
print("follows", flush=True)
time.sleep(60)
"""
LEADER_PROCESS = f"""
import os, subprocess, sys, time
os.environ |= {{"{LEADER}": str(os.getpid()), "LOCAL_RANK": "1"}}
child = subprocess.Popen([sys.executable, "-c", {FOLLOWER!r}])
time.sleep(60)
"""
FIRST = """
import subprocess, sys, time
from pathlib import Path
from benchmark.cell import peers
peers.PARTING_S = 0.5
first = peers.Peers(Path(sys.argv[1]), 0)
first.when_lost(lambda error: Path(sys.argv[1], "recorded").write_text(peers.explain(error)))
peers.os.environ["WORLD_SIZE"] = "3"
first.watch([subprocess.Popen([sys.executable, "-c", code]) for code in sys.argv[2:]])
time.sleep(60)
"""
SLEEPS, ENDS = "import time; time.sleep(60)", "pass"
KILLED = "import os; os.kill(os.getpid(), 9)"


def is_alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def wait_for(condition, seconds=20.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def children(pid):
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def ranks(pid):
    """The further processes of a cell; helpers of libraries come and go beside them."""

    def is_one(child):
        try:
            return b"LOCAL_RANK=1" in Path(f"/proc/{child}/environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False

    return [child for child in children(pid) if is_one(child)]


def test_a_process_ends_soon_after_the_first_one_was_killed(tmp_path):
    log = tmp_path / "log"
    with log.open("w") as file:
        first = subprocess.Popen([sys.executable, "-c", LEADER_PROCESS], stdout=file, stderr=file)
        wait_for(lambda: "follows" in log.read_text())
        (follower,) = children(first.pid)
        first.kill()
        first.wait()
        wait_for(lambda: not is_alive(follower), 5)
    assert "process 1 ends, since the first process is gone" in log.read_text()


def test_a_process_whose_first_one_died_while_it_started_ends_at_once():
    environment = os.environ | {LEADER: str(1 << 30), "LOCAL_RANK": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", FOLLOWER], env=environment, capture_output=True, text=True,
        timeout=20, check=False,
    )  # fmt: skip
    assert ended.returncode == 1 and "the first process is gone" in ended.stderr


@pytest.mark.parametrize("given", [{"LOCAL_RANK": "0", LEADER: "1"}, {"LOCAL_RANK": "1"}, {}])
def test_the_first_process_and_those_of_others_follow_nobody(given):
    environment = {k: v for k, v in os.environ.items() if k not in (LEADER, "LOCAL_RANK")}
    code = FOLLOWER.replace("sleep(60)", "sleep(1)")
    subprocess.run([sys.executable, "-c", code], env=environment | given, timeout=20, check=True)


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ([SLEEPS, KILLED], "process 2 of 3 was killed (SIGKILL), most likely out of memory"),
        ([KILLED, ENDS], "process 1 of 3 was killed (SIGKILL), most likely out of memory"),
        (["raise SystemExit(3)", SLEEPS], "process 1 of 3 ended with exit code 3 before it could"),
    ],
)
def test_the_first_process_ends_after_another_one_and_says_why(tmp_path, codes, told):
    ended = subprocess.run(
        [sys.executable, "-c", FIRST, str(tmp_path), *codes],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert ended.returncode == 1 and f"lungbench: {told}" in ended.stderr
    assert (tmp_path / "recorded").read_text().startswith(told)


def test_processes_that_end_well_end_nobody(tmp_path):
    code = FIRST.replace("time.sleep(60)", "time.sleep(2)")
    subprocess.run([sys.executable, "-c", code, str(tmp_path), ENDS, ENDS], timeout=20, check=True)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def of_three(tmp_path, monkeypatch):
    """Return a function that makes a process of a cell of three."""
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv(LEADER, "")
    monkeypatch.setattr(peers_module, "NOTICE_S", 0.2)
    return lambda rank: Peers(tmp_path, rank)


def test_the_fault_that_came_first_is_the_cells(of_three, tmp_path):
    planted, echo = ValueError("planted"), RuntimeError("Connection closed by peer")
    assert of_three(2).first_error(planted) is planted
    assert of_three(1).first_error(echo) is echo
    error = of_three(0).first_error(echo)
    assert isinstance(error, PeerError) and is_of_machine(error)
    assert explain(error) == "process 2 of 3: ValueError: planted" == first_fault(tmp_path)


def test_the_first_processs_own_fault_stays_its_own(of_three, tmp_path):
    planted = ValueError("planted")
    assert of_three(0).first_error(planted) is planted
    of_three(1).first_error(RuntimeError("Connection closed by peer"))
    assert first_fault(tmp_path) == "ValueError: planted"


def test_a_kill_from_outside_comes_before_its_echoes(of_three, tmp_path):
    first, echo = of_three(0), RuntimeError("Connection closed by peer")
    of_three(2).first_error(echo)
    # Known, but not watched: that would end this process in ten seconds.
    first._children = [subprocess.Popen([sys.executable, "-c", code]) for code in (KILLED, ENDS)]
    for child in first._children:
        child.wait()
    error = first.first_error(echo)
    assert explain(error).startswith("process 1 of 3 was killed (SIGKILL)")


def test_a_process_that_left_word_and_was_killed_after_it_is_no_kill_from_outside(of_three):
    first = of_three(0)
    of_three(2).first_error(ValueError("planted"))
    first._children = [subprocess.Popen([sys.executable, "-c", code]) for code in (ENDS, KILLED)]
    for child in first._children:
        child.wait()
    error = first.first_error(RuntimeError("NCCL communicator was aborted"))
    assert explain(error) == "process 2 of 3: ValueError: planted"


SAYS_AND_HANGS = """
import os, sys, time
from pathlib import Path
from benchmark.cell.peers import Peers
os.environ["WORLD_SIZE"] = "3"
Peers(Path(sys.argv[1]), 1).first_error(ValueError("planted"))
time.sleep(60)
"""


def test_a_process_that_hangs_after_its_error_ends_the_others_in_its_words(tmp_path):
    hangs = SAYS_AND_HANGS.replace("sys.argv[1]", repr(str(tmp_path)))
    ended = subprocess.run(
        [sys.executable, "-c", FIRST, str(tmp_path), hangs, SLEEPS],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert (tmp_path / "recorded").read_text() == "process 1 of 3: ValueError: planted"


def test_interruptions_leave_no_word(of_three, tmp_path):
    for error in (KeyboardInterrupt(), SystemExit(1)):
        assert of_three(0).first_error(error) is error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"reason": 7}', b"\xff", b"[" * 60_000])
def test_words_of_any_content_are_none(tmp_path, content):
    (tmp_path / f"{FAULT}1").write_bytes(content)
    assert first_fault(tmp_path) == ""


@pytest.fixture
def fit_on_two(tiny_cell, tmp_path):
    """Return a function that starts a long cell on two processes by hand; ends what is left."""
    started = []

    def start(callback=None):
        config = tiny_cell()
        settings = yaml.safe_load(config.read_text())
        settings["trainer"] |= {"max_epochs": 500, "callbacks": [callback] if callback else []}
        config.write_text(yaml.safe_dump(settings))
        environment = {"PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1"}
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                [
                    sys.executable, "-m", "benchmark", "fit", "--config", str(config),
                    "--out", str(tmp_path / "cell"), "--trainer.devices=2",
                ],
                env=os.environ | environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        process.wait()


def reason(tmp_path):
    record = json.loads((tmp_path / "cell" / "cell.json").read_text())
    return record["state"], record["reason"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_error_in_the_second_process_alone_is_the_cells_reason(fit_on_two, tmp_path):
    fault = {"class_path": "killing.RaiseOn", "init_args": {"rank": 1, "epoch": 2}}
    process = fit_on_two(fault)
    assert process.wait(300) == 1
    told = (tmp_path / "log").read_text()
    assert reason(tmp_path) == ("failed", "process 1 of 2: ValueError: planted fault"), told
    assert told.splitlines()[-1] == "lungbench: process 1 of 2: ValueError: planted fault"
    assert "out of memory" not in told and not (tmp_path / "cell" / "owner").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("moment", "rank"), [("training", 0), ("training", 1), ("starting", 1)]
)  # the fourth is above, without libraries to load
def test_a_killed_process_ends_the_other_within_half_a_minute(fit_on_two, tmp_path, rank, moment):
    first = fit_on_two()
    (second, *_) = wait_for(lambda: ranks(first.pid), 200)
    if moment == "training":
        wait_for((tmp_path / "cell" / "progress.json").exists, 200)
    os.kill((first.pid, second)[rank], signal.SIGKILL)
    killed = time.monotonic()
    if rank == 0:
        first.wait()
        wait_for(lambda: not is_alive(second), 30)
        assert first.returncode == -signal.SIGKILL
        return
    assert first.wait(30) == 1
    assert time.monotonic() - killed < 30
    state, why = reason(tmp_path)
    assert state == "failed" and why.startswith("process 1 of 2 was killed (SIGKILL)"), why
    assert (tmp_path / "log").read_text().splitlines()[-1] == f"lungbench: {why}"
    assert not (tmp_path / "cell" / "owner").exists()

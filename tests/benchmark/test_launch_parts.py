"""The local launcher's parts: GPUs shared out, limits, signs of life, the forecast."""

import argparse
import errno
import gc
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from benchmark.cell.cell import Cell
from benchmark.cell.fit import gpu_hours
from benchmark.failures import explain, explain_exit
from benchmark.gpus import CELLS_PER_GPU
from benchmark.launchers.display import Board
from benchmark.launchers.forecast import Forecast, Gauge, longest_first
from benchmark.launchers.slots import share_out
from benchmark.launchers.watch import START_S, Limits, Pulse, seconds
from contract.errors import UserError


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def cell(folder, system="unet", epochs=10, cases=100):
    config = {
        "trainer": {"max_epochs": epochs},
        "data": {"init_args": {"preprocessing": {"size": 100}}},
    }
    return Cell("s", system, "p", 0, Path(folder), "a", "b", lambda: config, "h", (cases, 1, 1))


def test_each_cell_has_gpus_of_its_own():
    slots = share_out(["0", "1", "2", "3"], cores=16)
    taken = [slots.take() for _ in range(4)]
    assert sorted(slot.gpus for slot in taken) == [("0",), ("1",), ("2",), ("3",)]
    assert {slot.environment()["CUDA_VISIBLE_DEVICES"] for slot in taken} == set("0123")
    assert {slot.threads for slot in taken} == {4}
    with pytest.raises(IndexError):
        slots.take()


def test_cells_that_share_gpus_are_spread_over_them():
    slots = share_out(["a", "b"], cores=12, cells_per_gpu=3)
    assert len(slots.all) == 6
    first = [slots.take() for _ in range(4)]
    assert Counter(slot.gpus for slot in first) == {("a",): 2, ("b",): 2}
    assert {slot.environment()[CELLS_PER_GPU] for slot in first} == {"3"}
    for slot in first:
        if slot.gpus == ("b",):
            slots.give_back(slot)
    assert [slots.take().gpus for _ in range(2)] == [("b",), ("b",)]  # b was idle, a was not


def test_the_hours_of_a_shared_gpu_are_divided(monkeypatch):
    for slot in share_out(list("ab"), cores=8, jobs=3).all:  # two cells on the first, one alone
        monkeypatch.setenv(CELLS_PER_GPU, slot.environment()[CELLS_PER_GPU])
        assert gpu_hours(7200, 1, "a card") == {("a",): 1.0, ("b",): 2.0}[slot.gpus]
    assert share_out([], cores=2).all[0].environment().keys() == {
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "LUNGBENCH_CORES",
    }
    monkeypatch.delenv(CELLS_PER_GPU)
    assert (gpu_hours(3600, 2, "a card"), gpu_hours(3600, 2, "cpu")) == (2.0, 0.0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"devices": 2}, [("a", "b"), ("c", "d")]),
        ({"devices": 3}, [("a", "b", "c")]),
        ({"devices": 2, "cells_per_gpu": 2}, [("a", "b"), ("a", "b"), ("c", "d"), ("c", "d")]),
        ({"jobs": 2}, [("a",), ("b",)]),
        ({"jobs": 6}, [("a",), ("a",), ("b",), ("b",), ("c",), ("d",)]),
    ],
)
def test_devices_and_jobs(options, expected):
    slots = share_out(list("abcd"), cores=8, **options)
    assert sorted(slot.gpus for slot in slots.all) == expected
    assert {slot.devices for slot in slots.all} == {options.get("devices", 1)}


def test_cpu_cores_are_shared_out_where_there_is_no_gpu():
    for cores, jobs, devices, count, threads in (
        (2, None, 1, 2, 1), (16, None, 1, 4, 4), (16, 2, 1, 2, 8), (8, None, 2, 2, 2),
        (1, None, 1, 1, 1),
    ):  # fmt: skip
        slots = share_out([], cores, devices, jobs=jobs)
        assert (len(slots.all), slots.all[0].threads) == (count, threads)
        assert "CUDA_VISIBLE_DEVICES" not in slots.all[0].environment()


@pytest.mark.parametrize(
    ("gpus", "options", "told"),
    [
        (["a"], {"devices": 2}, "found 1 GPUs; expected at least 2"),
        ([], {"cells_per_gpu": 2}, "no GPU"),
        (["a"], {"jobs": 0}, "less than one"),
        (["MIG-a", "MIG-b"], {"devices": 2}, "divided into parts.*expected --devices 1"),
    ],
)
def test_what_the_machine_cannot_give_is_refused(gpus, options, told):
    with pytest.raises(UserError, match=told):
        share_out(gpus, 4, **options)


def test_durations_are_read():
    assert [seconds(text) for text in ("90s", "30m", "1.5h", "2d", "none")] == [
        90, 1800, 5400, 172800, None,
    ]  # fmt: skip
    for wrong in ("", "5", "h", "-1h", "0s", "infh", "nans"):
        with pytest.raises(argparse.ArgumentTypeError, match="no duration like"):
            seconds(wrong)


def test_silence_counts_from_the_last_sign_and_is_long_before_the_first(tmp_path):
    clock = Clock()
    (tmp_path / "progress.json").write_text("of an earlier start")
    pulse = Pulse(tmp_path, Limits(silence_s=60), clock)
    clock.now = START_S
    assert not pulse.overdue()
    (tmp_path / "progress.json").write_text("begun")
    clock.now += 59
    assert not pulse.overdue()
    clock.now += 59
    (tmp_path / "log.txt").write_text("a line")
    assert not pulse.overdue()
    clock.now += 61
    assert pulse.overdue() == "no sign of life for 0:01:01"


def test_a_cell_that_never_begins_is_given_up_too(tmp_path):
    clock = Clock()
    pulse = Pulse(tmp_path, Limits(silence_s=60), clock)
    clock.now = START_S + 1
    assert pulse.overdue() == "no sign of life for 0:10:01"
    forever = Pulse(tmp_path, Limits(silence_s=None), clock)
    clock.now *= 1000
    assert not forever.overdue()


def test_the_time_limit_holds_for_a_busy_cell(tmp_path):
    clock = Clock()
    pulse = Pulse(tmp_path, Limits(cell_s=7200, silence_s=60), clock)
    for clock.now in range(0, 7201, 50):
        (tmp_path / "progress.json").write_text(str(clock.now))
        assert not pulse.overdue()
    clock.now = 7201
    assert pulse.overdue() == "time limit of 2:00:00 reached"


def told(folder, done, total, what="training"):
    folder.mkdir(exist_ok=True)
    said = {"done": done, "total": total, "what": what}
    (folder / "progress.json").write_text(json.dumps(said))


def test_a_resumed_cells_time_left_counts_from_where_it_resumed(tmp_path):
    clock, one = Clock(), cell(tmp_path)
    told(tmp_path, 6, 10)
    gauge = Gauge(one, clock)
    gauge.read()
    assert gauge.what == "starting" and gauge.left_s is None
    told(tmp_path, 6.5, 10)
    gauge.read()
    clock.now = 30
    told(tmp_path, 7, 10)
    gauge.read()
    assert gauge.left_s == pytest.approx(180)  # half an epoch in 30 s, three epochs left
    told(tmp_path, 1, 4, "testing")
    gauge.read()
    assert gauge.what == "testing" and gauge.left_s is None


def test_the_forecast_packs_what_waits_into_the_slots(tmp_path):
    clock = Clock()
    waiting = [cell(tmp_path, epochs=epochs) for epochs in (10, 30, 20)]
    assert [one.config["trainer"]["max_epochs"] for one in longest_first(waiting)] == [30, 20, 10]
    forecast = Forecast(slots=2)
    assert forecast.left_s({}, waiting) is None
    forecast.learn(cell(tmp_path, "other"), 1000)
    assert forecast.left_s({}, longest_first(waiting)) == pytest.approx(3000)  # by another's pace
    forecast.learn(cell(tmp_path), 100)  # 10 s an epoch
    assert forecast.left_s({}, longest_first(waiting)) == pytest.approx(300)
    running = cell(tmp_path / "running")
    told(tmp_path / "running", 0, 10)
    gauge = Gauge(running, clock)
    told(tmp_path / "running", 1, 10)
    gauge.read()
    clock.now = 25
    told(tmp_path / "running", 6, 10)
    gauge.read()  # 20 s left
    assert forecast.left_s({running: gauge}, waiting[:1]) == pytest.approx(100)
    assert forecast.left_s({running: gauge}, longest_first(waiting)) == pytest.approx(320)
    assert forecast.left_s({}, []) == 0
    starting = cell(tmp_path / "starting")
    gauge = Gauge(starting, clock)
    clock.now += 60
    assert forecast.left_s({starting: gauge}, []) == pytest.approx(40)
    clock.now += 60
    assert forecast.left_s({starting: gauge}, []) == 0


def test_the_line_says_what_runs_and_when_all_is_through(tmp_path):
    one, two = cell(tmp_path / "one"), cell(tmp_path / "two", epochs=20)
    board = Board([one, two], slots=1, earlier=[(cell(tmp_path), 100.0)])
    assert board.left() == "about 0:05:00 left"
    board.begin(one)
    assert board.line() == (
        "running: unet p seed-0 (starting) | 1 waiting | suite: about 0:05:00 left"
    )
    board.end(one, 200.0, done=True)
    assert board.left() == "about 0:05:00 left"  # 150 s for 10 epochs by now, 20 epochs to go
    board.begin(two)
    board.end(two, 1.0, done=False)
    assert board.left() == ""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:126] err == 0. DefaultCPUAllocator: "
                      "can't allocate memory: you tried to allocate 8 bytes"), "--set batch_size"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/runs/x"), r"disk is full \(/runs/x\)"),
        (OSError(errno.EROFS, "Read-only file system"), "read-only"),
        (ValueError("line one\nline two"), "^ValueError: line one$"),
        (KeyError(), "^KeyError$"),
        (torch.OutOfMemoryError("Tried to allocate 2.00 GiB."), "asked for 2.00 GiB more"),
        (OSError(errno.ENOMEM, "spoken otherwise"), "out of memory"),
        (torch.distributed.DistBackendError("NCCL error: remote process exited"), "^DistBackend"),
        (RuntimeError("our words: out of memory"), "^RuntimeError: our words: out of memory$"),
        (UserError("file", "this", "that"), "^file: found this; expected that$"),
    ],
)  # fmt: skip
def test_reasons_are_one_line_with_advice(error, said):
    assert re.search(said, explain(error)) and "\n" not in explain(error)


def test_the_cause_behind_an_error_is_what_counts():
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as full:
            raise RuntimeError("PytorchStreamWriter failed writing file") from full
    except RuntimeError as error:
        assert explain(error).startswith("the disk is full; free some space")


class Killed(torch.utils.data.Dataset):
    """Its reader dies as by the system's out-of-memory killer."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_data_loader_s_killed_process_is_out_of_memory():
    with pytest.raises(RuntimeError) as ended:
        list(torch.utils.data.DataLoader(Killed(), num_workers=1))
    assert explain(ended.value).startswith("out of memory; use less of it")
    del ended
    gc.collect()  # the dead process is not to explain what other tests raise


TIGHT = """
import resource, torch
from pathlib import Path
from benchmark.failures import explain
torch.set_num_threads(1)
convolution, films = torch.nn.Conv2d(8, 64, 3), torch.randn(1, 8, 64, 64)
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (held + 200_000, hard))
try:
    convolution(films)
except RuntimeError as error:
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    print(error, explain(error), sep="\\n")
"""


def test_a_convolution_that_finds_no_memory_is_out_of_memory():
    ended = subprocess.run(
        [sys.executable, "-c", TIGHT], capture_output=True, text=True, check=True
    )
    raised, said = ended.stdout.splitlines()
    assert raised == "could not create a primitive"
    assert said.startswith("out of memory; use less of it")


def test_a_convolution_that_onednn_cannot_compute_is_another_fault():
    text = "could not create a primitive descriptor for a convolution forward propagation primitive"
    assert explain(RuntimeError(text)) == f"RuntimeError: {text}"


def test_ends_without_a_word_are_explained():
    assert "out of memory" in explain_exit(-9) and "SIGKILL" in explain_exit(-9)
    assert explain_exit(-11).startswith("killed (SIGSEGV)")
    assert explain_exit(3).startswith("exit code 3")

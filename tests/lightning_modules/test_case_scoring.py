"""Cases are scored beside the network: nobody waits but on purpose, and no row is another one."""

import os
import random
import signal
import threading
import time

import pytest
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning import Callback, Trainer
from seen_cases import Seen, body, films_of, rows_of_test, run_test, slices_of

from benchmark.failures import explain
from benchmark.launchers.slots import Slot
from contract.errors import UserError
from contract.machine import CORES, own_cores
from lightning_modules.metrics.scoring import score_case
from lightning_modules.scoring_threads import MOST_THREADS, ScoringThreads

A_CASE = 0.2
"""Seconds that the slow scorer takes."""


class Timed(Callback):
    """Measures a test's epoch from its first hook to the one after its last row."""

    def on_test_epoch_start(self, trainer, module):
        self.began = time.monotonic()

    def on_test_end(self, trainer, module):
        self.took = time.monotonic() - self.began


class Slow(Seen):
    """Takes long for each case, and perhaps for each batch; counts and clocks what it does."""

    def __init__(self, a_batch=0.0):
        super().__init__()
        self.a_batch, self.in_network, self.in_steps = a_batch, 0.0, 0.0
        self.predicted, self.scored, self.most = 0, 0, 0
        self.threads = set()

    def forward(self, image):
        began = time.monotonic()
        time.sleep(self.a_batch / 2)  # it sees the mirrored batch as well
        self.in_network += time.monotonic() - began
        return image

    def test_step(self, batch, batch_idx):
        began = time.monotonic()
        self.predicted += len(batch["image"])
        self.most = max(self.most, self.predicted - self.scored)
        rows = super().test_step(batch, batch_idx)
        self.in_steps += time.monotonic() - began
        return rows

    def score(self, case):
        time.sleep(A_CASE)
        self.threads.add(threading.current_thread().name)
        self.scored += 1
        return [{"structure": "lungs", "dice": 1.0}]


class Failing(Slow):
    def score(self, case):
        if case.identity["case_id"] == "film-5":
            raise ValueError("planted fault")
        return super().score(case)


class Jittery(Seen):
    """Ends cases in another order than they began in."""

    def score(self, case):
        time.sleep(random.random() / 50)
        return super().score(case)


@pytest.fixture
def eight(monkeypatch):
    """As on a machine of eight cores: threads that sleep need none."""
    monkeypatch.setenv(CORES, "8")


def threads_left():
    return [thread for thread in threading.enumerate() if thread.name.startswith("scoring")]


def test_a_test_takes_as_long_as_slow_scoring_alone(eight):
    """At most 1.1 times; the network, which takes no time, waits for room and nothing else.

    The best of three: what else this machine does makes a test longer, and never shorter.
    """
    for _ in range(3):
        module, clock = Slow(), Timed()
        kept = run_test(films_of(120), 4, module, clock)
        assert [row["case_id"] for row in kept.rows] == [f"film-{n}" for n in range(120)]
        # Scored, waiting (as many as there are threads, and a batch), and one batch just predicted.
        assert module.most <= 8 + 4 + 4
        assert not threads_left()
        if clock.took <= 1.1 * 120 * A_CASE / 8:
            break
    assert 120 * A_CASE / 8 <= clock.took <= 1.1 * 120 * A_CASE / 8


def test_while_there_is_room_the_network_never_waits_for_the_scorers(eight):
    """Idle is what a step takes beyond its network: under 5 % of all that the steps take.

    Scorers that manage 40 cases a second, a network that gives 20: only the rows of its last batch
    are waited for, after the last step. The best of three, as above.
    """
    for _ in range(3):
        module = Slow(a_batch=0.2)
        run_test(films_of(60), 4, module)
        assert module.in_network > 15 * 0.2
        idle = module.in_steps - module.in_network
        if idle < 0.05 * module.in_steps:
            break
    assert idle < 0.05 * module.in_steps


def test_rows_and_their_order_are_those_of_scoring_in_line(eight, monkeypatch):
    scans = [slices_of(name, body(seed, 7), body(seed + 9, 7)) for seed, name in enumerate("ab")]
    items = [*films_of(5), *scans[0], *films_of(2), *scans[1]]
    many = rows_of_test(items, 4, Jittery())
    monkeypatch.setenv(CORES, "1")
    assert many == rows_of_test(items, 4)
    assert [row["unit"] for row in many].count("scan") == 2
    films = films_of(6)
    expected = []
    for film in films:
        image, target = film["image"], film["target"]
        opinion = image[0].numpy() > 0.5
        columns = score_case(image, target, film["references"], film["box"], film["spacing"],
                             ("lungs",), "sigmoid", opinion)  # fmt: skip
        expected += [{**film["identity"], **row} for row in columns]
    assert rows_of_test(films, 4, Jittery()) == expected


class Impatient(Callback):
    """Looks into each batch's rows at once, as a user's own callback may."""

    def __init__(self):
        self.rows = []

    def on_test_batch_end(self, trainer, module, outputs, batch, batch_idx, dataloader_idx=0):
        assert len(outputs["rows"]) >= len(batch["identity"]) and outputs["rows"][0]["dice"] > 0
        self.rows += outputs["rows"]


def test_who_looks_into_a_batchs_rows_gets_them_all(eight):
    impatient = Impatient()
    items = [*films_of(3), *slices_of("s", body(1, 7), body(2, 7))]
    kept = run_test(items, 4, Jittery(), impatient)
    assert impatient.rows == kept.rows and kept.rows[-1]["unit"] == "scan"


def test_no_more_cases_wait_than_there_are_threads():
    gate = threading.Event()
    threads = ScoringThreads(2)
    for _ in range(5):
        threads.submit(gate.wait)
    passed = threading.Thread(target=threads.wait_for_room)
    passed.start()
    passed.join(0.3)
    assert passed.is_alive()  # three wait, and two are worked on
    gate.set()
    passed.join(30)
    assert not passed.is_alive()
    threads.finish()


def test_what_a_scorer_raises_ends_the_test_at_once_and_names_the_case(eight):
    module = Failing()
    with pytest.raises(ValueError, match="planted fault") as caught:
        run_test(films_of(200), 4, module)
    assert explain(caught.value) == "ValueError: planted fault (montgomery, case film-5)"
    assert module.predicted <= 5 + 8 + 3 * 4
    for thread in threads_left():
        thread.join(30)
    assert not threads_left()


def test_a_fault_in_the_last_slice_is_told_not_what_its_scan_lacks(eight):
    class Faulty(Seen):
        def score(self, case):
            if case.identity.get("slice_index") == 6:
                raise FloatingPointError("planted fault")
            return super().score(case)

    with pytest.raises(FloatingPointError, match="planted fault"):
        run_test(slices_of("s", body(1, 7), body(2, 7)), 4, Faulty())


def test_an_output_that_is_not_finite_is_refused_by_case():
    items = films_of(3)
    items[1]["image"][:] = torch.nan
    with pytest.raises(FloatingPointError, match="not finite: its training diverged") as caught:
        run_test(items, 2)
    assert caught.value.__notes__ == ["montgomery, case film-1"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals between threads")
def test_ctrl_c_drops_the_cases_that_wait():
    begun = []
    threads = ScoringThreads(2)
    for number in range(50):
        threads.submit(lambda number=number: (begun.append(number), time.sleep(A_CASE)))
    main = threading.main_thread().ident
    threading.Timer(2 * A_CASE, signal.pthread_kill, (main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        threads.finish()
    for thread in threads_left():
        thread.join(30)
    assert 0 < len(begun) < 25


def test_there_is_a_thread_for_each_core_whatever_torch_was_told(monkeypatch):
    monkeypatch.delenv(CORES, raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    allowed = os.sched_getaffinity(0)
    assert torch.get_num_threads() == 1
    everywhere, here = Slow(), Slow()
    run_test(films_of(8), 8, everywhere)
    assert len(everywhere.threads) == min(MOST_THREADS, len(allowed))
    os.sched_setaffinity(0, {min(allowed)})
    try:
        run_test(films_of(3), 3, here)
    finally:
        os.sched_setaffinity(0, allowed)
    assert len(here.threads) == 1


def test_cores_are_told_by_slot_task_and_affinity(monkeypatch):
    monkeypatch.delenv(CORES, raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    allowed = os.sched_getaffinity(0)
    assert own_cores() == len(allowed)
    assert own_cores(2) == max(1, len(allowed) // 2)
    assert own_cores(1000) == 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert own_cores() == 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1000")  # no task has more than it may use
    assert own_cores() == len(allowed)
    monkeypatch.setenv(CORES, "6")
    assert own_cores() == own_cores(2) == 6
    assert Slot((), 3).environment()[CORES] == "3"


@pytest.mark.parametrize(
    ("environment", "threads"), [(SLURMEnvironment, 2), (LightningEnvironment, 1)]
)
def test_a_task_of_slurm_has_its_cores_alone_other_processes_share(
    monkeypatch, environment, threads
):
    monkeypatch.delenv(CORES, raising=False)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    for name in ("NODEID", "PROCID", "LOCALID"):
        monkeypatch.setenv(f"SLURM_{name}", "0")
    monkeypatch.setattr("contract.machine.cores", lambda: 2)
    module = Seen()
    module.trainer = Trainer(
        accelerator="cpu", devices=2, strategy="ddp", plugins=[environment()], logger=False
    )
    assert module.scoring_threads() == threads


def test_scoring_threads_have_torch_to_themselves():
    """Else each would keep a team of as many threads as torch has."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        threads = ScoringThreads(1)
        inside = threads.submit(torch.get_num_threads)
        threads.finish()
        assert inside.result() == 1 and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("variable", [CORES, "SLURM_CPUS_PER_TASK"])
@pytest.mark.parametrize("said", ["abc", "0", "-1", "2(x3)", "1.5", "²"])
def test_a_number_of_cores_that_is_none_is_told(variable, said, monkeypatch):
    monkeypatch.delenv(CORES, raising=False)
    monkeypatch.setenv(variable, said)
    with pytest.raises(UserError, match=f"{variable}: found .*a whole number"):
        own_cores()


def test_an_empty_number_of_cores_says_nothing(monkeypatch):
    expected = own_cores()
    monkeypatch.setenv(CORES, " ")
    assert own_cores() == expected

"""``lungbench perf``: pairs in turn, verdicts, the page, and one topic measured for real."""

import os
import re
import threading
import time

import numpy as np
import pytest
import torch

from benchmark.__main__ import main
from benchmark.performance import perf, scoring_lines
from benchmark.performance.gpu_lines import on_device, step_of
from benchmark.performance.lines import (
    DifferentValuesError,
    Goal,
    Line,
    Measured,
    NotMeasuredError,
    Setting,
    outcome_of,
    require_equal,
    require_peer,
)
from benchmark.performance.page import Circumstances, performance_page
from benchmark.performance.perf import LINES
from benchmark.performance.scoring_lines import MaskPair, beside_monai, beside_surface_distance
from benchmark.performance.timing import Pairs, Sample, in_turn, on_cores, wall
from benchmark.performance.training_lines import BATCH, batches, networks, step, written_by_hand


def noting(name, seconds, seen):
    """An act that notes its name and takes the next of ``seconds``."""

    def act():
        seen.append(name)
        return seconds.pop(0)

    return act


def test_pairs_are_timed_in_turn_and_the_first_of_both_does_not_count():
    seen = []
    here = noting("here", [99.0, 1.0, 2.0, 4.0], seen)
    pairs = in_turn(here, noting("beside", [99.0, 2.0, 2.0, 2.0], seen), 3)
    assert seen == ["here", "beside", "here", "beside", "beside", "here", "here", "beside"]
    assert pairs == Pairs(Sample((1.0, 2.0, 4.0)), Sample((2.0, 2.0, 2.0)))
    assert pairs.cost.values == (0.5, 1.0, 2.0)
    assert (pairs.speed.low, pairs.speed.middle, pairs.speed.high) == (0.5, 1.0, 2.0)


def test_the_clock_on_the_wall_sees_sleep():
    assert 0.02 <= wall(lambda: time.sleep(0.02))() < 2


def test_cores_are_given_back_even_after_an_error():
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError), on_cores(1):
        assert len(os.sched_getaffinity(0)) == 1
        raise KeyError
    assert os.sched_getaffinity(0) == before


def test_threads_that_were_there_before_keep_to_the_cores_too():
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait)
    thread.start()
    try:
        before = os.sched_getaffinity(thread.native_id)
        with on_cores(1):
            assert os.sched_getaffinity(thread.native_id) == {min(before)}
        assert os.sched_getaffinity(thread.native_id) == before
    finally:
        leave.set()
        thread.join()


def line(measure, goal=None, **changes):
    given = {"key": "9a", "topic": "scoring", "what": "a `thing` | pipe", "beside": "a_peer"}
    return Line(**(given | changes), unit="× as fast", measure=measure, goal=goal)


def unmeasured(setting):
    raise NotMeasuredError("needs a moon")


@pytest.mark.parametrize(
    ("goal", "verdict"),
    [(Goal(4, "at least"), "met"), (Goal(4.1, "at least"), "missed"), (Goal(4, "at most"), "met"),
     (Goal(3.9, "at most"), "missed"), (None, "–")],
)  # fmt: skip
def test_the_median_meets_or_misses_the_goal(tmp_path, goal, verdict):
    measured = Measured(Sample((1.0, 4.0, 5.0)))
    assert outcome_of(line(lambda _: measured, goal), Setting(tmp_path)).verdict == verdict


def test_the_page_tells_numbers_verdicts_and_reasons(tmp_path):
    outcomes = [
        outcome_of(line(lambda _: Measured(Sample((1.0, 2.04, 512.3)), "a note"),
                        Goal(3, "at least")), Setting(tmp_path)),
        outcome_of(line(unmeasured, Goal(3, "at least"), key="10"), Setting(tmp_path)),
    ]  # fmt: skip
    text = performance_page(outcomes, Circumstances((("device", "an abacus"),)))
    assert "| device | an abacus |" in text
    number = "2.04 \\[1, 512\\] × as fast | 3 | at least 3 | missed |"
    assert f"| 9a | a `thing` \\| pipe | a_peer | {number}" in text
    assert re.search(r"\| 10 \|.*\| – \| – \| at least 3 \| not measured \|", text)
    assert "- 9a: a note\n- 10: needs a moon\n" in text
    assert "Goals met: 0, missed: 1, open: 0; lines not measured: 1." in text


def test_each_line_has_a_place_of_its_own_in_the_order_of_the_goals():
    places = [one.place for one in LINES]
    assert places == sorted(set(places))
    assert {number for number, _ in places} == set(range(1, 11))


def test_what_is_not_there_is_said_to_be_not_measured(tmp_path):
    with pytest.raises(NotMeasuredError, match="make perf"):
        require_peer("no_such_peer")
    said = {one.key: outcome_of(one, Setting(tmp_path)) for one in LINES
            if one.key in ("1a", "1b", "6a", "6b", "8", "9b", "10a", "10c")}  # fmt: skip
    assert {outcome.verdict for outcome in said.values()} == {"not measured"}
    assert "--long" in said["1a"].reason and "--data-root" in said["6a"].reason
    assert list(tmp_path.iterdir()) == []


def test_other_values_are_an_error():
    require_equal("HD", 1.0, 1.0 + 1e-9, 1e-6)
    for other in (1.1, float("nan")):
        with pytest.raises(DifferentValuesError, match="HD"):
            require_equal("HD", 1.0, other, 1e-6)


@pytest.mark.parametrize("beside", [beside_monai, beside_surface_distance])
def test_a_wrong_distance_here_would_end_the_measuring(tmp_path, monkeypatch, beside):
    if beside is beside_surface_distance:
        pytest.importorskip("surface_distance")
    mask = np.zeros((40, 50), bool)
    mask[10:30, 10:30] = True
    pair = MaskPair(np.roll(mask, 4, axis=1), mask, (1.0, 1.0))
    assert len(beside(lambda _: pair, 2, Setting(tmp_path)).sample.values) == 2
    moved = MaskPair(np.roll(mask, 9, axis=1), mask, (1.0, 1.0))
    wrong = scoring_lines.measured_here(moved)
    monkeypatch.setattr(scoring_lines, "measured_here", lambda _: wrong)
    with pytest.raises(DifferentValuesError, match="HD against"):
        beside(lambda _: pair, 1, Setting(tmp_path))


@pytest.mark.parametrize("other", ["by hand", "plain"])
def test_the_step_ends_with_the_weights_of_other_loops(tmp_path, other):
    assert len(step(other, 32, Setting(tmp_path, rounds=1)).sample.values) == 1


def test_the_loop_by_hand_trains_both_networks():
    pair, fresh = networks(), networks()
    written_by_hand(pair, batches(32))
    for trained, new in zip(pair, fresh, strict=True):
        assert all(not torch.equal(a, b) for a, b in zip(trained.parameters(), new.parameters(),
                                                        strict=True) if a.dim() > 1)  # fmt: skip


def test_steps_in_half_and_full_precision_run_without_a_gpu_too():
    small = {"model.init_args.generator.init_args.widths": [4, 8]}
    for half in (True, False):
        act = step_of("unet", "cpu", half, size=32, batch=BATCH, **small)
        assert on_device("cpu", act, 2)() > 0


def test_a_topic_is_measured_and_its_page_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scoring_lines, "VOLUME", (12, 64, 64))
    out = tmp_path / "page.md"
    assert main(["perf", "--only", "scoring", "--rounds", "1", "--out", str(out)]) == 0
    text, said = out.read_text(), capsys.readouterr().out
    keys = re.findall(r"^\| (\d+\w?) \|", text, re.MULTILINE)
    assert keys == [one.key for one in LINES if one.topic == "scoring"]
    left = [one.key for one in LINES if one.topic != "scoring"]
    assert re.findall(r"^- (\w+): left out by --only$", text, re.MULTILINE) == left
    assert len(re.findall(r"\| (?:met|missed) \|$", text, re.MULTILINE)) >= 5  # MONAI's and 9a
    assert "Python" in text and "torch 2" in text and "9a  one case at 1024²" in said


def test_a_run_that_ends_early_leaves_a_page_of_what_it_measured(tmp_path, monkeypatch):
    def fails(setting):
        raise DifferentValuesError("HD: 1 here, 2 there")

    lines = (line(lambda _: Measured(Sample((2.0,)), "done")), line(fails, key="9b"))
    monkeypatch.setattr(perf, "LINES", lines)
    with pytest.raises(DifferentValuesError):
        perf.measure(out=tmp_path / "page.md", rounds=1)
    text = (tmp_path / "page.md").read_text()
    assert "- 9a: done\n- 9b: the run was ended before\n" in text


def test_no_round_at_all_and_an_absent_gpu_are_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["perf", "--rounds", "0"])
    assert "'0' is no whole number from 1" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert main(["perf", "--device", "gpu"]) == 2
        assert "PERF=cpu" in capsys.readouterr().err

"""The race with nnU-Net: laps that wait for their judge, nnU-Net's data set, what comes of it."""

import json
import shutil
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
import yaml

from benchmark.cell.fit import fit
from benchmark.performance.lines import Goal, Line, Measured, NotMeasuredError, Outcome
from benchmark.performance.page import row_of
from benchmark.performance.racing.laps import (
    END_MARK,
    Lap,
    Rival,
    TrainingClock,
    first_passing,
    laps_of,
    weights_of,
)
from benchmark.performance.racing.nnunet import NnunetFolders, film_of, own_split, write_raw
from benchmark.performance.racing.race import Course, outcome_of_race, run_course
from benchmark.performance.racing.unet import raced_data, unet_rival, write_raced_cell
from benchmark.performance.timing import Sample
from benchmark.start import ROOT
from contract.cell_folder import CellFolder
from datamodules.montgomery import Montgomery
from datamodules.preprocessing import Preprocessing

TRAINEE = """
import sys
from pathlib import Path
from benchmark.performance.racing.laps import hand_over, weights_of
folder = Path(sys.argv[1])
for lap, dice in enumerate(sys.argv[2:], 1):
    if dice == "fails":
        sys.exit("out of breath")
    weights_of(folder, lap).write_text(dice)
    if not hand_over(folder, lap, 10.0 * lap):
        break
"""
"""A training whose weights are what it will score; each lap takes 10 seconds by its own word."""
TINY = {
    "batch_size": 4,
    "model.init_args.generator.init_args.widths": [4, 8],
    "trainer.max_epochs": 4,
}


def trainee(folder, *dice):
    told = [sys.executable, "-c", TRAINEE, str(folder), *map(str, dice)]
    return Rival(
        "somebody", told, {"PYTHONPATH": str(ROOT)}, folder, lambda path: float(path.read_text())
    )


@pytest.mark.parametrize(
    ("passing", "limit_s", "laps"),
    [(0.8, 1000, 3), (0.99, 20, 2), (0.99, 1000, 4)],
    ids=["passes", "its time is over", "its schedule ends"],
)
def test_a_training_ends_with_the_lap_that_decides(tmp_path, passing, limit_s, laps):
    rival = trainee(tmp_path, 0.5, 0.7, 0.9, 0.8)
    found = [Lap(10, 0.5), Lap(20, 0.7), Lap(30, 0.9), Lap(40, 0.8)][:laps]
    assert laps_of(rival, passing, limit_s) == found
    assert not list(tmp_path.glob("lap-*"))


@pytest.mark.parametrize("dice", [["fails"], [0.5, "fails"]])
def test_a_training_that_fails_is_no_result(tmp_path, dice):
    with pytest.raises(RuntimeError, match=r"somebody ended with 1(.|\n)*out of breath"):
        laps_of(trainee(tmp_path, *dice), 0.9, 1000)


def test_a_training_whose_judge_is_gone_ends(tmp_path):
    told = trainee(tmp_path, 0.5).command
    start = f"import subprocess; subprocess.Popen({told!r}, stderr=open('said', 'w'))"
    wait = "\nimport pathlib, time\nwhile not list(pathlib.Path().glob('*.json')): time.sleep(.02)"
    subprocess.run([sys.executable, "-c", start + wait], check=True, cwd=tmp_path,
                   env={"PYTHONPATH": str(ROOT)}, timeout=60)  # fmt: skip
    until = time.monotonic() + 30
    while "nobody is left" not in (tmp_path / "said").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_clock_counts_work_while_it_runs():
    clock = TrainingClock()
    clock.run()
    time.sleep(0.3)
    clock.stop()
    asleep = clock.seconds
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    assert clock.seconds == asleep < 0.1
    clock.run()
    until = time.process_time() + 0.2
    while time.process_time() < until:
        clock.run()
    clock.stop()
    assert 0.2 <= clock.seconds - asleep < 0.3


def test_the_first_lap_that_reaches_the_mark_counts():
    laps = [Lap(1, 0.90), Lap(2, 0.95), Lap(3, 0.93), Lap(4, 0.97)]
    assert first_passing(laps, 0.95) == laps[1]
    assert first_passing(laps, 0.98) is None


def test_a_rival_that_never_passes_leaves_a_bound():
    fast, slow, never = (
        [Lap(10, 0.96)], [Lap(20, 0.9), Lap(40, 0.95)], [Lap(50, 0.94), Lap(90, 0.9)]
    )  # fmt: skip
    both = outcome_of_race(fast, slow, Course())
    assert (both.sample.values, both.bound) == ((0.25,), "")
    assert both.note.endswith("unet 0.9600 after 10 s, nnU-Net 0.9500 after 40 s")
    below = outcome_of_race(fast, never, Course())
    assert (below.sample.values, below.bound) == ((10 / 90,), "<")
    assert below.note.endswith("nnU-Net at most 0.9400 within 90 s")
    above = outcome_of_race(never, slow, Course())
    assert (above.sample.values, above.bound) == ((90 / 40,), ">")
    with pytest.raises(NotMeasuredError, match=r"neither passes 0\.95"):
        outcome_of_race(never, never, Course())


@pytest.mark.parametrize(
    ("bound", "sense", "verdict"),
    [("", "at most", "met"), ("<", "at most", "met"), (">", "at most", "open"),
     ("", "at least", "missed"), ("<", "at least", "missed"), (">", "at least", "open")],
)  # fmt: skip
def test_a_bound_keeps_a_goal_only_where_it_decides(bound, sense, verdict):
    assert Measured(Sample((2.0,)), bound=bound).verdict(Goal(3, sense)) == verdict


def test_the_page_shows_a_bound():
    line = Line("8", "training", "one", "another", "× the time", lambda _: None, Goal(3, "at most"))
    shown = row_of(Outcome(line, Measured(Sample((2.0,)), bound="<")))
    assert shown[3] == "< 2 × the time" and shown[-1] == "met"


@pytest.fixture(scope="module")
def squashed(phantom_root, tmp_path_factory):
    data = Montgomery(
        phantom_root, cache=tmp_path_factory.mktemp("cache"), preprocessing=Preprocessing(size=48)
    )
    data.prepare_data()
    data.setup("fit")
    return data


def test_nnunet_gets_the_same_cases_and_no_test_case(squashed, tmp_path):
    write_raw(squashed, tmp_path)
    split = squashed.split
    ids = sorted(case_id for _, case_id in (*split.train, *split.validation))
    films, labels = tmp_path / "imagesTr", tmp_path / "labelsTr"
    assert sorted(path.name for path in films.iterdir()) == [f"{one}_0000.png" for one in ids]
    assert sorted(path.name for path in labels.iterdir()) == [f"{one}.png" for one in ids]
    assert json.loads((tmp_path / "dataset.json").read_text())["numTraining"] == len(ids)
    (fold,) = own_split(squashed)
    assert sorted(fold["train"] + fold["val"]) == ids
    assert fold["val"] == [case_id for _, case_id in split.validation]
    assert not set(ids) & {case_id for _, case_id in split.test}


def test_nnunet_gets_films_that_are_squashed_and_masks_of_two_labels(squashed, tmp_path):
    write_raw(squashed, tmp_path)
    for case in (squashed.train_cases.cases[0], squashed.validation_cases.cases[-1]):
        film = cv2.imread(str(case.image), cv2.IMREAD_GRAYSCALE)
        given = cv2.imread(str(film_of(tmp_path / "imagesTr", case.case_id)), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(given, cv2.resize(film, (48, 48), interpolation=cv2.INTER_AREA))
        sides = [
            cv2.imread(str(case.image.parents[1] / "ManualMask" / side / case.image.name),
                       cv2.IMREAD_GRAYSCALE)
            for side in ("leftMask", "rightMask")
        ]  # fmt: skip
        lungs = np.maximum(*sides)
        label = cv2.imread(str(tmp_path / "labelsTr" / f"{case.case_id}.png"), cv2.IMREAD_UNCHANGED)
        assert set(np.unique(label)) == {0, 1}
        assert np.array_equal(
            label > 0, cv2.resize(lungs, (48, 48), interpolation=cv2.INTER_AREA) >= 128
        )


def test_a_cell_hands_over_what_it_is_then_tested_by(phantom_root, tmp_path, rows):
    config = write_raced_cell(phantom_root, tmp_path, 32, TINY)
    assert yaml.safe_load(config.read_text())["data"]["init_args"]["preprocessing"]["size"] == 32
    laps, kept, seconds = tmp_path / "laps", tmp_path / "kept", []
    kept.mkdir()

    def judge():
        for lap in (1, 2):
            told = laps / f"lap-{lap:05d}.json"
            while not told.exists():
                time.sleep(0.01)
            seconds.append(json.loads(told.read_text())["seconds"])
            shutil.copy(told.with_suffix(".ckpt"), kept)
            if lap == 2:
                (laps / END_MARK).touch()
            told.unlink()

    thread = threading.Thread(target=judge, daemon=True)
    thread.start()
    fit(config, tmp_path / "cell")
    thread.join(5)
    assert 0 < seconds[0] < seconds[1]
    assert not list(laps.glob("lap-*3.*"))  # it ended after two of four epochs
    tested = rows(tmp_path / "cell").query("structure == 'lungs'")["dice"].mean()
    (epoch,) = CellFolder(tmp_path / "cell").record.tested_epochs
    judged = unet_rival(config).dice_of(weights_of(kept, epoch))
    assert judged == pytest.approx(tested) and judged > 0


def test_both_run_the_course(phantom_root, tmp_path):
    pytest.importorskip("nnunetv2")
    course = Course(size=64, passing=1.1, limit_s=1e9, laps=2, iterations=2, changes=TINY)
    ours, theirs = run_course(phantom_root, tmp_path, course)
    assert len(ours) == 4 and len(theirs) == 2
    for laps in (ours, theirs):
        assert all(0 <= lap.dice < 1 for lap in laps)
        assert 0 < laps[0].seconds < laps[1].seconds
    folders = NnunetFolders(tmp_path / "nnunet")
    config = tmp_path / "unet" / "cell.yaml"
    (fold,) = own_split(raced_data(config))
    said = "".join(path.read_text() for path in folders.fold.glob("training_log_*.txt"))
    split = f"{len(fold['train'])} training and {len(fold['val'])} validation cases"
    assert split in said
    test_ids = {case.case_id for case in raced_data(config).test_cases.cases}
    assert test_ids == {path.name.removesuffix("_0000.png") for path in folders.films.iterdir()}

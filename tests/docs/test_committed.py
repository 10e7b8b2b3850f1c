"""Leaderboards, pages and the README are what the committed rows give."""

import copy
import csv

import pandas as pd
import pytest
from docs_scripts import DOCS, ROOT, docs_script
from PIL import Image

SCRIPT = docs_script("make_committed")
SUITES = [name for name in SCRIPT.ABOUT if (SCRIPT.BOARDS / name / "cells").is_dir()]


@pytest.fixture(scope="module")
def readme_script():
    return docs_script("make_readme")


@pytest.fixture(scope="module", params=SUITES)
def derived(request, tmp_path_factory):
    """The leaderboard of the committed rows of a suite, built a second time."""
    return SCRIPT.derive(request.param, tmp_path_factory.mktemp("derived"))


@pytest.fixture(scope="module")
def measured(readme_script, tmp_path_factory):
    """That of the suite of the README."""
    return SCRIPT.derive(readme_script.SUITE, tmp_path_factory.mktemp("measured"))


@pytest.fixture
def board(derived):
    return SCRIPT.BOARDS / derived.name / "leaderboard"


def test_the_committed_table_derives_from_the_rows(derived, board):
    made = derived.table.reset_index(drop=True)
    told = pd.read_csv(board / "leaderboard.csv", keep_default_na=False, na_values=[""])
    assert len(told) == len(made) > 0
    numbers = [name for name in told if name in made and made[name].dtype.kind in "fi"]
    assert {"dice_mean", "dice_ci_low", "hausdorff95_px_mean", "n_cases"} <= set(numbers)
    for name in numbers:
        assert told[name].to_numpy(float) == pytest.approx(
            made[name].to_numpy(float), rel=1e-6, nan_ok=True
        ), name


def test_the_committed_page_derives_from_the_rows(derived, board):
    assert (board / "leaderboard.md").read_text("utf-8") == derived.board
    page = (DOCS / f"{derived.name}.md").read_text("utf-8")
    assert SCRIPT.page(derived, SCRIPT.ABOUT[derived.name], "make_committed.py") == page


def test_every_committed_row_says_its_device_commit_and_schedule(derived):
    for cell in derived.done:
        assert not cell.phantom and cell.n_test
        if cell.external is not None:
            assert "CPU minutes" in cell.external["tool"] and cell.external["train_on"]
            continue
        assert cell.device and cell.commit and cell.tested_epochs and cell.versions
        reduced = {"lung_baseline": False}.get(cell.system, True)
        assert cell.reduced == reduced and bool(cell.changes) == reduced


def test_nothing_of_a_patient_is_committed(board):
    kept = {path.name for path in board.iterdir()}
    assert kept == set(SCRIPT.KEPT)
    assert "<image" not in (board / "leaderboard.html").read_text("utf-8")
    assert "data:image/" not in (board / "leaderboard.html").read_text("utf-8")
    with (board.parent / SCRIPT.DOUBTED).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows and {row["dataset"] for row in rows} <= {"montgomery", "shenzhen"}


def test_the_readme_derives_from_the_rows(readme_script, measured):
    readme = (ROOT / "README.md").read_text("utf-8")
    assert readme_script.with_rows(readme, measured) == readme, "run docs/make_readme.py"
    row = measured.lungs["m_to_s"].iloc[0]
    assert f"| {row['dice_mean']:.4f} [{row['dice_ci_low']:.4f}, " in readme
    other = copy.copy(measured)
    other.table = measured.table.assign(iou_mean=measured.table["iou_mean"] - 1e-4)
    assert readme_script.with_rows(readme, other) != readme


def test_the_heat_map_is_drawn_from_the_rows(readme_script, measured):
    picture = readme_script.PICTURE
    digest = docs_script("make_measured").digest
    told = Image.open(picture).text[docs_script("make_pictures").DRAWN_FROM]
    assert told == digest(readme_script.heat_map(measured)), "run docs/make_readme.py"
    assert picture.stat().st_size < 150_000
    other = copy.copy(measured)
    other.table = measured.table.assign(dice_mean=measured.table["dice_mean"] - 1e-4)
    assert told != digest(readme_script.heat_map(other))

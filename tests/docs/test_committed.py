"""leaderboards/measured, docs/measured.md and the README are what the committed rows give."""

import copy
import csv

import pandas as pd
import pytest
from docs_scripts import DOCS, ROOT, docs_script
from PIL import Image


@pytest.fixture(scope="module")
def script():
    return docs_script("make_committed")


@pytest.fixture(scope="module")
def readme_script():
    return docs_script("make_readme")


@pytest.fixture(scope="module")
def derived(script, tmp_path_factory):
    """The leaderboard of the committed rows, built a second time."""
    return script.derive(tmp_path_factory.mktemp("derived"))


@pytest.fixture(scope="module")
def board(script):
    return script.COMMITTED / "leaderboard"


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


def test_the_committed_page_derives_from_the_rows(script, derived, board):
    assert (board / "leaderboard.md").read_text("utf-8") == derived.board
    page = (DOCS / "measured.md").read_text("utf-8")
    assert script.page(derived, script.ABOUT, "make_committed.py") == page


def test_every_committed_row_says_its_device_commit_and_schedule(derived):
    for cell in derived.done:
        assert cell.device and cell.commit and cell.tested_epochs and cell.versions
        reduced = {"lung_baseline": False}.get(cell.system, True)
        assert cell.reduced == reduced and bool(cell.changes) == reduced
        assert not cell.phantom and cell.n_test


def test_nothing_of_a_patient_is_committed(script, board):
    kept = {path.name for path in board.iterdir()}
    assert kept == set(script.KEPT)
    assert "<image" not in (board / "leaderboard.html").read_text("utf-8")
    assert "data:image/" not in (board / "leaderboard.html").read_text("utf-8")
    with (script.COMMITTED / script.DOUBTED).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows and {row["dataset"] for row in rows} <= {"montgomery", "shenzhen"}


def test_the_readme_derives_from_the_rows(readme_script, derived):
    readme = (ROOT / "README.md").read_text("utf-8")
    assert readme_script.with_rows(readme, derived) == readme, "run docs/make_readme.py"
    row = derived.lungs["m_to_s"].iloc[0]
    assert f"| {row['dice_mean']:.4f} [{row['dice_ci_low']:.4f}, " in readme
    other = copy.copy(derived)
    other.table = derived.table.assign(iou_mean=derived.table["iou_mean"] - 1e-4)
    assert readme_script.with_rows(readme, other) != readme


def test_the_heat_map_is_drawn_from_the_rows(readme_script, derived):
    picture = readme_script.PICTURE
    digest = docs_script("make_measured").digest
    told = Image.open(picture).text[docs_script("make_pictures").DRAWN_FROM]
    assert told == digest(readme_script.heat_map(derived)), "run docs/make_readme.py"
    assert picture.stat().st_size < 150_000
    other = copy.copy(derived)
    other.table = derived.table.assign(dice_mean=derived.table["dice_mean"] - 1e-4)
    assert told != digest(readme_script.heat_map(other))


def test_the_suite_quick_leaves_the_readme_when_all_of_it_was_measured(readme_script, derived):
    page = "<!-- measured -->\n<!-- end -->\n\n<!-- quick -->\n\nmore\n\n<!-- end -->\n"
    full = copy.copy(derived)
    full.done = [c for c in derived.cells if c.system in ("mean_shape", "unet")]
    assert not readme_script.covers(derived, "quick")
    assert "more" in readme_script.with_rows(page, derived)
    assert "<!-- quick -->\n<!-- end -->" in readme_script.with_rows(page, full)

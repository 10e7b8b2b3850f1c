"""leaderboards/measured and docs/measured.md are what the committed rows give."""

import csv
import sys
from pathlib import Path

import pandas as pd
import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(DOCS))
    try:
        import make_committed
    finally:
        sys.path.remove(str(DOCS))
    return make_committed


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

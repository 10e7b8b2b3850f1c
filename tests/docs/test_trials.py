"""The tables of trials are what their committed rows give."""

import pandas as pd
import pytest
import torch
from docs_scripts import docs_script


@pytest.mark.parametrize("name, rows", [("trials", "ROWS"), ("together", "TOGETHER")])
def test_the_tables_derive_from_the_rows(name, rows):
    made, marks = docs_script("make_trials"), docs_script("marks")
    page = made.PAGE.read_text(encoding="utf-8")
    films = pd.read_parquet(getattr(made, rows))
    table = made.trials_table(films)
    assert marks.between(page, name) == table
    assert len(table.splitlines()) == 2 + films["trial"].nunique() > 4


def test_what_was_reached_derives_from_the_leaderboard():
    made, marks = docs_script("make_trials"), docs_script("marks")
    assert marks.between(made.PAGE.read_text(encoding="utf-8"), "aims") == made.aims_table()


@pytest.mark.parametrize("name, trials", [("brief", "BRIEF"), ("longer", "LONGER")])
def test_the_tables_of_unet_derive_from_its_trainings(name, trials):
    made, marks = docs_script("make_unet_trials"), docs_script("marks")
    page, rows = made.PAGE.read_text(encoding="utf-8"), pd.read_csv(made.ROWS)
    table = made.table(rows, getattr(made, trials))
    assert marks.between(page, name) == table
    assert len(table.splitlines()) > 3


def test_bent_films_keep_black_white_and_the_order_between():
    grey = torch.linspace(-1, 1, 41)
    bent = docs_script("make_unet_trials").bent(grey)
    assert bent[[0, 20, 40]].tolist() == pytest.approx([-1, 0, 1], abs=1e-6)
    assert (bent.diff() > 0).all() and (bent[30:40] > grey[30:40]).all()

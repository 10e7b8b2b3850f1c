"""The flag's limit is what the committed rows of in-dataset films say, and so is its table."""

import pandas as pd
import pytest
from docs_scripts import docs_script

from lightning_modules.metrics.quality import MOST_DISAGREEMENT


@pytest.fixture(scope="module")
def rows():
    made = docs_script("make_committed")
    found = sorted((made.BOARDS / "measured" / "cells").glob("*/*/*/cases.parquet"))
    return pd.concat([pd.read_parquet(path) for path in found])


def test_the_limit_is_the_tuned_one(rows):
    assert docs_script("make_flag").tuned_limit(rows) == MOST_DISAGREEMENT


def test_other_hospitals_choose_nothing(rows):
    made = docs_script("make_flag")
    unseen = rows["protocol"].isin(made.UNSEEN)
    other = rows.assign(disagreement=rows["disagreement"].mask(unseen, 0.9))
    assert made.tuned_limit(other) == MOST_DISAGREEMENT
    assert made.tuned_limit(rows.assign(disagreement=rows["disagreement"] / 2)) < MOST_DISAGREEMENT


def test_the_table_derives_from_the_rows(rows):
    made, marks = docs_script("make_flag"), docs_script("marks")
    assert marks.between(made.PAGE.read_text("utf-8"), "flag") == made.flag_table(rows)

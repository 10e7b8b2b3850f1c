"""The table of trials is what their committed rows give."""

import runpy
from pathlib import Path

import pandas as pd

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_derives_from_the_rows():
    made = runpy.run_path(str(DOCS / "make_trials.py"))
    page = made["PAGE"].read_text(encoding="utf-8")
    rows = pd.read_parquet(made["ROWS"])
    assert made["page_with"](made["trials_table"](rows), page) == page
    assert len(made["trials_table"](rows).splitlines()) == 2 + rows["trial"].nunique() > 4

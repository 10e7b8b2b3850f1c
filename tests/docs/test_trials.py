"""The tables of trials are what their committed rows give."""

import pandas as pd
import pytest
from docs_scripts import docs_script


@pytest.mark.parametrize("name, rows", [("trials", "ROWS"), ("together", "TOGETHER")])
def test_the_tables_derive_from_the_rows(name, rows):
    made, marks = docs_script("make_trials"), docs_script("marks")
    page = made.PAGE.read_text(encoding="utf-8")
    films = pd.read_parquet(getattr(made, rows))
    table = made.trials_table(films)
    assert marks.between(page, name) == table
    assert len(table.splitlines()) == 2 + films["trial"].nunique() > 4

"""The table of trials is what their committed rows give."""

import pandas as pd
from docs_scripts import docs_script


def test_the_table_derives_from_the_rows():
    made, marks = docs_script("make_trials"), docs_script("marks")
    page = made.PAGE.read_text(encoding="utf-8")
    rows = pd.read_parquet(made.ROWS)
    table = made.trials_table(rows)
    assert marks.between(page, "trials") == table
    assert len(table.splitlines()) == 2 + rows["trial"].nunique() > 4

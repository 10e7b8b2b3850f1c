"""Published beside measured: the page is what the papers' tables and the committed rows give."""

import pandas as pd
import pytest
from docs_scripts import docs_script

from leaderboards.published.reported import published_values


@pytest.fixture(scope="module")
def made():
    return docs_script("make_reproduction")


@pytest.fixture(scope="module")
def suite(made, tmp_path_factory):
    return docs_script("make_committed").derive(made.SUITE, tmp_path_factory.mktemp("derived"))


def test_the_page_derives_from_the_rows(made, suite):
    page = made.PAGE.read_text("utf-8")
    assert made.reproduction(suite, pd.read_parquet(made.TRIALS)) == page
    assert docs_script("make_measured").is_as_written(page)


def test_differences_are_ours_less_theirs(made, suite):
    (line,) = [one for one in made.compared("defunet", suite)
               if one[:2] == ["`defu_net_dilated`", "m_to_s"]]  # fmt: skip
    assert line[2] == "0.9154" and line[3] == line[5] == "dilated"
    assert float(line[6]) == pytest.approx(float(line[4].split()[0]) - 0.9154, abs=1e-4)


def test_every_system_of_a_paper_stands_on_the_page_once_a_protocol(made, suite):
    for paper in made.REASONS:
        lines = [*made.compared(paper, suite), *made.unmeasured(paper, suite)]
        told = [(line[0].strip("`").removesuffix("_dilated"), line[1]) for line in lines]
        wanted = {
            (value.system.removesuffix("_dilated"), value.protocol)
            for value in published_values()
            if value.paper == paper and value.split == "test" and value.statistic == "mean"
            and value.metric in ("dice", "iou") and value.nearest and not value.elsewhere
        }  # fmt: skip
        assert wanted and set(told) == wanted


def test_trials_have_all_films_of_their_protocols(made):
    rows = pd.read_parquet(made.TRIALS)
    assert set(rows["trial"]) <= set(made.WHAT_WAS_CHANGED)
    counts = rows.groupby(["trial", "protocol"]).size().unstack()
    assert set(counts["m_to_s"].dropna()) == {566} and set(counts["s_to_m"].dropna()) == {138}

"""Every column of every file is described, and nothing else is."""

from __future__ import annotations

from contract.rows import CASE_SCHEMA, LEADERBOARD_SCHEMA, METRICS, STATISTICS, TABLE_KEYS
from leaderboards import columns
from leaderboards.published import differences
from leaderboards.statistics import (
    comparisons,
    critics,
    endpoints,
    generalisation,
    insights,
    quality,
)
from leaderboards.statistics import subgroups as divided

KEYED = (*TABLE_KEYS,)
COLUMNS = {
    "cases": CASE_SCHEMA.names,
    "leaderboard": LEADERBOARD_SCHEMA.names,
    "comparisons": (*KEYED, *comparisons.PAIR_COLUMNS),
    "published": differences.DIFFERENCE_COLUMNS,
    "ranks": (*KEYED, *insights.RANK_COLUMNS),
    "generalisation": generalisation.GAP_COLUMNS,
    "subgroups": divided.SUBGROUP_COLUMNS,
    "endpoints": endpoints.AGREEMENT_COLUMNS,
    "quality": quality.FLAG_COLUMNS,
    "critics": (*KEYED, *critics.CRITIC_COLUMNS),
}


def test_every_column_and_no_other_is_described() -> None:
    assert set(columns.file_names()) == set(COLUMNS)
    for file, names in COLUMNS.items():
        assert set(columns.described(file)) == set(names), file


def test_the_page_holds_them_all_once() -> None:
    text = columns.as_markdown()
    lines = text.splitlines()
    for name in (*METRICS, *STATISTICS, *TABLE_KEYS, "published_source", "simultaneous_low"):
        assert any(line.startswith(f"| `{name}` |") for line in lines), name
    described = [line for line in lines if line.startswith("| `")]
    assert all(line.replace("\\|", "").count("|") == 3 for line in described)
    assert all(len(line) > 20 for line in described)

"""The head of a leaderboard and its map: the leaderboard's own words for a few of its rows."""

import itertools
from dataclasses import replace

import pandas as pd
import pytest

from contract.cell_record import CellRecord
from leaderboards import markdown, tables
from leaderboards.head import head_of
from leaderboards.page.figures import SHADES, shade
from leaderboards.page.score_map import score_map
from leaderboards.recipes import Recipe
from leaderboards.wording import from_elsewhere, one_seed
from tests.helpers.synthetic_rows import suite_cells, suite_rows

SYSTEMS = ["unet", "gan_unet", "scan", "mean_shape"]
PROTOCOLS = {"m_to_s": ("montgomery", "shenzhen"), "s_to_m": ("shenzhen", "montgomery")}
TITLES = {"s_to_m": "S → M", "m_to_s": "M → S", "mixed_m_s": "both | mixed"}


@pytest.fixture(scope="module")
def board():
    """``unet`` was chosen in sight of a test set; ``scan`` is reduced, and was run only once."""
    rows = suite_rows(SYSTEMS, PROTOCOLS, 1, 12).to_pandas()
    rows = rows[(rows["system"] != "scan") | (rows["protocol"] == "m_to_s")]
    rows = rows.assign(reduced=rows["system"] == "scan")
    cells = [
        replace(cell, reduced=cell.system == "scan")
        for cell in suite_cells(SYSTEMS, PROTOCOLS, 1)
        if (cell.system, cell.protocol) != ("scan", "s_to_m")
    ]
    about = {"system": {"chosen_on": ["jsrt"]}}
    recipes = [Recipe("unet", name, {"cell": {"about": about}}) for name in PROTOCOLS]
    meta = markdown.Meta("synthetic", cells, TITLES, 50, recipes)
    return tables.build(rows, draws=50, cells=cells), meta


def rows_of(text):
    lines = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def test_the_head_is_what_the_page_says_of_the_first(board):
    page = markdown.page(*board)
    shown = rows_of(head_of(*board, 2))
    assert [row[:3] for row in shown] == [
        ["S → M", "1", "unet †"],
        ["", "2", "gan_unet"],
        ["", "3", "mean_shape (floor)"],
        ["M → S", "1", "unet †"],
        ["", "2", "gan_unet"],
        ["", "4", "mean_shape (floor)"],
    ]
    for _, rank, system, dice, iou, distance, films in shown:
        start = f"| {rank} | {system} | {dice} |"
        line = next(line for line in page.splitlines() if line.startswith(start))
        assert f" | {iou} | " in line and f" | {distance} | " in line and f" | {films} | " in line


def test_under_the_head_stands_what_the_page_says_of_its_rows(board):
    assert "both" not in head_of(*board, 2)
    said = head_of(*board, 2).splitlines()[-1]
    assert said.startswith("The intervals come from one seed:")
    assert said.count("one seed") == 1 and "Reduced" not in said
    assert "† Recipe adjusted in sight of the test set of jsrt." in said
    assert "≈" not in said
    more = head_of(*board, 3)
    assert "scan (reduced)" in more and "Reduced: trained otherwise" in more


def test_two_seeds_under_one_protocol_are_told_apart(board):
    table, meta = board
    seeds = table["n_seeds"].where(table["protocol"] == "m_to_s", 2)
    said = head_of(table.assign(n_seeds=seeds), meta, 1).splitlines()[-1]
    assert said.startswith("M → S: The intervals come from one seed:")


@pytest.mark.parametrize(
    ("seeds", "whose"),
    [
        ([1, 1, 1], "The intervals"),
        ([3, 1, 1], "The intervals of all but a"),
        ([3, 3, 1], "The intervals of c"),
        ([3, 3, 3], ""),
    ],
)
def test_intervals_of_one_training_are_told_in_the_shortest_words(seeds, whose):
    said = one_seed(pd.DataFrame({"system": ["a", "b", "c"], "n_seeds": seeds}))
    assert [text.partition(" come from one seed")[0] for text in said] == [whose] * bool(whose)


def test_recipes_adjusted_in_sight_of_different_sets_are_told_apart():
    seen = {"a": "jsrt", "b": "m_to_s", "c": "jsrt"}
    recipes = [
        Recipe(name, "m_to_s", {"cell": {"about": {"system": {"chosen_on": [protocol]}}}})
        for name, protocol in seen.items()
    ]
    meta = markdown.Meta("synthetic", [], TITLES, 50, recipes)
    assert meta.chosen_in_sight(["c", "b", "a", "d"]) == [
        "† Recipe of c, a adjusted in sight of the test set of jsrt.",
        "† Recipe of b adjusted in sight of the test set of m_to_s.",
    ]
    assert meta.chosen_in_sight(["a", "d"]) == [
        "† Recipe adjusted in sight of the test set of jsrt."
    ]


def test_a_tie_is_explained_where_it_is_marked(board):
    table, meta = board
    best = table["dice_mean"].max()
    said = head_of(table.assign(dice_mean=best - table["rank"].astype(float) / 1000), meta, 2)
    assert rows_of(said)[1][1] == "2 ≈" and "≈ Less than 0.005 below the first" in said


def test_nothing_measured_gives_no_head_and_no_map(board):
    table, meta = board
    assert head_of(table.iloc[:0], meta, 2) == "" and score_map(table.iloc[:0], meta) is None


def test_the_map_has_each_mean_once_and_an_empty_frame_for_what_is_missing(board):
    table, meta = board
    drawn = str(score_map(table, meta))
    for value in table["dice_mean"]:
        assert drawn.count(f">{value:.4f}</text>") >= 1
    assert drawn.count('class="cell"') == len(table) == 7
    assert drawn.count('class="absent"') == 1
    assert "scan (reduced)" in drawn and "mean_shape (floor)" in drawn and "both" not in drawn
    order = [drawn.index(f">{name}") for name in ("unet †", "mean_shape (floor)", "scan (reduced)")]
    assert order == sorted(order)  # measured under fewer protocols: last


def test_the_colours_run_evenly_from_end_to_end():
    steps = [shade(k / 100)[0] for k in range(101)]
    assert (steps[0], steps[-1]) == (f"#{SHADES[0]}", f"#{SHADES[-1]}")
    reds = [int(step[1:3], 16) for step in steps]
    assert reds == sorted(reds) and len(set(reds)) > 80
    assert max(b - a for a, b in itertools.pairwise(reds)) <= 4


def test_masks_from_elsewhere_are_told_by_protocol_where_they_differ():
    def cell(system, protocol, tool, train_on):
        about = {"tool": tool, "train_on": train_on}
        return CellRecord(system, protocol, 0, "done", external=about)

    trained = CellRecord("unet", "m_to_s", 0, "done")
    one = [cell("a", name, "X 1", "jsrt") for name in ("m_to_s", "s_to_m")]
    two = [cell("b", "m_to_s", "Y", "montgomery"), cell("b", "s_to_m", "Y", None)]
    assert from_elsewhere([*two, trained, *one]) == (
        "a: masks predicted by X 1, scored by the same rules; trained on jsrt; "
        "b (m_to_s): masks predicted by Y, scored by the same rules; trained on montgomery; "
        "b (s_to_m): masks predicted by Y, scored by the same rules; trained on data that is not "
        "known"
    )
    assert from_elsewhere([trained]) == ""

"""docs/quick.md and docs/zoo.md were written from a suite's folder, and by nobody's hand."""

import re
from pathlib import Path

import pytest
from docs_scripts import ROOT, docs_script
from finished_cells import finish

from benchmark.planning.library import load_suite
from benchmark.planning.plan import make_plan
from contract.cell_folder import CellFolder
from leaderboards.board import build_leaderboard

NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?!\w)")
SCRIPT = docs_script("make_measured")
PAGES = {name: (ROOT / f"docs/{name}.md").read_text("utf-8") for name in SCRIPT.ABOUT}
HOURS = 1_795_600_000.0
"""Some moment, in seconds since 1970."""


def head(page: str) -> str:
    return page[: page.index("What follows is its")]


def rows_of(page: str) -> dict[str, str]:
    """The table of facts: what, and what was recorded."""
    lines = [line for line in head(page).splitlines() if line.startswith("| ")][2:]
    return dict(line.strip("| ").split(" | ", 1) for line in lines)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, phantom_root) -> Path:
    """Both suites, finished in no time; cells start a minute apart and take a minute and a half."""
    folder = tmp_path_factory.mktemp("measured")
    for name in SCRIPT.ABOUT:
        plan = make_plan(name, folder, phantom_root)
        for place, cell in enumerate(plan.cells):
            began = HOURS + 60 * place
            dice = 0.3 if cell.system == "mean_shape" else round(0.95 - place / 1000, 6)
            finish(cell, dice, started=began, finished=began + 90, wall_s=90.0, processes=1,
                   threads=3, val_dice=0.96, commit="abc123", tested_epochs=[9],
                   changes=cell.config["cell"]["changes"])  # fmt: skip
        build_leaderboard(plan.folder, draws=20)
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_nobody_changed_the_page_since_it_was_written(name):
    again = f"python docs/make_measured.py --runs RUNS writes docs/{name}.md again"
    assert SCRIPT.is_as_written(PAGES[name]), again
    changed = PAGES[name].replace(" done", " Done", 1)
    assert changed != PAGES[name] and not SCRIPT.is_as_written(changed)


@pytest.mark.parametrize("name", PAGES)
def test_what_a_person_wrote_has_no_number(name):
    assert not re.search(r"\d", SCRIPT.ABOUT[name])
    assert SCRIPT.ABOUT[name] in PAGES[name], "run docs/make_measured.py again"
    assert "while the machine did other work" in SCRIPT.ABOUT[name]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_as_the_script_writes_it(name, runs):
    """The same facts and kinds of findings as of a suite that was finished just now."""
    fresh = SCRIPT.page(SCRIPT.Measured(runs / name), SCRIPT.ABOUT[name])
    assert SCRIPT.is_as_written(fresh)
    assert list(rows_of(PAGES[name])) == list(rows_of(fresh))
    for same in ("command", "batch", "epochs", "input", "changed", "batches an epoch"):
        assert rows_of(PAGES[name])[same] == rows_of(fresh)[same], f"{same} of the suite is another"
    for protocol in load_suite(name).protocols:
        assert f"- {protocol}: `" in head(PAGES[name])
    assert f"## Leaderboard: {name}" in PAGES[name]


@pytest.mark.parametrize("name", PAGES)
def test_the_head_agrees_with_the_leaderboard_below_it(name):
    page, told = PAGES[name], rows_of(PAGES[name])
    below = page[page.index("### How it was measured") :]
    assert f"- commit: {told['commit']}\n" in below
    assert f"- cells: {told['cells'].split(';')[0]}\n" in below
    firsts = re.findall(r"- (\w+): `(\w+)` comes first with a Dice of (.*?\])", page)
    assert [protocol for protocol, *_ in firsts] == list(load_suite(name).protocols)
    for protocol, system, dice in firsts:
        table = page[page.index(f"### Protocol {protocol}\n") :]
        table = table[table.index("#### lungs\n") :]
        assert re.search(rf"\| 1 \| {system} [^|]*\| {re.escape(dice)} \|", table)


def test_the_head_tells_what_was_recorded(runs):
    suite = SCRIPT.Measured(runs / "quick")
    told = dict(SCRIPT.facts(suite))
    assert told["time"].startswith("4.5 minutes from the first start to the last end, 6.0 minutes")
    assert told["device"] == "cpu, 1 process(es) of 3 thread(s) a cell, 2 cells at a time at most"
    assert told["commit"] == "abc123" and told["cells"].startswith("4 of 4 done; systems: 2;")
    assert "scored on 64 × 64 pixels" in told["data of m_to_s"]
    said = "\n".join(SCRIPT.findings(suite))
    assert "`unet` comes first with a Dice of 0.9" in said
    assert "(0.960 → 0.9" in said
    critics = SCRIPT.findings(SCRIPT.Measured(runs / "zoo"))[-1]
    assert "cells whose critic joins after pre-training (of 6 epochs)" in critics
    counts = [int(n) for n in NUMBER.findall(critics)]
    assert counts[0] == counts[2] and counts[-2:] == [9, 9]


def test_a_leaderboard_of_other_rows_is_refused(runs, tmp_path):
    suite = SCRIPT.Measured(runs / "quick")
    record = next(cell for cell in suite.done if cell.system == "unet")
    files = CellFolder.of(runs / "quick", *record.key)
    before = files.record_file.read_text()
    files.update(rows_digest="another")
    with pytest.raises(SystemExit, match="rows of its cells are others"):
        SCRIPT.Measured(runs / "quick")
    files.record_file.write_text(before)
    with pytest.raises(SystemExit, match="is missing or torn"):
        SCRIPT.Measured(tmp_path)


def test_the_readme_takes_the_head_of_a_suite(runs):
    suite, with_rows = SCRIPT.Measured(runs / "quick"), docs_script("make_readme").with_rows
    filled = with_rows("Before\n\n<!-- quick -->\n<!-- end -->\n\nAfter\n", suite)
    assert filled.startswith("Before\n\n<!-- quick -->\n\n> **PHANTOM DATA.**")
    assert filled.endswith("\n\n<!-- end -->\n\nAfter\n")
    assert "PHANTOM DATA" in filled
    assert "| Montgomery → Shenzhen | 1 | unet | 0.9" in filled
    assert "|  | 2 | mean_shape (floor) | 0.3" in filled
    assert with_rows(filled, suite) == filled
    with pytest.raises(SystemExit, match="<!-- quick --> … <!-- end --> 0 times"):
        with_rows("no marks", suite)

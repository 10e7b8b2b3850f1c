"""Text of strangers (case ids, reasons, versions, subgroups) is text in every export."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from leaderboards.board import build_leaderboard
from leaderboards.collect import collect
from leaderboards.manuscript.latex import latex_escape
from leaderboards.texts import escape
from leaderboards.writers import as_csv

RowMaker = Callable[..., pd.DataFrame]
CellWriter = Callable[..., Path]

SCRIPT = "<script>alert(1)</script>"
FORMULA = "=cmd|' /C calc'!A0"
HOSTILE = f"{FORMULA} {SCRIPT} | `x` \\input{{a}} $x$ [a](javascript:b) \x1b[31m"


@pytest.fixture
def folder(make_rows: RowMaker, write_cell: CellWriter) -> Path:
    """A leaderboard of cells that tell hostile things."""
    about = {
        "versions": {SCRIPT: HOSTILE}, "commit": HOSTILE, "device": HOSTILE, "split_hash": HOSTILE,
        "train_on": HOSTILE, "suite": HOSTILE,
    }  # fmt: skip
    cases = {f"{FORMULA}{k}": 0.9 + k / 1000 for k in range(30)}
    rows = make_rows("unet", cases, suite=HOSTILE, train_on=HOSTILE, sex=HOSTILE)
    rows["finding"] = [HOSTILE, "normal"] * 15
    write_cell(rows, **about)
    tool = {"tool": HOSTILE, "train_on": HOSTILE}
    write_cell(rows.assign(system="theirs", dice=0.8), **about, external=tool)
    suite = write_cell(make_rows("other", {"a": 0.5}), state="failed", reason=HOSTILE)
    return build_leaderboard(suite, protocols={"m_to_s": HOSTILE}, draws=50)


def test_no_export_runs_anything(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".md", ".html", ".svg", ".tex", ".bib", ".csv"):
            text = path.read_text("utf-8")
            if path.suffix != ".csv":
                assert "<script>alert" not in text and "\x1b" not in text, path
        if path.suffix == ".csv":
            with path.open(newline="") as file:
                for row in csv.reader(file):
                    assert not any(cell.startswith(("=", "+", "@", "\t")) for cell in row), path


def test_a_table_of_formulas_is_one_of_texts() -> None:
    table = pd.DataFrame({"group": [FORMULA, "a", None], "gap": [-0.25, 1.0, None]})
    assert as_csv(table) == f"group,gap\n'{FORMULA},-0.25\na,1\n,\n"
    assert list(table["group"])[:2] == [FORMULA, "a"]


def test_markdown_tables_keep_their_columns(folder: Path) -> None:
    for name in ("leaderboard.md", "methods.md"):
        blocks = (folder / name).read_text("utf-8").split("\n\n")
        for block in blocks:
            lines = [line for line in block.splitlines() if line.startswith("|")]
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) <= 1, block


def test_latex_takes_no_command_from_a_name(folder: Path) -> None:
    text = (folder / "leaderboard.tex").read_text("utf-8")
    assert "\\input{" not in text and r"\textbackslash{}input\{a\}" in text
    assert latex_escape("a\\b{c}$d$ %e\nf") == r"a\textbackslash{}b\{c\}\$d\$ \%e f"


@pytest.mark.parametrize(
    "text", ["# a", "- a", "> a", "= a", "~~~", "`a`", "a|b", "\x1b[31m", "a\nb"]
)
def test_no_sign_of_markdown_is_left(text: str) -> None:
    said = escape(text)
    assert "\n" not in said and said.isprintable()
    assert not re.match(r"[#\-=~>]", said) and not re.search(r"(?<!\\)[`|]", said)


@pytest.mark.parametrize("name", ["<script>", "a b", "a|b", "`a`", "=cmd"])
def test_a_folder_whose_name_is_no_name_is_no_cell(
    name: str, make_rows: RowMaker, write_cell: CellWriter
) -> None:
    write_cell(make_rows("unet", {"a": 0.9}))
    suite = write_cell(make_rows(name, {"a": 0.9}))
    said: list[str] = []
    cases, cells = collect(suite, tell=said.append)
    assert cases["system"].to_pylist() == ["unet"] and "found the name" in said[0]
    assert [cell.state for cell in cells if cell.system != "unet"] == ["failed"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"suite": "another"}, "rows of another suite"),
        ({"system": "another"}, "rows of another system"),
        ({"protocol": "jsrt"}, "rows of another protocol"),
        ({"test_on": "../../x"}, "test_on '../../x'"),
        ({"unit": "pixel"}, "unit"),
    ],
)
def test_rows_of_foreign_names_are_named(
    wrong: dict[str, str], told: str, make_rows: RowMaker, write_cell: CellWriter
) -> None:
    suite = write_cell(make_rows("unet", {"a": 0.9}))
    cell = next(suite.glob("cells/*/*/*"))
    make_rows("unet", {"a": 0.9}).assign(**wrong).to_parquet(cell / "cases.parquet", index=False)
    said: list[str] = []
    assert collect(suite, tell=said.append)[0].num_rows == 0
    assert told in said[0] and json.loads((cell / "cell.json").read_text())["state"] == "done"

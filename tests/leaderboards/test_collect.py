"""Reading cells back: what is taken, what is refused, and that the message names the file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from contract.cell_folder import CellFolder
from contract.cell_record import CellRecord
from contract.errors import UserError
from contract.rows import CASE_SCHEMA
from leaderboards.collect import collect

RowMaker = Callable[..., pd.DataFrame]
CellWriter = Callable[..., Path]


def test_collects_rows_of_done_cells_and_records_of_all(
    make_rows: RowMaker, write_cell: CellWriter
) -> None:
    write_cell(make_rows("a", {"c1": 0.9, "c2": 0.8}))
    write_cell(make_rows("a", {"c1": 0.7, "c2": 0.8}, seed=1))
    suite = write_cell(make_rows("b", {"c1": 0.7}), state="failed", reason="out of memory")
    cases, cells = collect(suite)
    assert cases.schema.equals(CASE_SCHEMA)
    assert cases.num_rows == 4
    assert [(c.system, c.seed, c.state) for c in cells] == [
        ("a", 0, "done"), ("a", 1, "done"), ("b", 0, "failed"),
    ]  # fmt: skip
    assert cells[2].reason == "out of memory"


def test_an_outdated_cell_is_stale_and_gives_no_rows(
    make_rows: RowMaker, write_cell: CellWriter
) -> None:
    for name in ("same", "changed", "gone"):
        suite = write_cell(make_rows(name, {"c1": 0.9}), config_hash="old")
    current = {("same", "m_to_s", 0): "old", ("changed", "m_to_s", 0): "new"}
    cases, cells = collect(suite, current)
    assert cases["system"].to_pylist() == ["same"]
    states = {c.system: c.state for c in cells}
    assert states == {"same": "done", "changed": "stale", "gone": "stale"}
    assert all(c.reason for c in cells if c.state == "stale")


def test_a_folder_without_cell_json_is_pending(make_rows: RowMaker, write_cell: CellWriter) -> None:
    suite = write_cell(make_rows("a", {"c1": 0.9}))
    (suite / "cells/b/m_to_s/seed-4").mkdir(parents=True)
    assert [(c.system, c.seed, c.state) for c in collect(suite)[1]][1] == ("b", 4, "pending")


def test_a_folder_without_cells_is_the_users_fault(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no cells"):
        collect(tmp_path)


def spoil_dice(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(dice=1.2)


FAULTS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "missing column": (lambda rows: rows.drop(columns="nsd"), "without nsd"),
    "unknown column": (lambda rows: rows.assign(surprise=1), "unknown surprise"),
    "duplicate": (lambda rows: pd.concat([rows, rows.iloc[:1]]), "duplicate rows.*c1"),
    "range": (spoil_dice, "dice null or outside"),
    "null": (lambda rows: rows.assign(case_id=None), "nulls in case_id"),
    "infinite": (lambda rows: rows.assign(hausdorff_px=np.inf), "NaN or infinity in hausdorff_px"),
    "word": (lambda rows: rows.assign(structure="liver"), "liver"),
    "type": (lambda rows: rows.assign(height="tall"), "tall"),
    "other cell": (lambda rows: rows.assign(seed=3), "rows of another seed"),
    "too few": (lambda rows: rows.iloc[:1], "1 test images.*expected 2"),
    "empty": (lambda rows: rows.iloc[:0], "no rows"),
}


def told(suite: Path) -> tuple[str, CellRecord]:
    """What is said of a suite whose one cell is faulty, and the record of that cell."""
    said: list[str] = []
    cases, cells = collect(suite, tell=said.append)
    assert cases.num_rows == 0 and len(said) == len(cells) == 1
    assert cells[0].state == "failed" and cells[0].reason == said[0]
    return said[0], cells[0]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_cell_of_faulty_rows_has_failed_with_the_file_named(
    fault: str, make_rows: RowMaker, write_cell: CellWriter
) -> None:
    spoil, message = FAULTS[fault]
    rows = make_rows("a", {"c1": 0.9, "c2": 0.8})
    suite = write_cell(rows)
    path = suite / "cells/a/m_to_s/seed-0/cases.parquet"
    spoil(rows).to_parquet(path, index=False)
    said, _ = told(suite)
    assert said.startswith(f"{path}: ") and re.search(message, said)


def test_the_other_cells_make_the_leaderboard(make_rows: RowMaker, write_cell: CellWriter) -> None:
    for name in ("a", "b"):
        suite = write_cell(make_rows(name, {"c1": 0.9, "c2": 0.8}))
    (suite / "cells/a/m_to_s/seed-0/cases.parquet").write_bytes(b"torn")
    (suite / "cells/b/m_to_s/seed-x").mkdir()
    said: list[str] = []
    cases, cells = collect(suite, tell=said.append)
    assert cases["system"].to_pylist() == ["b", "b"]
    assert [(cell.system, cell.state) for cell in cells] == [("a", "failed"), ("b", "done")]
    assert len(said) == 2 and "cases.parquet" in said[0] and "seed-x" in said[1]
    with pytest.warns(UserWarning, match=r"cases\.parquet"):
        collect(suite)


def test_rows_are_what_their_record_vouches_for(
    make_rows: RowMaker, write_cell: CellWriter
) -> None:
    suite = write_cell(make_rows("a", {"c1": 0.9, "c2": 0.8}))
    cell = CellFolder(suite / "cells/a/m_to_s/seed-0")
    cell.update(**cell.write_rows(cell.read_rows()))
    assert collect(suite)[1][0].is_done
    better = cell.read_rows().to_pandas().assign(dice=0.99)
    better.to_parquet(cell.rows_file, index=False)
    assert "vouches" in told(suite)[0] or "bytes" in told(suite)[0]
    cell.rows_file.unlink()
    assert "is missing" in told(suite)[0]


@pytest.mark.parametrize("content", ["{", "[]", '{"system": "a"}', '{"wall_s": "long"}'])
def test_a_cell_of_an_unreadable_cell_json_has_failed(
    content: str, make_rows: RowMaker, write_cell: CellWriter
) -> None:
    suite = write_cell(make_rows("a", {"c1": 0.9}))
    path = suite / "cells/a/m_to_s/seed-0/cell.json"
    if "wall_s" in content:
        content = json.dumps(json.loads(path.read_text()) | json.loads(content))
    path.write_text(content)
    said, record = told(suite)
    assert said.startswith(f"{path}: ") and record.key == ("a", "m_to_s", 0)


@pytest.mark.parametrize("wrong", [{"state": "finished"}, {"system": "b"}, {"seed": 5}])
def test_a_cell_of_a_cell_json_of_another_cell_or_state_has_failed(
    wrong: dict[str, object], make_rows: RowMaker, write_cell: CellWriter
) -> None:
    suite = write_cell(make_rows("a", {"c1": 0.9}))
    path = suite / "cells/a/m_to_s/seed-0/cell.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    assert "cell.json" in told(suite)[0]


def test_a_done_cell_without_rows_has_failed(make_rows: RowMaker, write_cell: CellWriter) -> None:
    suite = write_cell(make_rows("a", {"c1": 0.9}))
    path = suite / "cells/a/m_to_s/seed-0/cases.parquet"
    path.unlink()
    assert "cases.parquet is missing" in told(suite)[0]
    path.write_bytes(b"not parquet")
    assert "cases.parquet cannot be read" in told(suite)[0]

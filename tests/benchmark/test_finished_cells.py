"""A finished cell is what its files say: damaged rows are seen, named and made again."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import yaml

from benchmark.cell.cell import Cell
from benchmark.cell.fit import fit
from benchmark.planning.plan import Plan, make_plan
from benchmark.running import run as running
from benchmark.running.report import as_objects, print_cells
from benchmark.running.run import tell_of_damage
from contract.cell_folder import CellFolder
from leaderboards.products import PRODUCTS, faults


@pytest.fixture
def plan(trained_runs, phantom_root, tmp_path) -> Plan:
    """A plan of two finished cells that may be damaged."""
    shutil.copytree(trained_runs / "tiny", tmp_path / "runs" / "tiny")
    return make_plan(str(trained_runs.parent / "tiny.yaml"), tmp_path / "runs", phantom_root)


def rewrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def zeros(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[500:900] = bytes(400)
    path.write_bytes(content)


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = {
    "missing": (Path.unlink, "is missing"),
    "truncated": (lambda path: rewrite(path, path.read_bytes()[:-100]), "bytes, its record says"),
    "empty": (lambda path: rewrite(path, b""), "has 0 bytes"),
    "longer": (lambda path: rewrite(path, path.read_bytes() + b"\0"), "bytes, its record says"),
    "zeros": (zeros, "vouches for"),
    "a folder": (become_a_folder, "cases.parquet"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_rows_make_a_finished_cell_a_failed_one(plan, damage, capsys):
    first, second = plan.cells
    assert [cell.state() for cell in plan.cells] == [("done", "")] * 2
    harm, said = DAMAGES[damage]
    harm(first.files.rows_file)
    state, reason = first.state()
    assert state == "failed" and said in reason and reason.endswith("`run` tests the cell again")
    assert second.state()[0] == "done"
    assert [one["state"] for one in as_objects(plan.cells)] == ["failed", "done"]
    capsys.readouterr()
    tell_of_damage({cell: cell.state() for cell in plan.cells})
    assert capsys.readouterr().out == f"{first.name}: {reason}\n"


def test_a_record_without_a_digest_needs_rows_that_can_be_read(plan):
    cell = plan.cells[0]
    content = json.loads(cell.files.record_file.read_text())
    del content["rows_digest"], content["rows_bytes"]
    cell.files.record_file.write_text(json.dumps(content))
    assert cell.state()[0] == "done"
    cell.files.rows_file.write_bytes(cell.files.rows_file.read_bytes()[:-100])
    assert cell.state() == ("failed", "cases.parquet cannot be read; `run` tests the cell again")


@pytest.mark.parametrize(
    "wrong",
    [
        {"wall_s": "long"}, {"wall_s": float("nan")}, {"seed": "0"}, {"seed": True},
        {"versions": ["torch"]}, {"versions": {"torch": 2}}, {"state": "finished"},
        {"n_test": 1 << 70}, {"phantom": "no"}, {"folds": 1.5}, {"external": "a tool"},
        {"rows_digest": 7}, {"reason": ["[/red]"]},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_with_an_impossible_entry_is_none(plan, wrong, capsys):
    cell = plan.cells[0]
    content = json.loads(cell.files.record_file.read_text()) | wrong
    cell.files.record_file.write_text(json.dumps(content))
    assert cell.state()[0] == "pending"


def test_a_record_of_another_cell_is_not_believed(plan):
    first, second = plan.cells
    shutil.copy(second.files.record_file, first.files.record_file)
    state, reason = first.state()
    assert state == "stale" or (state == "failed" and "is of another cell, unet m_to_s" in reason)


def test_a_reason_of_any_signs_is_printed(plan, capsys):
    plan.cells[0].files.update(state="failed", reason="[/red] \x1b[31m [bold]a\nb")
    print_cells("title", plan.cells, logs=True)
    told = capsys.readouterr().out
    assert "[/red]" in told and "\x1b" not in told


def again(cell: Cell, tmp_path: Path) -> None:
    config = tmp_path / "again.yaml"
    config.write_text(yaml.safe_dump(cell.config))
    fit(config, cell.folder)


def test_lost_rows_are_tested_again_without_training(plan, tmp_path, capsys):
    cell = plan.cells[0]
    before, wall = cell.files.rows_file.read_bytes(), cell.files.record.wall_s
    cell.files.rows_file.unlink()
    again(cell, tmp_path)
    told = capsys.readouterr().out
    assert "cases.parquet is missing; tested again" in told and "starts anew" not in told
    assert cell.files.rows_file.read_bytes() == before and cell.state() == ("done", "")
    assert cell.files.record.wall_s > wall
    again(cell, tmp_path)
    assert "is done already; nothing to do" in capsys.readouterr().out


def test_without_rows_and_weights_the_cell_is_trained_again(plan, tmp_path, capsys):
    cell = plan.cells[0]
    before = cell.files.rows_file.read_bytes()
    cell.files.rows_file.write_bytes(b"")
    checkpoints = cell.files.checkpoints()
    newest = checkpoints.resumable()[0]
    for name in ("best", "last"):
        weights = checkpoints.weights(name)
        weights.write_bytes(weights.read_bytes()[:-500])
    again(cell, tmp_path)
    assert "is torn or truncated; training starts anew" in capsys.readouterr().out
    assert cell.files.rows_file.read_bytes() == before and cell.state() == ("done", "")
    assert newest.with_suffix(".unusable").exists() and newest.exists()


@pytest.fixture
def board(plan, phantom_root, tmp_path, capsys) -> Path:
    """The leaderboard's folder, built."""
    runs = tmp_path / "runs"
    folder = running.leaderboard_if_changed(plan, False, phantom_root, runs)
    capsys.readouterr()
    assert running.leaderboard_if_changed(plan, False, phantom_root, runs) == folder
    assert not capsys.readouterr().out
    return folder


def test_any_missing_or_torn_product_is_built_again(plan, board, phantom_root, tmp_path, capsys):
    products = sorted(path for path in board.rglob("*") if path.is_file())
    named = set(json.loads((board / PRODUCTS).read_text())["files"])
    found = {path.relative_to(board).as_posix() for path in products}
    assert named == found - {PRODUCTS} and len(named) > 15
    whole = {path: path.read_bytes() for path in products}
    records = {(c.system, c.protocol, c.seed): c.files.record for c in plan.cells}
    for path in products:
        for harm in (Path.unlink, lambda path: rewrite(path, path.read_bytes()[:-9])):
            harm(path)
            name = path.relative_to(board).as_posix()
            assert [said.split(" ")[0] for said in faults(board, records)] == [name]
            path.write_bytes(whole[path])
    assert not faults(board, records)
    (board / "leaderboard.html").unlink()
    next(board.glob("figures/*.svg")).write_bytes(b"<svg")
    running.leaderboard_if_changed(plan, False, phantom_root, tmp_path / "runs")
    assert "leaderboard is built again: figures/" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in products}.keys() == whole.keys()
    assert (board / "leaderboard.csv").read_bytes() == whole[board / "leaderboard.csv"]


def test_a_cell_whose_rows_are_lost_leaves_the_leaderboard_and_is_named(
    plan, board, phantom_root, tmp_path, capsys
):
    plan.cells[0].files.rows_file.unlink()
    running.leaderboard_if_changed(plan, False, phantom_root, tmp_path / "runs")
    told = capsys.readouterr().out
    assert "the rows of its cells are others by now" in told and "cases.parquet is missing" in told
    assert "Cells without a result" in (board / "leaderboard.md").read_text()
    assert running.leaderboard_faults(plan) == []


def test_two_thousand_finished_cells_are_opened_in_seconds(trained_runs, tmp_path):
    source = CellFolder.of(trained_runs / "tiny", "unet", "m_to_s", 0)
    suite = tmp_path / "many"
    content, rows = json.loads(source.record_file.read_text()), source.rows_file.read_bytes()
    cells = []
    for seed in range(2000):
        files = CellFolder.of(suite, "unet", "m_to_s", seed)
        files.path.mkdir(parents=True)
        files.record_file.write_text(json.dumps({**content, "seed": seed}))
        files.rows_file.write_bytes(rows)
        cells.append(
            Cell("many", "unet", "m_to_s", seed, files.path, "m", "s",
                 config_hash=content["config_hash"])
        )  # fmt: skip
    os.truncate(cells[7].files.rows_file, 100)
    started = time.process_time()
    states = [cell.state()[0] for _ in range(3) for cell in cells]
    assert time.process_time() - started < 5
    assert states.count("failed") == 3 and states.count("done") == 3 * 1999

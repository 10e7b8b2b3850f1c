"""A cell on disk has one owner: the layout, the record, rows and checkpoints."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest

from contract.cell_folder import (
    EVERY_CELL,
    LAYOUT,
    CellFolder,
    cell_name,
    cells_of,
    has_cells,
    offline_runs_of,
    recorded_cells_of,
    suite_folders,
)
from contract.cell_record import NOTHING, CellRecord
from contract.errors import DataError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite's folder with two recorded cells, one bare one and results set aside."""
    suite = tmp_path / "a folder" / "quick"
    for seed in (0, 10):
        CellFolder.of(suite, "unet", "m_to_s", seed).update(state="done")
    bare = CellFolder.of(suite, "unet", "jsrt", 0)
    bare.path.mkdir(parents=True)
    aside = CellFolder.of(suite, "unet", "m_to_s", 0).set_aside("0123")
    CellFolder(aside).update(state="done")
    return suite


def test_the_layout_is_spelled_in_one_file() -> None:
    """Whoever needs a cell's place asks for it, in messages and in shell text too."""
    rooms = [room.parent for room in ROOT.glob("*/__init__.py") if room.parent.name != "tests"]
    assert len(rooms) >= 5
    spelled = {
        str(path.relative_to(ROOT))
        for room in rooms
        for path in (*room.rglob("*.py"), *room.rglob("*.sh"))
        for text in ("seed-", "cells/*", '"cell.json"', '"config.yaml"', '"checkpoints"')
        if text in path.read_text("utf-8")
    }
    assert spelled == {"contract/cell_folder.py"}


def test_pattern_and_words_are_of_the_folder_that_is_made(suite: Path) -> None:
    cell = CellFolder.of(suite, "unet", "m_to_s", 10)
    place = cell.path.relative_to(suite)
    assert place.match(EVERY_CELL) and cell.path in suite.glob(EVERY_CELL)
    words = LAYOUT
    for part, name in (("<system>", "unet"), ("<protocol>", "m_to_s"), ("<n>", "10")):
        words = words.replace(part, name)
    assert place.as_posix() == words
    assert place.name in cell_name("unet", "m_to_s", 10)


def test_all_cells_of_a_suite_are_found_and_none_set_aside(suite: Path) -> None:
    keys = [("unet", "jsrt", 0), ("unet", "m_to_s", 0), ("unet", "m_to_s", 10)]
    assert [cell.key for cell in cells_of(suite)] == keys
    assert [cell.key for cell in recorded_cells_of(suite)] == keys[1:]
    assert {cell.suite_folder for cell in cells_of(suite)} == {suite}
    assert has_cells(suite) and not has_cells(suite.parent)


def test_suites_are_found_by_a_protocol_of_theirs(suite: Path) -> None:
    runs = suite.parent
    (runs / "cache").mkdir()
    CellFolder.of(runs / "zoo", "unet", "s_to_m", 0).path.mkdir(parents=True)
    assert [folder.name for folder in suite_folders(runs)] == ["quick", "zoo"]
    assert suite_folders(runs, "jsrt") == [suite]


def test_a_shell_finds_offline_runs_in_a_path_with_a_space(suite: Path) -> None:
    run = CellFolder.of(suite, "unet", "m_to_s", 0).wandb / "offline-run-1-x"
    run.mkdir(parents=True)
    ended = subprocess.run(
        ["bash", "-c", f"ls -d {offline_runs_of(suite)}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.strip() == str(run)
    assert shlex.split(offline_runs_of(suite))[0].startswith(str(suite))


def test_a_folder_without_a_seeds_number_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"first: found seed 'first'; expected seed-<n>"):
        _ = CellFolder(tmp_path / "cells" / "unet" / "m_to_s" / "seed-first").key


def test_an_update_keeps_what_it_does_not_name(tmp_path: Path) -> None:
    cell = CellFolder(tmp_path / "again")
    assert cell.record == NOTHING
    cell.update(system="unet", state="running", wandb_id=None)
    cell.record_file.write_text(json.dumps({**json.loads(cell.record_file.read_text()), "own": 1}))
    cell.update(state="done", wall_s=2.5)
    written = {"system": "unet", "state": "done", "wandb_id": None, "own": 1, "wall_s": 2.5}
    assert json.loads(cell.record_file.read_text()) == written
    assert cell.record == CellRecord("unet", state="done", wall_s=2.5)
    assert [path.name for path in cell.path.iterdir()] == [cell.record_file.name]


def test_an_unknown_entry_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    cell = CellFolder(tmp_path)
    with pytest.raises(TypeError, match="no entry val_dise"):
        cell.update(state="done", val_dise=0.9)
    assert not cell.record_file.exists()


@pytest.mark.parametrize("content", ["{", "[1]", "3", '{"system": "unet", "seed": 0}', "\udcff"])
def test_a_damaged_record_is_none_at_all_or_told(tmp_path: Path, content: str) -> None:
    cell = CellFolder(tmp_path)
    assert cell.require_record() == NOTHING
    cell.record_file.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert not cell.record.is_done
    with pytest.raises(DataError, match="expected a JSON object that describes a cell"):
        cell.require_record()


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    cell, rows = CellFolder(tmp_path / "new"), pa.table({"dice": [0.5, None]})
    cell.write_rows(rows)
    assert cell.read_rows().equals(rows)
    cell.rows_file.write_bytes(b"torn")
    with pytest.raises(DataError, match="the rows of a finished cell"):
        cell.read_rows()


def test_checkpoints_of_all_folds_are_named_alike(tmp_path: Path) -> None:
    cell = CellFolder(tmp_path)
    assert cell.every_checkpoints() == [cell.checkpoints()]
    for fold in (0, 2, 10):
        folder = cell.checkpoints(fold)
        folder.path.mkdir(parents=True)
        for epochs in (9, 10, 100):
            folder.after(epochs).touch()
        folder.weights("best").touch()
        assert folder.resumable() == [folder.after(epochs) for epochs in (100, 10, 9)]
    assert cell.every_checkpoints() == [cell.checkpoints(fold) for fold in (0, 2, 10)]

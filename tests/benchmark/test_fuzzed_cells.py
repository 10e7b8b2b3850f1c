"""Records, rows, progress and checkpoints with any damage: states and messages, no other row."""

from __future__ import annotations

import contextlib
import io
import json
import shutil

import fuzzing
import numpy as np
import pytest

from benchmark.cell.checkpoints import find_resumable
from benchmark.planning.plan import make_plan
from benchmark.progress import read_progress
from benchmark.running.report import as_objects, print_cells
from contract.words import STATES
from leaderboards.collect import collect

DAMAGES = [one for one in fuzzing.MUTATIONS if one is not fuzzing.mutate_chunks]
VALUES = (
    None,
    True,
    -1,
    0,
    7,
    1e400,
    -1e300,
    1 << 80,
    "",
    "x",
    "[/red]",
    "\x1b[31m",
    [],
    {},
    [[1]],
)


def change_an_entry(content: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """Give one entry of a JSON object a value of any kind."""
    said = json.loads(content)
    said[list(said)[random.integers(len(said))]] = VALUES[random.integers(len(VALUES))]
    return json.dumps(said).encode()


@pytest.fixture(scope="module")
def plan(trained_runs, phantom_root, tmp_path_factory):
    home = tmp_path_factory.mktemp("fuzzed") / "runs"
    shutil.copytree(trained_runs / "tiny", home / "tiny")
    return make_plan(str(trained_runs.parent / "tiny.yaml"), home, phantom_root)


@pytest.mark.parametrize("name", ["cell.json", "cases.parquet"])
def test_a_cell_of_any_content_has_a_state_and_gives_its_own_rows_or_none(plan, name):
    cell, random = plan.cells[0], np.random.default_rng(0)
    path = cell.folder / name
    whole, other = path.read_bytes(), (plan.cells[1].folder / name).read_bytes()
    rows, records = collect(plan.folder)
    rows = rows.drop_columns(["reduced"])  # the record's own word, copied to each row
    theirs = rows.filter(rows["seed"].to_numpy() != cell.seed)
    damages = [*DAMAGES, change_an_entry, change_an_entry] if name == "cell.json" else DAMAGES
    seen = set()
    for number in range(500):
        path.write_bytes(damages[number % len(damages)](whole, other, random))
        state, reason = cell.state()
        assert state in STATES and isinstance(reason, str)
        as_objects([cell])
        with contextlib.redirect_stdout(io.StringIO()):
            print_cells("cells", [cell], logs=True)
        said: list[str] = []
        found, told = collect(plan.folder, tell=said.append)
        assert len(told) == len(records)
        found = found.drop_columns(["reduced"])
        assert found.equals(rows) or found.equals(theirs), number
        if path.read_bytes() != whole and name == "cases.parquet":
            assert state == "failed" and len(said) == 1
        seen.add(state)
    path.write_bytes(whole)
    assert cell.state() == ("done", "") and seen & {"failed", "pending"}


def test_progress_of_any_content_is_told_or_left_out(tmp_path):
    path, random = tmp_path / "progress.json", np.random.default_rng(1)
    whole = json.dumps({"done": 3, "total": 10, "what": "training"}).encode()
    for number in range(500):
        damages = [*DAMAGES, change_an_entry]
        path.write_bytes(damages[number % len(damages)](whole, whole[::-1], random))
        said = read_progress(path)
        assert said is None or (0 <= said.done < 1e12 and said.what.isprintable())


def test_a_checkpoint_of_any_content_is_resumed_whole_or_passed_over(plan):
    cell, random = plan.cells[0], np.random.default_rng(2)
    path = cell.files.checkpoints().resumable()[0]
    whole = path.read_bytes()
    for number in range(500):
        path.write_bytes(DAMAGES[number % len(DAMAGES)](whole, whole[::-1], random))
        found, complete, remarks = find_resumable(path.parent, cell.config_hash)
        if found == path:  # no byte that counts was changed
            assert complete and not remarks
        else:
            assert len(remarks) >= 1 and remarks[0].startswith(path.name)
    path.write_bytes(whole)

"""A cell's files and its cache with any damage: states and messages only, and never another row."""

from __future__ import annotations

import contextlib
import io
import json
import shutil

import fuzzing
import numpy as np
import pytest
import yaml

from benchmark.cell.checkpoints import find_resumable
from benchmark.cell.fit import _read_identity
from benchmark.cell.loading import read_config
from benchmark.planning.plan import make_plan
from benchmark.progress import read_progress
from benchmark.running.rebuild import _recorded_data
from benchmark.running.report import as_objects, print_cells
from benchmark.running.run import mend_configs
from contract.errors import UserError
from contract.files import digest_of
from contract.words import STATES
from datamodules.cache import prepare
from datamodules.cache_parts import ENTRIES, find_damage
from datamodules.preprocessing import Preprocessing
from datamodules.sources import open_source
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


def change_a_key(content: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """Give one key of a config, at any depth, a value of any kind."""
    said = yaml.safe_load(content)
    place = said
    while True:
        key = list(place)[random.integers(len(place))]
        if not (isinstance(place[key], dict) and place[key]) or random.random() < 0.2:
            place[key] = VALUES[random.integers(len(VALUES))]
            return yaml.safe_dump(said).encode()
        place = place[key]


def test_a_config_of_any_content_is_taken_or_refused_in_words_and_written_anew(plan, capsys):
    cell, random = plan.cells[0], np.random.default_rng(3)
    cell.write_config()
    path, other = cell.files.config, cell.files.record_file.read_bytes()
    whole = path.read_bytes()
    cell.files.update(config_digest=digest_of(path))
    refused = 0
    for number in range(400):
        damages = [*DAMAGES, change_a_key, change_a_key]
        path.write_bytes(damages[number % len(damages)](whole, other, random))
        list(_recorded_data(plan.folder))
        for read in (read_config, lambda config: _read_identity(config, [])):
            try:
                read(path)
            except UserError as error:
                refused += 1
                assert str(path) in str(error)
        assert cell.state() == ("done", "")
        if number % 20 == 0:
            changed = path.read_bytes() != whole
            mend_configs(plan)
            assert path.read_bytes() == whole
            told = capsys.readouterr().out
            assert ("was not the one that the cell was run by; written anew" in told) == changed
    assert refused > 200
    path.unlink()
    mend_configs(plan)
    assert path.read_bytes() == whole and cell.files.is_own_config(cell.files.record)


def test_entries_of_any_content_are_damage_that_is_built_anew(phantom_root, tmp_path):
    source, random = open_source("montgomery", phantom_root), np.random.default_rng(4)
    cases = source.cases()[:4]

    def opened():
        prepared = prepare(source, cases, Preprocessing(16), tmp_path)
        masks = [prepared.reference(i) for i in range(len(prepared.entries))]
        return (
            prepared.entries,
            prepared.places,
            [m.tobytes() for one in masks for m in one.values()],
        )

    sound = opened()
    (folder,) = (path for path in tmp_path.glob("montgomery-*") if path.is_dir())
    whole, found = (folder / ENTRIES).read_bytes(), 0
    for number in range(400):
        damages = [*DAMAGES, change_an_entry]
        harmed = damages[number % len(damages)](whole, whole[::-1], random)
        (folder / ENTRIES).write_bytes(harmed)
        told = find_damage(folder, whole=False)
        assert bool(told) == (harmed != whole) and (not told or ENTRIES in told)
        found += bool(told)
        if number % 20 == 0:
            assert opened() == sound
    assert found > 350

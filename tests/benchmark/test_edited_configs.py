"""A config that was edited by hand is no longer the one that its hash was given to."""

from __future__ import annotations

import json

import pytest
import yaml

from benchmark.cell.fit import _read_identity
from benchmark.cell.seal import seal_of
from benchmark.planning.plan import make_plan
from contract.cell_folder import CellFolder


@pytest.fixture(scope="module")
def composed(trained_runs, phantom_root):
    """A cell as planned."""
    plan = make_plan(str(trained_runs.parent / "tiny.yaml"), trained_runs, phantom_root)
    return plan.cells[0]


@pytest.fixture
def copied(composed, tmp_path):
    """Return a function that edits a copy of the cell's config and returns what it then is."""

    def edit(*path, value=None, text=None, extra=()):
        settings = yaml.safe_load(yaml.safe_dump(composed.config))
        place = settings
        for part in path[:-1]:
            place = place[part]
        if path:
            place[path[-1]] = value
        config = tmp_path / "copy.yaml"
        config.write_text((text or yaml.safe_dump)(settings))
        return _read_identity(config, extra)

    return edit


OWN = [
    ("trainer", "max_epochs"), ("model", "init_args", "generator", "init_args", "widths"),
    ("data", "init_args", "batch_size"), ("data", "init_args", "root"), ("seed_everything",),
    ("data", "init_args", "protocol", "split_seed"), ("cell", "system"), ("cell", "seed"),
    ("cell", "changes"), ("cell", "checkpoint"), ("cell", "seal"),
]  # fmt: skip
VALUES = {
    "widths": [4, 8], "root": "/elsewhere", "system": "another", "checkpoint": "last", "seal": "",
    "changes": [{"key": "a", "from": 1, "to": 2}],
}  # fmt: skip


@pytest.mark.parametrize("path", OWN, ids=".".join)
def test_an_edited_copy_has_an_identity_of_its_own_and_says_so(copied, composed, capsys, path):
    found = copied(*path, value=VALUES.get(path[-1], 7))
    assert found["config_hash"] != composed.config_hash and len(found["config_hash"]) == 16
    assert found["changes"][-1]["to"] == "edited by hand"
    told = capsys.readouterr().out
    assert "copy.yaml was edited since" in told and composed.config_hash in told
    assert copied(*path, value=VALUES.get(path[-1], 7)) == found
    assert copied("trainer", "max_epochs", value=11)["config_hash"] != found["config_hash"]


def backwards(settings):
    """Another order, another style and a remark."""
    turned = dict(reversed(settings.items()))
    return "# a remark\n" + json.dumps(turned, indent=3)


@pytest.mark.parametrize(
    "same",
    [
        {}, {"text": backwards}, {"path": ("trainer", "devices"), "value": 1},
        {"path": ("trainer", "accelerator"), "value": "cpu"},
        {"path": ("data", "init_args", "workers"), "value": 2},
        {"path": ("data", "init_args", "cache"), "value": "/elsewhere"},
        {"path": ("cell", "about"), "value": {"notes": "mine"}},
    ],
    ids=["nothing", "order and style", "devices", "accelerator", "workers", "cache", "remarks"],
)  # fmt: skip
def test_what_leaves_rows_as_they_are_is_no_edit(copied, composed, capsys, same):
    found = copied(*same.pop("path", ()), **same)
    assert found["config_hash"] == composed.config_hash
    assert found["changes"] == composed.config["cell"]["changes"]
    assert not capsys.readouterr().out


def test_a_config_that_claims_no_hash_needs_no_seal(copied):
    assert copied("cell", "config_hash", value="")["config_hash"] == ""


def test_arguments_change_the_hash_of_an_edited_copy_once_more(copied):
    edit = {"path": ("trainer", "max_epochs"), "value": 7}
    found = copied(*edit["path"], value=7)
    further = copied(*edit["path"], value=7, extra=["--data.init_args.batch_size=2"])
    assert further["config_hash"] != found["config_hash"]
    assert further["changes"][:-1] == found["changes"]


def test_what_a_finished_cell_keeps_is_whole(trained_runs, composed):
    for path in trained_runs.glob("tiny/cells/*/*/*/config.yaml"):
        settings = yaml.safe_load(path.read_text())
        assert settings["cell"]["seal"] == seal_of(settings)
        assert settings["cell"]["config_hash"] == CellFolder(path.parent).record.config_hash
        assert _read_identity(path, [])["config_hash"] == settings["cell"]["config_hash"]

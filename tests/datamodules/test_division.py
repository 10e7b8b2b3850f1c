"""A protocol meets its cases in one place, whoever asks: a plan, a DataModule or a check."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmark.planning.compose import without_description
from benchmark.planning.library import load_settings
from benchmark.planning.plan import make_plan
from datamodules.cross_dataset import CrossDataset
from datamodules.digests import no_progress
from datamodules.division import DividedProtocol, OpenedSet, split_hash
from datamodules.grounding import DataRoot, GroundedProtocol, ground
from datamodules.phantoms import write_phantoms
from datamodules.preprocessing import Preprocessing
from datamodules.protocol import Protocol
from datamodules.sources import open_source

ROOMS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    write_phantoms(root, montgomery=8, shenzhen=8, jsrt=20, size=32, jsrt_size=64)
    return root


def grounded(name: str, root: Path, cache: Path) -> GroundedProtocol:
    settings = load_settings("protocols", name)
    data = DataRoot(root, cache, no_progress)
    return ground(name, without_description(settings), Path(settings["folder"]), data)


@pytest.mark.parametrize(
    ("name", "seed", "fold"),
    [("m_to_s", 0, 0), ("jsrt", 1, 0), ("jsrt", 1, 1), ("jsrt_train10", 3, 0), ("all", 0, 0)],
)
def test_plan_and_datamodule_divide_alike(
    root: Path, tmp_path: Path, name: str, seed: int, fold: int
) -> None:
    planned = grounded(name, root, tmp_path)
    preprocessing = Preprocessing(size=16)
    data = CrossDataset(root, planned.rules, tmp_path, preprocessing, seed=seed, fold=fold)
    data.prepare_data()
    assert data.split == planned.splits(seed)[fold]
    assert data.phantom is planned.phantom is True


def test_a_plan_names_the_split_of_all_folds(root: Path, tmp_path: Path) -> None:
    suite = tmp_path / "folded.yaml"
    suite.write_text("systems: [mean_shape]\nprotocols: [jsrt]\nseeds: [0]\n")
    (cell,) = make_plan(str(suite), tmp_path, root).cells
    splits = grounded("jsrt", root, tmp_path).splits(seed=0)
    assert cell.split_hash == split_hash(splits)
    assert cell.split_hash.count("+") == 1
    assert cell.counts[2] == sum(len(split.test) for split in splits) == 20


def test_rules_meet_cases_in_one_place_alone() -> None:
    callers = [
        str(path.relative_to(ROOMS))
        for room in ("benchmark", "datamodules", "leaderboards", "lightning_modules")
        for path in sorted((ROOMS / room).rglob("*.py"))
        if _calls(path, "make_split")
    ]
    assert callers == ["datamodules/division.py"]


def _calls(path: Path, function: str) -> bool:
    found = [
        node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    ]
    return function in {getattr(name, "id", getattr(name, "attr", "")) for name in found}


def test_a_division_needs_no_digests_but_a_fingerprint_does(root: Path) -> None:
    source = open_source("jsrt", root)
    rules = Protocol(("jsrt",), ("jsrt",), held_out=0.2)
    divided = DividedProtocol(rules, {"jsrt": OpenedSet(source, source.cases())})
    assert divided.split(seed=0) is divided.split(seed=5)
    with pytest.raises(ValueError, match="shorter"):
        _ = divided.fingerprint

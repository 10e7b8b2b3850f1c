"""Whole protocols through plan, fit and leaderboard: the matrix, folds, own data."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from benchmark.cell.fit import fit
from benchmark.planning.plan import Selection, make_plan
from contract.errors import DataError, UserError
from datamodules.phantoms import write_jsrt, write_montgomery, write_shenzhen
from datamodules.sources import open_source
from leaderboards.board import build_leaderboard


@pytest.fixture(scope="module")
def three_sets(tmp_path_factory):
    """A data root with small phantoms of all three chest X-ray sets."""
    root = tmp_path_factory.mktemp("three")
    write_montgomery(root, 12, size=64)
    write_shenzhen(root, 14, size=64)
    write_jsrt(root, 12, size=64)
    return root


def run_all(plan, selection):
    """Fit the selected cells in this process, as the launcher does in others."""
    cells = selection.of(plan)
    for cell in cells:
        cell.folder.mkdir(parents=True)
        config = cell.folder / "config.yaml"
        config.write_text(yaml.safe_dump(cell.config))
        fit(config, cell.folder)
    return cells


@pytest.mark.slow
def test_the_cross_dataset_suite_ends_with_the_full_matrix(three_sets, tmp_path):
    changes = {"preprocessing.size": 32}
    plan = make_plan("cross_dataset", tmp_path, three_sets, changes)
    cells = run_all(plan, Selection(systems=["mean_shape"], seeds=[0]))
    table = pd.read_csv(build_leaderboard(plan.folder) / "leaderboard.csv")
    assert set(table["protocol"]) == {cell.protocol for cell in cells}
    lungs = table[table["structure"] == "lungs"].set_index("protocol")
    for train in "msj":
        for test in "msj":
            if train != test:
                assert (
                    lungs.loc[f"{train}_to_{test}", "n_cases"] == {"m": 12, "s": 14, "j": 12}[test]
                )
    for protocol in ("montgomery", "shenzhen", "jsrt", "all", "all_to_jsrt", "leave_jsrt_out"):
        assert protocol in lungs.index
    # SCR's two folds in one cell: every JSRT case is scored once.
    assert lungs.loc["jsrt", "n_cases"] == 12
    record = json.loads((cells[0].folder / "cell.json").read_text())
    assert record["folds"] == 2 and record["split_hash"].count("+") == 1
    assert record["split_hash"] == cells[0].split_hash


def test_damaged_data_stops_the_protocols_that_need_it_alone(three_sets, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    for folder in three_sets.iterdir():
        (root / folder.name).symlink_to(folder)
    (root / "MontgomerySet").unlink()
    (root / "MontgomerySet").write_text("not a folder")
    suite = tmp_path / "two.yaml"
    content = {"systems": ["mean_shape"], "protocols": ["jsrt_train10", "m_to_s"], "seeds": [0]}
    suite.write_text(yaml.safe_dump(content))
    with pytest.raises(DataError, match="MontgomerySet"):
        make_plan(str(suite), tmp_path / "runs", root)
    with pytest.raises(DataError, match="MontgomerySet"):
        make_plan(str(suite), tmp_path / "runs", root, wanted=["m_to_s"])
    plan = make_plan(str(suite), tmp_path / "runs", root, wanted=["jsrt_train10"])
    assert [cell.protocol for cell in plan.cells] == ["jsrt_train10"]
    (notice,) = plan.notices
    assert "m_to_s is left out" in notice and "MontgomerySet" in notice


def test_few_shot_cells_follow_the_seed_and_nest(three_sets, tmp_path):
    suite = tmp_path / "few.yaml"
    suite.write_text(
        yaml.safe_dump(
            {
                "systems": ["mean_shape"],
                "protocols": ["jsrt_train10", "jsrt_train20"],
                "seeds": [0, 1, 5],
            }
        )
    )
    plan = make_plan(str(suite), tmp_path / "runs", three_sets)
    hashes = {(c.protocol, c.seed): c.split_hash for c in plan.cells}
    assert hashes["jsrt_train10", 0] != hashes["jsrt_train10", 1]
    assert hashes["jsrt_train10", 0] == hashes["jsrt_train10", 5]


@pytest.mark.slow
def test_own_data_by_yaml_runs_against_montgomery_in_both_directions(three_sets, tmp_path):
    clinic = tmp_path / "Klinik für Röntgen"
    source = open_source("shenzhen", three_sets)
    for kind in ("images", "masks"):
        (clinic / kind).mkdir(parents=True)
    for number, case in enumerate(source.cases()):
        film = source.read_image(case)
        lungs = source.read_masks(case, film.shape)["lungs"]
        Image.fromarray(film).save(clinic / "images" / f"film {number}.png")
        Image.fromarray(lungs.astype(np.uint8) * 255).save(clinic / "masks" / f"film {number}.png")
    (tmp_path / "clinic.yaml").write_text(
        yaml.safe_dump(
            {"name": "clinic", "images": str(clinic / "images"), "masks": str(clinic / "masks")}
        )
    )
    for name, train, test in (
        ("m_to_clinic", "montgomery", "clinic.yaml"),
        ("clinic_to_m", "clinic.yaml", "montgomery"),
    ):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"train": [train], "test": [test]}))
    suite = tmp_path / "own.yaml"
    suite.write_text(
        yaml.safe_dump(
            {
                "systems": ["mean_shape"],
                "protocols": ["m_to_clinic.yaml", "clinic_to_m.yaml"],
                "overrides": {"preprocessing.size": 32},
            }
        )
    )
    plan = make_plan(str(suite), tmp_path / "runs", three_sets)
    assert [(c.train_on, c.test_on) for c in plan.cells] == [
        ("montgomery", "clinic"),
        ("clinic", "montgomery"),
    ]
    run_all(plan, Selection())
    table = pd.read_csv(build_leaderboard(plan.folder) / "leaderboard.csv")
    assert dict(zip(table["protocol"], table["n_cases"], strict=True)) == {
        "m_to_clinic": 14,
        "clinic_to_m": 12,
    }
    assert (table["dice_mean"] > 0.5).all()


def test_a_selection_of_unknown_names_is_refused(three_sets, tmp_path):
    plan = make_plan("smoke", tmp_path, three_sets)
    with pytest.raises(UserError, match="nonsense"):
        Selection(systems=["nonsense"]).of(plan)
    assert len(Selection(protocols=["m_to_s"]).of(plan)) == len(plan.systems)

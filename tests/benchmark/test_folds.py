"""Folds and a user's own lists of cases, from the protocol's YAML to the rows."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmark.__main__ import main
from benchmark.cell.fit import fit
from benchmark.planning.plan import make_plan
from contract.errors import UserError

FIVE = {"train": ["montgomery"], "test": ["montgomery"], "validation": 0.1, "folds": 5}


def suite(folder: Path, **protocols) -> Path:
    for name, rules in protocols.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(rules))
    path = folder / "suite.yaml"
    named = [f"{name}.yaml" for name in protocols]
    path.write_text(yaml.safe_dump({"systems": ["mean_shape"], "protocols": named}))
    return path


def planned(path: Path, root: Path):
    plan = make_plan(str(path), path.parent / "runs", root, {"preprocessing.size": 32})
    return {cell.protocol: cell for cell in plan.cells}


@pytest.fixture(scope="module")
def ran(tmp_path_factory, phantom_root):
    """Five folds by rule, and the same as nnU-Net's lists and as a table; the cells."""
    folder = tmp_path_factory.mktemp("folds")
    suite(folder, five=FIVE)
    command = ["data", "splits", "--data-root", str(phantom_root), "--out", str(folder / "lists")]
    assert main([*command, "--protocol", str(folder / "five.yaml")]) == 0
    listed = {"train": ["montgomery"], "test": ["montgomery"], "validation": 0.1}
    rules = {
        "five": FIVE,
        "nnunet": {**listed, "lists": "lists/splits_final.json"},
        "table": {**listed, "lists": "lists/cases.csv"},
    }
    cells = planned(suite(folder, **rules), phantom_root)
    for cell in cells.values():
        cell.folder.mkdir(parents=True)
        (cell.folder / "config.yaml").write_text(yaml.safe_dump(cell.config))
        fit(cell.folder / "config.yaml", cell.folder)
    return cells


def test_every_case_is_tested_once_and_no_patient_stands_on_two_sides(ran, phantom_root):
    cell = ran["five"]
    rows = pd.read_parquet(cell.folder / "cases.parquet").query("structure == 'lungs'")
    assert rows["case_id"].is_unique and len(rows) == 16
    record = json.loads((cell.folder / "cell.json").read_text())
    assert (record["folds"], record["n_test"]) == (5, 16)
    assert record["split_hash"] == cell.split_hash and cell.split_hash.count("+") == 4
    table = pd.read_csv(Path(cell.folder).parents[4].parent / "lists" / "cases.csv", dtype=str)
    patients = dict(zip(rows["case_id"], rows["patient_id"], strict=True))
    table["patient"] = table["case_id"].map(patients)
    assert table["patient"].notna().all()
    assert table.groupby(["fold", "patient"])["split"].nunique().eq(1).all()


@pytest.mark.parametrize("lists", ["nnunet", "table"])
def test_the_same_folds_as_lists_give_the_same_rows(ran, lists):
    rows = {name: pd.read_parquet(ran[name].folder / "cases.parquet") for name in ("five", lists)}
    assert ran[lists].split_hash == ran["five"].split_hash
    assert ran[lists].config_hash != ran["five"].config_hash
    pd.testing.assert_frame_equal(
        rows[lists].drop(columns="protocol"), rows["five"].drop(columns="protocol"),
        check_exact=True,
    )  # fmt: skip


def test_a_cell_is_known_by_what_its_lists_say_not_by_where_they_lie(ran, tmp_path, phantom_root):
    cell = ran["nnunet"]
    home = Path(cell.config["data"]["init_args"]["protocol"]["lists"])
    content = json.loads(home.read_text())
    moved = tmp_path / "elsewhere.json"
    rules = {"train": ["montgomery"], "test": ["montgomery"], "lists": "elsewhere.json"}
    moved.write_text(json.dumps([{key: v[::-1] for key, v in fold.items()} for fold in content]))
    assert planned(suite(tmp_path, x=rules), phantom_root)["x"].config_hash == cell.config_hash
    moved.write_text(json.dumps(content[::-1]))
    assert planned(suite(tmp_path, x=rules), phantom_root)["x"].config_hash != cell.config_hash


def test_a_config_never_trains_on_other_lists_than_it_was_planned_with(tmp_path, phantom_root):
    films = sorted(path.stem for path in phantom_root.rglob("CXR_png/MCU*.png"))
    sides = ["test"] * 4 + ["train"] * (len(films) - 4)
    lines = [",".join(line) for line in zip(films, sides, strict=True)]
    (tmp_path / "lists.csv").write_text("\n".join(["case_id,split", *lines]))
    rules = {"train": ["montgomery"], "test": ["montgomery"], "lists": "lists.csv"}
    cell = planned(suite(tmp_path, x=rules), phantom_root)["x"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(cell.config))
    lines[4] = lines[4].replace("train", "test")
    (tmp_path / "lists.csv").write_text("\n".join(["case_id,split", *lines]))
    with pytest.raises(UserError, match="other lists than those that were planned"):
        fit(tmp_path / "config.yaml", tmp_path / "out")


def test_lists_that_are_not_there_are_told_before_anything_is_read(tmp_path, phantom_root):
    rules = {"train": ["montgomery"], "test": ["montgomery"], "lists": "absent.json"}
    with pytest.raises(UserError, match=r"absent.json: found no readable file"):
        planned(suite(tmp_path, x=rules), phantom_root)

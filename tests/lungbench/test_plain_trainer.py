"""A plain Trainer with Lightning's defaults, on one process and on two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from plain_trainer import main

import lungbench
from datamodules.phantoms import write_montgomery

SCRIPT = Path(__file__).parents[1] / "helpers" / "plain_trainer.py"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A data root of 25 films, of which 5 test: more on one process than on the other."""
    folder = tmp_path_factory.mktemp("plain")
    write_montgomery(folder / "data", 25, size=64)
    return folder / "data", folder


@pytest.fixture(scope="module")
def one(places):
    root, out = places
    main(str(root), out, 1)
    return json.loads((out / "told-1.json").read_text())


def test_a_plain_trainer_returns_the_means_of_the_rows(one):
    dice = [row["dice"] for row in one["rows"] if row["structure"] == "lungs"]
    assert len(dice) == 5
    assert one["means"]["test/lungs/dice"] == pytest.approx(np.mean(dice), abs=1e-6)
    assert {name.split("/")[1] for name in one["means"]} == {"lungs"}


def test_masks_are_predicted_on_each_films_own_grid(one):
    scored = {row["case_id"] for row in one["rows"]}
    assert {entry["case"] for entry in one["predicted"]} == scored
    assert {max(entry["shape"]) for entry in one["predicted"]} == {64}


def test_its_checkpoint_reloads_and_the_reloaded_module_predicts_alike(one):
    loaded = lungbench.AdversarialSegmenter.load_from_checkpoint(one["checkpoint"])
    assert loaded.structures == ("background", "lungs")
    assert loaded.hparams["generator"]["init_args"]["widths"] == [4, 8]


@pytest.mark.slow
def test_two_processes_train_on_the_same_batches_and_score_every_case_once(one, places):
    root, out = places
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), str(root), str(out), "2"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=out, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    two = json.loads((out / "told-2.json").read_text())
    assert two["batches"] == one["batches"] and len(one["batches"]) == 2 * 4

    def scored(told):
        return sorted((row["case_id"], row["structure"]) for row in told["rows"])

    assert scored(two) == scored(one)
    assert sorted(e["case"] for e in two["predicted"]) == sorted(
        e["case"] for e in one["predicted"]
    )
    dice = {row["case_id"]: row["dice"] for row in one["rows"]}
    for row in two["rows"]:
        assert row["dice"] == pytest.approx(dice[row["case_id"]], abs=0.02)
    mean = np.mean([row["dice"] for row in two["rows"]])
    assert two["means"]["test/lungs/dice"] == pytest.approx(mean, abs=1e-6)

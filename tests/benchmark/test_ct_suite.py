"""CT from the command line to the leaderboard; two processes do exactly what one does."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmark.__main__ import main
from benchmark.planning.plan import make_plan
from contract.rows import METRICS
from datamodules.phantoms import write_ct_phantoms
from datamodules.phantoms.ct_chest import HEIGHT_MM

SLICES = 12


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Three cells of the suite smoke_ct, in two runs, on small phantoms; the suite's folder."""
    folder = tmp_path_factory.mktemp("ct")
    write_ct_phantoms(folder / "data", lidc=12, qin=8, size=64, slices=SLICES)
    arguments = ["--suite", "smoke_ct", "--runs", str(folder / "runs")]
    arguments += ["--data-root", str(folder / "data"), "--systems"]
    assert main(["run", *arguments, "lgan_baseline"]) == 0
    assert main(["run", *arguments, "mean_shape", "--protocols", "lidc"]) == 0
    return folder / "runs" / "smoke_ct"


def rows_of(cell):
    return pd.read_parquet(cell / "cases.parquet")


@pytest.mark.slow
def test_smoke_ct_ends_with_scans_ranked_slices_beside_and_pseudo_masks_apart(ran):
    table = pd.read_csv(ran / "leaderboard" / "leaderboard.csv")
    assert table["phantom"].all()
    lungs = table[table["structure"] == "lungs"]
    kinds = {tuple(kind) for kind in lungs[["protocol", "reference", "unit"]].to_numpy()}
    assert kinds == {
        ("lidc", "automatic", "scan"), ("lidc", "automatic", "slice"),
        ("qin", "pseudo", "scan"), ("qin", "pseudo", "slice"),
    }  # fmt: skip
    ranked = lungs[lungs["rank"].notna()]
    assert ranked["unit"].eq("scan").all() and ranked["reference"].eq("automatic").all()
    assert ranked["system"].tolist() == ["lgan_baseline", "mean_shape"]
    assert ranked["dice_mean"].iloc[0] > 0.8
    scans = lungs[(lungs["protocol"] == "lidc") & (lungs["unit"] == "scan")]
    assert (scans["n_cases"] == 2).all()
    assert scans["nodule_coverage_n"].gt(0).all()
    assert scans["published_dice"].isna().all() and scans["reduced"].all()  # made smaller
    text = (ran / "leaderboard" / "leaderboard.md").read_text()
    assert text.count("PSEUDO-MASKS: no lung masks") == 2
    assert "| 0.625 (" not in text and "lgan_baseline (reduced)" in text


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["lidc", "qin"])
def test_each_test_scan_and_each_of_its_slices_has_its_rows_once(ran, protocol):
    cell = ran / "cells" / "lgan_baseline" / protocol / "seed-0"
    rows = rows_of(cell)
    lungs = rows[rows["structure"] == "lungs"]
    scans, slices = lungs[lungs["unit"] == "scan"], lungs[lungs["unit"] == "slice"]
    record = json.loads((cell / "cell.json").read_text())
    assert len(scans) == scans["scan_id"].nunique() == record["n_test"]
    assert not slices.duplicated(["scan_id", "slice_index"]).any()
    assert slices.groupby("scan_id")["slice_index"].agg(list).map(
        lambda found: found == list(range(SLICES))
    ).all()  # fmt: skip
    names = slices["scan_id"] + ":" + slices["slice_index"].astype(int).map("{:04d}".format)
    assert (slices["case_id"] == names).all()
    assert scans[["hausdorff_px", "assd_px", "auc"]].isna().all(axis=None)
    assert scans[["hausdorff_mm", "nsd", "volume_ml", "dice_netgrid"]].notna().all(axis=None)
    assert slices[["hausdorff_px", "hausdorff_mm", "hausdorff_rowvector"]].notna().all(axis=None)
    # A scan's volume is its slices' areas times the distance between slices.
    areas = slices.groupby("scan_id")["area_mm2"].sum() * HEIGHT_MM / SLICES / 1000
    np.testing.assert_allclose(scans.set_index("scan_id")["volume_ml"], areas[scans["scan_id"]])


@pytest.mark.slow
def test_two_processes_score_scans_as_one_does(ran, tmp_path):
    cell = ran / "cells" / "lgan_baseline" / "qin" / "seed-0"
    command = [
        "-m", "benchmark", "test", "--config", str(cell / "config.yaml"),
        "--checkpoint", str(cell / "checkpoints" / "best.ckpt"), "--out", str(tmp_path / "two"),
        "--trainer.devices=2",
    ]  # fmt: skip
    ended = subprocess.run(
        [sys.executable, *command], env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    one, two = rows_of(cell), rows_of(tmp_path / "two")
    assert one[one["unit"] == "scan"]["scan_id"].nunique() >= 2  # something to share out
    pd.testing.assert_frame_equal(one.drop(columns=list(METRICS)), two.drop(columns=list(METRICS)))
    for metric in METRICS:
        np.testing.assert_allclose(two[metric], one[metric], atol=1e-6, err_msg=metric)


@pytest.mark.slow
def test_more_processes_than_test_scans_is_no_fault(tmp_path):
    """One scan each to train, validate and test, on two processes."""
    write_ct_phantoms(tmp_path / "data", lidc=0, qin=3, size=48, slices=SLICES)
    cells = make_plan("smoke_ct", tmp_path / "runs", tmp_path / "data").cells
    cell = next(c for c in cells if (c.system, c.protocol) == ("lgan_baseline", "qin"))
    assert cell.counts == (1, 1, 1)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(cell.config))
    ended = subprocess.run(
        [sys.executable, "-m", "benchmark", "fit", "--config", str(config), "--out",
         str(tmp_path / "out"), "--trainer.devices=2", "--trainer.max_epochs=1"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = rows_of(tmp_path / "out")
    assert rows["unit"].value_counts().to_dict() == {"slice": SLICES, "scan": 1}
    assert json.loads((tmp_path / "out" / "cell.json").read_text())["val_dice"] is not None

"""A user's own CT volumes give the rows that the same scans give as DICOM series."""

import shutil

import pandas as pd
import pytest
import yaml
from ct_roots import write_mask, write_own_scans, write_scan

from benchmark.__main__ import main
from benchmark.cell.fit import fit
from benchmark.planning.plan import make_plan
from datamodules.phantoms import write_qin
from datamodules.sources import open_source
from datamodules.sources.base import PHANTOM_MARKER

TINY = {
    "preprocessing.size": 32, "batch_size": 4, "trainer.max_epochs": 1,
    "model.init_args.generator.init_args.widths?": [4, 8],
}  # fmt: skip
NAMES = ["suite", "protocol", "train_on", "test_on"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Three QIN phantoms with masks of their own, and the same as volumes; cells of both, run."""
    home = tmp_path_factory.mktemp("own_scans")
    root = home / "data"
    write_qin(root, 3, size=48, slices=8)
    source = open_source("qin_lung_ct", root)
    masks = {scan.case_id: source.open(scan).lungs for scan in source.cases()}
    for scan in source.cases():
        path = root / "QIN LUNG CT" / "lung-masks" / f"{scan.case_id}.nii.gz"
        write_mask(path, scan.series, masks[scan.case_id])
    scans = open_source("qin_lung_ct", root).cases()
    write_own_scans(root / "own", scans, masks, (".nii.gz", ".mha", ".nrrd"))
    shutil.copy(root / "QIN LUNG CT" / PHANTOM_MARKER, root / "own")
    for scan in scans:
        write_scan(home / "perfect" / f"{scan.case_id}.nii.gz", scan.series,
                   masks[scan.case_id].astype("uint8"), "RAS")  # fmt: skip
    for name, data in (("dicom", "qin_lung_ct"), ("volumes", "own/our_ct.yaml")):
        rules = {"train": [data], "test": [data], "held_out": 1, "validation": 1}
        (home / f"{name}.yaml").write_text(yaml.safe_dump(rules))
    suite = {"systems": ["lgan_baseline"], "protocols": ["dicom.yaml", "volumes.yaml"]}
    (home / "both.yaml").write_text(yaml.safe_dump({**suite, "overrides": TINY}))
    plan = make_plan(str(home / "both.yaml"), home / "runs", root)
    for cell in plan.cells:
        cell.folder.mkdir(parents=True)
        (cell.folder / "config.yaml").write_text(yaml.safe_dump(cell.config))
        fit(cell.folder / "config.yaml", cell.folder)
    return home


def rows_of(home, system, protocol):
    cell = home / "runs" / "both" / "cells" / system / protocol / "seed-0"
    return pd.read_parquet(cell / "cases.parquet")


def test_volumes_in_any_orientation_give_the_rows_of_their_dicom_series(home):
    dicom, own = (rows_of(home, "lgan_baseline", name) for name in ("dicom", "volumes"))
    assert own["test_on"].eq("our_ct").all() and own["reference"].eq("plain").all()
    assert own["unit"].value_counts().to_dict() == {"slice": 8, "scan": 1}
    assert own["patient_id"].str.startswith("QIN").all()
    assert own["hausdorff_mm"].notna().all()
    pd.testing.assert_frame_equal(
        own.drop(columns=NAMES), dicom.drop(columns=NAMES), check_exact=True
    )


def test_perfect_masks_of_own_scans_score_one(home):
    masks = ["--masks", str(home / "perfect"), "--system", "perfect", "--protocol", "volumes"]
    where = ["--suite", str(home / "both.yaml"), "--runs", str(home / "runs")]
    assert main(["score", *masks, *where, "--data-root", str(home / "data")]) == 0
    rows = rows_of(home, "perfect", "volumes")
    scan = rows[rows["unit"] == "scan"].iloc[0]
    assert (scan["dice"], scan["nsd"], scan["hausdorff_mm"]) == (1, 1, 0)
    assert scan["volume_ml"] > 1000


def test_own_scans_are_checked_like_any_data(home, capsys):
    file = str(home / "data" / "own" / "our_ct.yaml")
    assert main(["data", "check", "--data-root", str(home / "data"), "--dataset", file]) == 0
    assert "3 of 3" in capsys.readouterr().out

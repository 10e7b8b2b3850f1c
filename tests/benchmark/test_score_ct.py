"""Volumes from elsewhere score as our own predictions do: each slice, and the scan as a whole."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK
import yaml

from benchmark.cell.fit import fit
from benchmark.foreign.external import Predictions, score
from benchmark.planning.plan import make_plan
from contract.errors import DataError
from contract.rows import METRICS
from datamodules.phantoms import write_ct_phantoms
from datamodules.sources.lidc_idri import LIDCIDRISource
from lightning_modules.metrics import scoring

SUITE = {
    "title": "ct",
    "systems": ["mean_shape"],
    "protocols": ["lidc"],
    "overrides": {"preprocessing.size": 32, "trainer.max_epochs": 1, "batch_size": 1},
}
NEEDS_MORE_THAN_MASKS = ("auc", "dice_netgrid", "iou_netgrid", "hausdorff_rowvector")


def write_volume(path, mask, series, flipped=False):
    """Write a volume on the scan's grid, stored upside down where asked for."""
    affine = series.affine.copy()
    values = np.ascontiguousarray(mask).astype(np.uint8)
    if flipped:
        values = values[::-1]
        affine[:3, 3] += affine[:3, 2] * (len(mask) - 1)
        affine[:3, 2] *= -1
    image = SimpleITK.GetImageFromArray(values)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(path))


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A plan whose cell has run, its rows, and the volumes that it predicted, by scan."""
    folder = tmp_path_factory.mktemp("ct")
    write_ct_phantoms(folder / "data", lidc=10, qin=0, size=64, slices=8)
    (folder / "ct.yaml").write_text(yaml.safe_dump(SUITE))
    plan = make_plan(str(folder / "ct.yaml"), folder / "runs", folder / "data")
    (cell,) = plan.cells
    (folder / "config.yaml").write_text(yaml.safe_dump(cell.config))
    seen = []
    real = scoring.score_masks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            scoring, "score_masks", lambda masks, *rest: seen.append(masks) or real(masks, *rest)
        )
        fit(folder / "config.yaml", cell.folder)
    rows = pd.read_parquet(cell.folder / "cases.parquet")
    slices = rows[rows["unit"] == "slice"]
    volumes: dict[str, list[np.ndarray]] = {}
    for scan, masks in zip(slices["scan_id"], seen, strict=True):
        volumes.setdefault(scan, []).append(masks["lungs"])
    cases = {case.case_id: case for case in LIDCIDRISource(folder / "data").cases()}
    return plan, rows, {uid: np.stack(own) for uid, own in volumes.items()}, cases


@pytest.mark.slow
def test_the_same_volumes_score_as_our_own_rows(ours, tmp_path):
    plan, rows, volumes, cases = ours
    assert len(volumes) > 1
    for place, (uid, volume) in enumerate(volumes.items()):
        suffix = "_mask.nii.gz" if place else ".nii.gz"
        write_volume(tmp_path / f"{uid}{suffix}", volume, cases[uid].series, flipped=place % 2)
    assert score(plan, Predictions(tmp_path, "theirs", "lidc"), tmp_path / "cache")
    theirs = pd.read_parquet(plan.folder / "cells/theirs/lidc/seed-0/cases.parquet")
    assert list(theirs["case_id"]) == list(rows["case_id"])
    assert list(theirs["unit"]) == list(rows["unit"]) and set(rows["unit"]) == {"scan", "slice"}
    for metric in (*METRICS, "volume_ml", "reference_volume_ml", "area_mm2"):
        if metric in NEEDS_MORE_THAN_MASKS:
            assert theirs[metric].isna().all(), metric
        else:
            np.testing.assert_allclose(
                theirs[metric].astype(float), rows[metric].astype(float), atol=1e-6, err_msg=metric
            )
    assert set(theirs["reference"]) == {"automatic"}
    drawn = [
        json.loads((plan.folder / f"cells/{name}/lidc/seed-0/gallery/gallery.json").read_text())
        for name in ("mean_shape", "theirs")
    ]
    kept = ("kind", "scan_id", "slice_index", "reference_contours", "prediction_contours")
    one, other = ([[case[key] for key in kept] for case in own["cases"]] for own in drawn)
    assert one and one == other


@pytest.mark.slow
def test_volumes_lie_where_their_headers_say(ours, tmp_path):
    plan, _, volumes, cases = ours
    for uid in volumes:
        lungs = plan.grounded["lidc"].data["lidc_idri"].source.open(cases[uid]).lungs
        assert (lungs != lungs[::-1]).any()
        write_volume(tmp_path / f"{uid}.nii.gz", lungs, cases[uid].series, flipped=True)
    assert score(plan, Predictions(tmp_path, "perfect", "lidc"), tmp_path / "cache")
    rows = pd.read_parquet(plan.folder / "cells/perfect/lidc/seed-0/cases.parquet")
    assert rows["dice"].eq(1).all() and rows["hausdorff_mm"].eq(0).all()


@pytest.mark.slow
def test_faulty_volumes_are_named(ours, tmp_path):
    plan, _, volumes, cases = ours
    for uid, volume in volumes.items():
        write_volume(tmp_path / f"{uid}.nii.gz", volume, cases[uid].series)
    first = next(iter(volumes))
    path: Path = tmp_path / f"{first}.nii.gz"
    given = Predictions(tmp_path, "faulty", "lidc")
    write_volume(path, volumes[first][:-1], cases[first].series)
    with pytest.raises(DataError, match=rf"{first}.*another grid.*64 × 64 × 7.*64 × 64 × 8"):
        score(plan, given, tmp_path / "cache")
    write_volume(path, volumes[first] + 2 * np.eye(64, dtype=int), cases[first].series)
    with pytest.raises(DataError, match=rf"{first}.*0, .*expected 0 and one other value"):
        score(plan, given, tmp_path / "cache")
    path.unlink()
    with pytest.raises(DataError, match=f"no mask of {first}"):
        score(plan, given, tmp_path / "cache")
    assert not (plan.folder / "cells" / "faulty").exists()

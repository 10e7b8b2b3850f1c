"""A cell of CT on a user's own scans: the masks that were scored, where the scans lie."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import SimpleITK
import yaml
from ct_roots import in_order, rewrite, write_scan
from PIL import Image
from pydicom import dcmread

from benchmark.__main__ import main
from benchmark.cell.fit import fit
from benchmark.cell.loading import load_cell
from benchmark.planning.plan import make_plan
from benchmark.prediction.nifti import placed
from benchmark.prediction.serve import Shelf
from contract.errors import DataError
from datamodules.phantoms import write_qin
from datamodules.phantoms.ct_chest import sample_chest
from datamodules.phantoms.ct_files import Naming, uid, write_radiograph, write_series
from datamodules.sources.ct.series import read_series

SLICES = 8
TURN = SimpleITK.Euler3DTransform((0, 0, 0), 0.15, -0.1, 0.2).GetMatrix()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("ct")
    write_qin(root, 3, size=48, slices=SLICES)
    return root


@pytest.fixture(scope="module")
def cell(root, tmp_path_factory) -> Path:
    """A tiny U-Net, trained on one scan, which finds some of the lungs."""
    home = tmp_path_factory.mktemp("cell")
    suite = yaml.safe_load((Path("benchmark") / "suites" / "smoke_ct.yaml").read_text())
    suite |= {"systems": ["lgan_baseline"], "protocols": ["qin"]}
    suite["overrides"] |= {"preprocessing.size": 32, "trainer.max_epochs": 8}
    suite["system_overrides"] = {"lgan_baseline": suite["system_overrides"]["lgan_baseline"]}
    (home / "tiny_ct.yaml").write_text(yaml.safe_dump(suite))
    (planned,) = make_plan(str(home / "tiny_ct.yaml"), home / "runs", root).cells
    (home / "config.yaml").write_text(yaml.safe_dump(planned.config))
    fit(home / "config.yaml", planned.folder)
    return planned.folder


def write_one(folder: Path, flipped: bool = False, slices: int = SLICES) -> Path:
    """Write a series of a patient of its own."""
    chest = sample_chest(np.random.default_rng(5), 48, slices)
    naming = Naming("p", uid("study", folder), uid("series", folder))
    names = [f"{(7 * index) % 101:03d}.dcm" for index in range(slices)]
    write_series(folder, chest, naming, names, flipped=flipped)
    return folder


def turn(folder: Path) -> None:
    """Let a series lie aslant in the patient."""
    matrix = np.reshape(TURN, (3, 3))
    for path in folder.iterdir():
        read = dcmread(path)
        row, column = np.reshape(np.array(read.ImageOrientationPatient, float), (2, 3))
        cosines = [*(matrix @ row), *(matrix @ column)]
        place = matrix @ np.array(read.ImagePositionPatient, float)
        rewrite(
            path,
            ImageOrientationPatient=[f"{value:.6f}" for value in cosines],
            ImagePositionPatient=[f"{value:.4f}" for value in place],
        )


def predict(cell: Path, images: Path, out: Path, *more: str) -> int:
    return main(["predict", "--cell", str(cell), *more, "--images", str(images), "--out", str(out)])


def table(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "predictions.csv").set_index("file")


def test_masks_and_volumes_are_those_that_the_cells_test_scored(root, cell, tmp_path):
    assert predict(cell, root / "QIN LUNG CT", tmp_path) == 0
    found = table(tmp_path)
    assert len(found) == 3
    module, data = load_cell(cell)
    trainer = pl.Trainer(logger=False, accelerator="cpu", enable_progress_bar=False)
    slices = [one for batch in trainer.predict(module, data) for one in batch]
    scored = pd.read_parquet(cell / "cases.parquet")
    (scan,) = scored[scored["unit"] == "scan"].to_dict("records")
    areas = scored[scored["unit"] == "slice"].sort_values("slice_index")["area_px"]
    folders = {path.parent for path in (root / "QIN LUNG CT").rglob("*.dcm")}
    (place,) = [f for f in folders if scan["scan_id"] in {dcmread(p).SeriesInstanceUID
                for p in f.iterdir()}]  # fmt: skip
    row = found.loc[str(place.relative_to(root / "QIN LUNG CT"))]
    image = SimpleITK.ReadImage(tmp_path / "masks" / "lungs" / f"{row['output']}.nii.gz")
    mask = SimpleITK.GetArrayFromImage(image)
    assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1}
    assert (mask == np.stack([one["masks"]["lungs"] for one in slices])).all()
    assert mask.sum(axis=(1, 2)).tolist() == areas.tolist()
    assert row["lungs_voxels"] == mask.sum()
    assert row["lungs_volume_ml"] == pytest.approx(scan["volume_ml"], rel=1e-5)
    assert (row["slices"], row["height"], row["width"]) == mask.shape
    assert row["flagged"] == (row["disagreement"] > 0.1)
    with Image.open(tmp_path / "overlays" / f"{row['output']}.jpg") as picture:
        assert picture.size == mask.shape[:0:-1]


def test_masks_lie_where_their_scans_lie(cell, tmp_path):
    scans = tmp_path / "scans"
    for name in ("plain", "backwards", "aslant"):
        write_one(scans / name, flipped=name == "backwards")
    turn(scans / "aslant")
    series = read_series(scans / "plain")
    values = np.stack(list(series.each()))
    write_scan(scans / "volume.nii.gz", series, values, "PIR")
    assert predict(cell, scans, tmp_path / "out", str(cell)) == 0  # a cell twice, too
    masks = {path.name.removesuffix(".nii.gz"): path
             for path in (tmp_path / "out/masks/lungs").iterdir()}  # fmt: skip
    assert sorted(masks) == ["aslant", "backwards", "plain", "volume"]
    for name in ("plain", "backwards", "aslant"):
        files = in_order(scans / name)
        own = SimpleITK.ReadImage([str(path) for path in files])
        seen = SimpleITK.ReadImage(masks[name])
        assert seen.GetSize() == own.GetSize()
        with gzip.open(masks[name]) as content:  # to the right, the front and the head
            placing = np.reshape(struct.unpack("<12f", content.read(348)[280:328]), (3, 4))
        for x, y, z in ((0, 0, 0), (47, 3, 1), (5, 40, SLICES - 1)):
            read = dcmread(files[z])
            row, column = np.reshape(np.array(read.ImageOrientationPatient, float), (2, 3))
            down, along = map(float, read.PixelSpacing)
            where = np.array(read.ImagePositionPatient, float) + row * along * x + column * down * y
            for told in (seen.TransformIndexToPhysicalPoint((x, y, z)),
                         own.TransformIndexToPhysicalPoint((x, y, z)),
                         placing @ (x, y, z, 1) * (-1, -1, 1)):  # fmt: skip
                np.testing.assert_allclose(told, where, atol=0.01)
    volume, plain = SimpleITK.ReadImage(masks["volume"]), SimpleITK.ReadImage(masks["plain"])
    stored = SimpleITK.ReadImage(scans / "volume.nii.gz")
    assert volume.GetSize() == stored.GetSize()
    np.testing.assert_allclose(volume.GetDirection(), stored.GetDirection(), atol=1e-6)
    back = SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(volume, "LPS"))
    assert (back == SimpleITK.GetArrayFromImage(plain)).all() and back.any()
    found = table(tmp_path / "out")
    assert found["disagreement_networks"].eq(0).all()
    assert found.loc["volume.nii.gz", "lungs_volume_ml"] == found.loc["plain", "lungs_volume_ml"]


def test_a_faulty_scan_is_refused_in_the_readers_words_and_the_others_go_on(cell, tmp_path):
    scans = tmp_path / "scans"
    for name in ("good", "gap", "mixed", "two", "other", "tilted"):
        write_one(scans / name)
    write_one(scans / "single", slices=1)
    in_order(scans / "gap")[3].unlink()
    rewrite(in_order(scans / "mixed")[2], ImageOrientationPatient=[-1, 0, 0, 0, -1, 0])
    for path in (scans / "other").iterdir():
        path.rename(scans / "two" / f"b{path.name}")
    for number, path in enumerate(in_order(scans / "tilted")):
        x, y, z = map(float, dcmread(path).ImagePositionPatient)
        rewrite(path, ImagePositionPatient=[x, y + 2 * number, z])
    assert predict(cell, scans, tmp_path / "out") == 1
    found = table(tmp_path / "out")
    errors = found["error"].dropna()
    assert sorted(errors.index) == ["gap", "mixed", "tilted", "two"]
    for name in ("gap", "mixed", "two"):
        with pytest.raises(DataError) as refused:
            read_series(scans / name)
        assert errors[name].endswith(str(refused.value).removeprefix(refused.value.where + ": "))
    with pytest.raises(DataError, match="tilted gantry"):
        placed(read_series(scans / "tilted"))
    assert "tilted gantry" in errors["tilted"]
    assert str(tmp_path) not in (tmp_path / "out" / "predictions.csv").read_text()
    written = {path.name for path in (tmp_path / "out" / "masks" / "lungs").iterdir()}
    assert written == {"good.nii.gz", "single.nii.gz"}
    assert np.isnan(found.loc["single", "lungs_volume_ml"])
    assert "a single slice" in found.loc["single", "remarks"]
    in_order(scans / "good")[3].unlink()  # and what an earlier call wrote goes
    assert predict(cell, scans / "good", tmp_path / "out") == 1
    assert table(tmp_path / "out").index.tolist() == ["."]
    assert {path.name for path in (tmp_path / "out/masks/lungs").iterdir()} == {"single.nii.gz"}


def test_films_and_scans_are_not_mixed_up(root, cell, tmp_path, capsys):
    write_radiograph(tmp_path / "films" / "a.dcm", Naming("p", uid("x"), uid("y")))
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "films" / "b.png")
    out = tmp_path / "out"
    scans = root / "QIN LUNG CT"
    for arguments, text in (
        (["--cell", str(cell), "--images", str(tmp_path / "films")], "found no CT scan (2 other"),
        (["--images", str(scans / "QIN-LSC-0004")], f"found CT alone ({SLICES} file(s), such as"),
        (["--cell", str(cell), "--images", str(scans), "--dicom-seg"], "--dicom-seg: found it"),
        (["--cell", str(cell), "--images", str(scans), "--bits", "12"], "--bits: found it"),
        (["--cell", str(cell), "--images", str(tmp_path / "none")], "a folder of CT scans"),
    ):
        assert main(["predict", *arguments, "--out", str(out)]) == 2
        assert text in capsys.readouterr().err
    assert not out.exists()
    assert [model.unit for model in Shelf(cell.parents[4], "cpu").systems()] == ["image"]

"""DICOM segmentations of a user's DICOM films: what another reader finds in them."""

from __future__ import annotations

from pathlib import Path

import cv2
import highdicom
import numpy as np
import pandas as pd
import pytest
from films import write_dicom
from PIL import Image

from benchmark.__main__ import main
from datamodules.sources.dicom.film import read_dicom_film
from datamodules.sources.dicom.header import Turn
from datamodules.sources.films import read_film

CELL = "tiny/cells/unet/m_to_s/seed-0"
NAMED = {
    "StudyInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.5", "Modality": "DX",
    "PatientID": "MRN 7", "PatientName": "Doe^Jane",
}  # fmt: skip


@pytest.fixture(scope="module")
def results(trained_runs, phantom_root, tmp_path_factory) -> tuple[Path, Path]:
    """DICOM films in several positions, and their results."""
    films = tmp_path_factory.mktemp("dicom")
    path = next((phantom_root / "MontgomerySet/CXR_png").glob("*.png"))
    grey = read_film(path).pixels
    write_dicom(films / "upright.dcm", grey, SOPInstanceUID="1.2.3.1", **NAMED)
    turned = {"PatientOrientation": ["F", "R"], "SOPInstanceUID": "1.2.3.2"}
    write_dicom(films / "turned.dcm", np.ascontiguousarray(grey.T[::-1]), **NAMED, **turned)
    write_dicom(films / "nameless.dcm", grey)
    Image.fromarray(grey).save(films / "picture.png")
    out = tmp_path_factory.mktemp("results")
    cell = ["--cell", str(trained_runs / CELL), "--images", str(films)]
    assert main(["predict", *cell, "--out", str(out), "--dicom-seg"]) == 0
    return films, out


def found(out: Path, name: str, source: str) -> np.ndarray:
    segmentation = highdicom.seg.segread(out / "segmentations" / f"{name}.dcm")
    return segmentation.get_pixels_by_source_instance([source])[0, ..., 0] > 0


def mask(out: Path, name: str) -> np.ndarray:
    return cv2.imread(str(out / "masks/lungs" / f"{name}.png"), cv2.IMREAD_GRAYSCALE) > 0


def test_a_segmentation_lies_on_the_pixels_that_the_file_stores(results):
    films, out = results
    upright = mask(out, "upright")
    assert (found(out, "upright", "1.2.3.1") == upright).all() and upright.any()
    turn = read_dicom_film(films / "turned.dcm").turn
    assert turn.transposed
    stored = found(out, "turned", "1.2.3.2")
    assert stored.shape == upright.shape[::-1]
    assert (turn(stored) == mask(out, "turned")).all()
    assert (mask(out, "turned") == upright).all()


def test_it_says_whose_it_is_and_what_made_it(results):
    _, out = results
    segmentation = highdicom.seg.segread(out / "segmentations/upright.dcm")
    assert (segmentation.PatientID, str(segmentation.PatientName)) == ("MRN 7", "Doe^Jane")
    assert segmentation.StudyInstanceUID == "1.2.3.4"
    assert segmentation.SeriesInstanceUID not in NAMED.values()
    (segment,) = segmentation.SegmentSequence
    assert (segment.SegmentLabel, segment.SegmentAlgorithmType) == ("lungs", "AUTOMATIC")
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Lung"
    assert segmentation.Manufacturer == "lungbench"
    assert "unet/m_to_s" in segmentation.ManufacturerModelName
    assert "not a medical device" in segmentation.ContentDescription


def test_only_what_can_be_referred_to_gets_one_and_a_remark_says_why(results):
    _, out = results
    written = sorted(path.name for path in (out / "segmentations").iterdir())
    assert written == ["turned.dcm", "upright.dcm"]
    table = pd.read_csv(out / "predictions.csv").set_index("file")
    assert (
        "no DICOM-SEG: the film's header has no SeriesInst" in table.loc["nameless.dcm", "remarks"]
    )
    assert pd.isna(table.loc["picture.png", "remarks"])


def test_without_being_asked_no_patients_name_is_written(results, trained_runs, tmp_path):
    films, _ = results
    cell = ["--cell", str(trained_runs / CELL), "--images", str(films)]
    assert main(["predict", *cell, "--out", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "masks", "overlays", "predictions.csv",
    ]  # fmt: skip
    assert not [p for p in (tmp_path / "out").rglob("*.*") if b"Doe^Jane" in p.read_bytes()]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("upended", [False, True])
def test_every_turn_can_be_taken_back(transposed, mirrored, upended):
    turn = Turn(transposed, mirrored, upended)
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (turn.back(turn(stored)) == stored).all()
    assert (turn.headlong()(stored) == turn(stored)[::-1, ::-1]).all()

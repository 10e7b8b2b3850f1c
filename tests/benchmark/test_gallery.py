"""Pictures of a cell's cases: which are chosen, what is drawn, and what a fault may cost."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from benchmark.cell import case_pictures
from benchmark.cell.fit import fit
from benchmark.planning.plan import Selection, make_plan
from datamodules.phantoms import write_jsrt, write_lidc


def finished(place: Path, suite: str, protocol: str) -> Path:
    """A finished cell of the mean mask."""
    plan = make_plan(suite, place / "runs", place / "data", {"preprocessing.size": 64})
    [cell] = Selection(systems=["mean_shape"], protocols=[protocol], seeds=[0]).of(plan)
    cell.folder.mkdir(parents=True)
    (cell.folder / "config.yaml").write_text(yaml.safe_dump(cell.config))
    fit(cell.folder / "config.yaml", cell.folder)
    return cell.folder


@pytest.fixture(scope="module")
def folded_cell(tmp_path_factory) -> Path:
    """A finished cell of two folds: the mean mask of each half predicts the other."""
    place = tmp_path_factory.mktemp("gallery")
    write_jsrt(place / "data", 20, size=128)
    return finished(place, "cross_dataset", "jsrt")


def filled(polygons: list[list[float]], shape: tuple[int, int]) -> np.ndarray:
    """The mask that outlines enclose, at four times the picture's size."""
    mask = np.zeros((4 * shape[0], 4 * shape[1]), np.uint8)
    points = [np.round(4 * np.array(p).reshape(-1, 2)).astype(np.int32) for p in polygons]
    cv2.fillPoly(mask, points, 1)
    return mask > 0


def test_the_drawn_outlines_have_the_dice_of_the_rows(folded_cell):
    content = json.loads((folded_cell / "gallery" / "gallery.json").read_text())
    lungs = pd.read_parquet(folded_cell / "cases.parquet").query("structure == 'lungs'")
    dice = lungs.set_index("case_id")["dice"]
    assert [case["kind"] for case in content["cases"]] == (
        ["worst"] * 5 + ["median"] * 5 + ["best"] * 5
    )
    for case in content["cases"]:
        assert case["dice"] == dice[case["case_id"]]
        shape = (case["height"], case["width"])
        reference, prediction = (
            filled(case[f"{side}_contours"], shape) for side in ("reference", "prediction")
        )
        both = 2 * (reference & prediction).sum() / (reference.sum() + prediction.sum())
        assert both == pytest.approx(case["dice"], abs=0.012)


def test_worst_median_and_best_over_both_folds(folded_cell):
    content = json.loads((folded_cell / "gallery" / "gallery.json").read_text())
    lungs = pd.read_parquet(folded_cell / "cases.parquet").query("structure == 'lungs'")
    order = lungs.sort_values("dice")["dice"].tolist()
    drawn = {k: [c["dice"] for c in content["cases"] if c["kind"] == k] for k in
             ("worst", "median", "best")}  # fmt: skip
    assert drawn["worst"] == order[:5]
    assert drawn["best"] == order[:-6:-1]
    assert drawn["median"] == order[7:12]
    ends = {int(c["case_id"][-1]) % 2 for c in content["cases"]}
    assert ends == {0, 1}  # odd and even numbers: cases of either fold


def test_pictures_are_small_and_named_by_their_content(folded_cell):
    folder = folded_cell / "gallery"
    content = json.loads((folder / "gallery.json").read_text())
    assert content["terms"] == {}  # phantoms may go anywhere
    wanted = {case["picture"] for case in content["cases"]}
    assert {path.name for path in folder.glob("*.webp")} == wanted
    assert len(wanted) == 15
    for case in content["cases"]:
        picture = cv2.imread(str(folder / case["picture"]), cv2.IMREAD_GRAYSCALE)
        assert picture.shape == (case["height"], case["width"]) == (128, 128)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 150_000


def test_a_fault_costs_the_pictures_alone_and_is_told(folded_cell, tmp_path, capsys):
    """Something stands where the folder goes: the cell is done, its rows stand, its log says so."""
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell" / "gallery").write_text("a file of another program")
    fit(folded_cell / "config.yaml", tmp_path / "cell")
    assert "no gallery (FileExistsError" in capsys.readouterr().out
    record = json.loads((tmp_path / "cell" / "cell.json").read_text())
    assert record["state"] == "done"
    one, two = (pd.read_parquet(f / "cases.parquet") for f in (folded_cell, tmp_path / "cell"))
    pd.testing.assert_frame_equal(one, two)


def test_of_scans_the_slices_are_shown(tmp_path):
    write_lidc(tmp_path / "data", 10, size=64, slices=6)
    folder = finished(tmp_path, "smoke_ct", "lidc")
    content = json.loads((folder / "gallery" / "gallery.json").read_text())
    rows = pd.read_parquet(folder / "cases.parquet")
    slices = rows[(rows["unit"] == "slice") & (rows["structure"] == "lungs")].set_index("case_id")
    assert len(content["cases"]) >= 3
    for case in content["cases"]:
        row = slices.loc[case["case_id"]]
        assert not row["empty_reference"]
        assert (case["dice"], case["scan_id"], case["slice_index"]) == (
            row["dice"], row["scan_id"], row["slice_index"],
        )  # fmt: skip
        lungs = filled(case["reference_contours"], (64, 64))
        picture = cv2.imread(str(folder / "gallery" / case["picture"]), cv2.IMREAD_GRAYSCALE)
        large = cv2.resize(picture, (256, 256))
        body = cv2.dilate(lungs.astype(np.uint8), np.ones((25, 25))).astype(bool) & ~lungs
        assert large[lungs].mean() < large[body].mean() - 20  # air in that very slice's lungs


def rows_of(dices: list[float], **given: object) -> list[dict[str, object]]:
    return [
        {"structure": "lungs", "unit": "image", "empty_reference": False, "dice": dice,
         "test_on": "s", "case_id": f"c{k:02d}", **given}
        for k, dice in enumerate(dices)
    ]  # fmt: skip


@pytest.mark.parametrize("n", range(1, 20))
def test_no_case_is_chosen_twice(n):
    chosen = case_pictures.choose_cases(rows_of(list(np.linspace(0.5, 1, n))))
    cases = [row["case_id"] for _, row in chosen]
    assert len(set(cases)) == len(cases) <= n
    assert len(cases) == 15 or n < 15
    if n >= 3:
        assert {kind for kind, _ in chosen} == {"worst", "median", "best"}


def test_slices_without_lungs_and_other_structures_are_left_out():
    rows = rows_of([0.5, 0.6, 0.7], unit="slice")
    rows += rows_of([1.0], unit="slice", empty_reference=True, case_id="empty")
    rows += rows_of([0.1], unit="scan", case_id="scan")
    rows += rows_of([0.2], structure="heart", case_id="heart")
    chosen = case_pictures.choose_cases(rows)
    assert [(kind, row["dice"]) for kind, row in chosen] == [
        ("worst", 0.5), ("median", 0.6), ("best", 0.7),
    ]  # fmt: skip


def test_a_rewritten_gallery_leaves_no_old_picture(tmp_path):
    case_pictures.write_gallery(tmp_path, ({"cases": []}, {"old.webp": b"old"}))
    case_pictures.write_gallery(tmp_path, ({"cases": [1]}, {"new.webp": b"new"}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gallery.json", "new.webp"]
    assert json.loads((tmp_path / "gallery.json").read_text()) == {"cases": [1]}


def test_holes_are_outlined_and_specks_beyond_the_most_are_counted():
    mask = np.zeros((200, 100), bool)
    mask[20:180, 10:90] = True
    mask[60:120, 30:60] = False
    polygons, left = case_pictures.contours(mask, (100, 50))
    assert len(polygons) == 2 and left == 0
    outer = np.array(polygons[0]).reshape(-1, 2)
    np.testing.assert_allclose(outer.min(axis=0), [5.0, 10.0], atol=0.5)
    np.testing.assert_allclose(outer.max(axis=0), [45.0, 90.0], atol=0.5)
    specks = np.zeros((200, 100), bool)
    specks[::10, ::10] = True
    assert case_pictures.contours(specks, (200, 100))[1] == 200 - case_pictures.MOST_CONTOURS

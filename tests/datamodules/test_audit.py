"""The audit of reference masks: planted faults on phantoms, and counts on real data."""

import csv
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datamodules.checks.audit import (
    FINDINGS,
    audit,
    judge,
    modified_z,
    suspects,
    write_audit,
)
from datamodules.checks.contact_sheets import write_contact_sheets
from datamodules.checks.mask_geometry import (
    hole_areas,
    measure_shape,
    medial_flare,
    part_areas,
    split_sides,
)
from datamodules.phantoms import write_montgomery, write_shenzhen
from datamodules.phantoms.anatomy import sample_anatomy
from datamodules.phantoms.film import View, draw_lungs
from datamodules.sources import open_source

REAL_DATA = os.environ.get("LUNGBENCH_REAL_DATA")
REAL_LABELS = os.environ.get("LUNGBENCH_REAL_LABELS")


def chest(seed=0, size=256):
    """Return the left lung, the right lung, and the left lung with the heart's shadow."""
    anatomy = sample_anatomy(np.random.default_rng(seed), abnormal=False)
    view = View(size, size, size / 380, (0.0, anatomy.lung_height * 0.52), 0.0)
    right, left = draw_lungs(anatomy, view)
    shadowed = left | (view.fill([anatomy.left_lung]) > 0)
    return left, right, shadowed


def union(left, right):
    return {"lungs": left | right}


def square(side=40, rows=slice(10, 30), columns=slice(10, 30)):
    mask = np.zeros((side, side), bool)
    mask[rows, columns] = True
    return mask


def test_sides_are_told_apart_as_they_were_drawn():
    left, right, _ = chest()
    found_left, found_right = split_sides(left | right)
    assert (found_left == left).all()
    assert (found_right == right).all()


def test_a_small_third_part_belongs_to_the_nearer_lung():
    left, right, _ = chest()
    lungs = left | right
    lungs[-6:-4, -6:-4] = True
    found_left, found_right = split_sides(lungs)
    assert found_left[-5, -5]
    assert (found_right == right).all()


def test_touching_lungs_are_cut_between_them():
    left, right, _ = chest()
    bridge = np.zeros_like(left)
    row = int(np.flatnonzero((left & True).any(1) & right.any(1))[20])
    bridge[row, np.flatnonzero(right[row])[-1] : np.flatnonzero(left[row])[0] + 1] = True
    lungs = left | right | bridge
    assert len(part_areas(lungs)) == 1
    found_left, found_right = split_sides(lungs)
    assert (found_left & left).sum() > 0.97 * left.sum()
    assert (found_right & right).sum() > 0.97 * right.sum()


def test_a_clean_mask_has_no_finding():
    left, right, _ = chest()
    measured = measure_shape(union(left, right))
    assert (measured.specks, measured.holes, measured.border_px) == (0, 0, 0)
    assert judge([measured]) == [()]


@pytest.mark.parametrize("separate", [False, True])
def test_a_speck_is_found_with_its_size(separate):
    left, right, _ = chest()
    left = left.copy()
    left[2:4, 2:5] = True
    masks = union(left, right) | ({"left_lung": left, "right_lung": right} if separate else {})
    measured = measure_shape(masks)
    assert (measured.specks, measured.largest_speck_px) == (1, 6)
    assert "specks" in judge([measured])[0]


def test_a_hole_is_found_with_its_size():
    left, right, _ = chest()
    rows, columns = np.nonzero(cv2.erode(right.astype(np.uint8), np.ones((9, 9))))
    right = right.copy()
    right[rows[0] : rows[0] + 2, columns[0] : columns[0] + 2] = False
    measured = measure_shape(union(left, right))
    assert (measured.holes, measured.holes_px) == (1, 4)
    assert "holes" in judge([measured])[0]


def test_a_notch_that_opens_at_a_corner_is_no_hole():
    mask = square()
    mask[10, 11] = False
    mask[11, 12] = False
    assert hole_areas(mask) == []
    mask[20, 20] = False
    assert hole_areas(mask) == [1]


def test_contact_with_the_border_is_found():
    lungs = square(rows=slice(0, 5)) | square(rows=slice(20, 25), columns=slice(35, 40))
    measured = measure_shape({"lungs": lungs})
    assert measured.border_px == 20 + 5
    assert "border" in judge([measured])[0]


def test_the_heart_shadow_is_found_and_little_else_is_taken_for_it():
    """A few phantoms have hearts so small that their lungs' borders run straight down too."""
    found, false = 0, 0
    for seed in range(30):
        left, right, shadowed = chest(seed, size=128)
        false += "heart_shadow" in judge([measure_shape(union(left, right))])[0]
        found += "heart_shadow" in judge([measure_shape(union(shadowed, right))])[0]
    assert found >= 27
    assert false <= 3


def test_flare_is_the_borders_way_out_in_shares_of_the_width():
    left = np.zeros((100, 100), bool)
    left[:50, 60:] = True
    left[50:, 70:] = True
    right = np.zeros_like(left)
    right[:, :40] = True
    assert medial_flare(left, right) == pytest.approx(0.10)


def test_no_left_lung_beside_the_heart_is_no_heart_shadow():
    left, right = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    left[:40, 60:], right[:, :40] = True, True
    assert np.isnan(medial_flare(left, right))
    assert "heart_shadow" not in judge([measure_shape(union(left, right))])[0]


def test_a_collapsed_lung_is_an_outlier_of_its_set():
    chests = [chest(seed)[:2] for seed in range(14)]
    left, right = chests[3]
    half = left.copy()
    half[: int(np.flatnonzero(left.any(1)).mean())] = False
    chests[3] = (half, right)
    found = judge([measure_shape(union(*lungs)) for lungs in chests])
    assert [index for index, names in enumerate(found) if "side_ratio" in names] == [3]


def test_a_rippled_outline_is_an_outlier_of_its_set():
    chests = [chest(seed)[:2] for seed in range(14)]
    left, right = chests[5]
    waves = np.rint(4 * np.sin(np.arange(256) * 2 * np.pi / 16)).astype(int)
    rippled = np.stack([np.roll(row, shift) for row, shift in zip(left, waves, strict=True)])
    chests[5] = (rippled, right)
    found = judge([measure_shape(union(*lungs)) for lungs in chests])
    assert "scalloped" in found[5]


def test_modified_z_by_hand():
    values = [0.0] * 5 + [1.0] * 5 + [2.0] * 5 + [10.0]
    assert modified_z(values)[-1] == pytest.approx(9 / 1.4826)
    assert (modified_z(values[:9]) == 0).all()
    assert (modified_z([3.0] * 20) == 0).all()


def test_an_empty_mask_has_no_measures():
    with pytest.raises(ValueError, match="empty"):
        measure_shape({"lungs": np.zeros((8, 8), bool)})


@pytest.fixture
def planted_root(tmp_path):
    """Phantoms of both sets; one Shenzhen mask has a speck, one the whole lower heart as lung."""
    root = tmp_path / "root"
    write_montgomery(root, 12, size=128)
    write_shenzhen(root, 14, size=128)
    return root


def edit_mask(path: Path, change):
    pixels = np.array(Image.open(path))
    change(pixels)
    Image.fromarray(pixels).save(path)


def test_audit_reads_sources_and_remembers_by_content(planted_root, tmp_path):
    source = open_source("shenzhen", planted_root)
    before = audit([source], tmp_path / "cache")
    assert before == audit([source]) == audit([source], tmp_path / "cache")
    case = source.cases()[4]
    edit_mask(case.masks["lungs"][0], lambda pixels: pixels.__setitem__((1, 1), 255))
    after = {row.case_id: row for row in audit([source], tmp_path / "cache")}
    assert after[case.case_id].measures.largest_speck_px == 1
    assert after[case.case_id].measures.specks == before[4].measures.specks + 1
    changed = [row.case_id for row in before if after[row.case_id] != row]
    assert changed == [case.case_id]


def test_suspects_are_those_with_findings_that_count(planted_root):
    sources = [open_source(name, planted_root) for name in ("montgomery", "shenzhen")]
    rows = audit(sources)
    wanted = {
        (row.dataset, row.case_id)
        for row in rows
        if {"heart_shadow", "side_ratio"} & set(row.findings)
    }
    assert suspects(sources) == wanted
    assert len(rows) == 26


def test_the_table_has_a_line_a_case_and_a_column_a_finding(planted_root, tmp_path):
    rows = audit([open_source("shenzhen", planted_root)])
    write_audit(rows, tmp_path / "audit.csv")
    with (tmp_path / "audit.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["case_id"] for line in lines] == [row.case_id for row in rows]
    for line, row in zip(lines, rows, strict=True):
        assert line["findings"].split() == list(row.findings)
        assert [name for name in FINDINGS if line[f"finding_{name}"] == "1"] == list(row.findings)
        assert float(line["side_ratio"]) == pytest.approx(row.measures.side_ratio, abs=1e-5)


def test_contact_sheets_show_the_outline(planted_root, tmp_path):
    source = open_source("shenzhen", planted_root)
    case = source.cases()[0]
    edit_mask(case.masks["lungs"][0], lambda pixels: pixels.__setitem__((1, 1), 255))
    sheets = write_contact_sheets(source, audit([source]), tmp_path / "sheets", tile=64)
    assert any(path.name == "shenzhen-specks-1.png" for path in sheets)
    for path in sheets:
        pixels = np.array(Image.open(path))
        assert pixels.shape[2] == 3
        assert ((pixels == (255, 220, 0)).all(axis=2)).sum() > 50


@pytest.mark.skipif(
    not (REAL_DATA and REAL_LABELS),
    reason="LUNGBENCH_REAL_DATA and LUNGBENCH_REAL_LABELS name no data root and list of ids",
)
def test_real_masks_give_the_counts_that_a_look_at_each_overlay_gave(tmp_path):
    """LUNGBENCH_REAL_LABELS is a JSON file that lists, for each finding, the ids found by eye."""
    labels = json.loads(Path(REAL_LABELS).read_text())
    rows = audit([open_source("shenzhen", Path(REAL_DATA))], tmp_path)
    assert len(rows) == 566
    for finding, listed, fewest in (
        ("heart_shadow", "heart_shadow", 45),
        ("side_ratio", "lr_ratio_outlier", 18),
    ):
        found = {row.case_id for row in rows if finding in row.findings}
        right = found & set(labels[listed])
        assert len(right) >= fewest
        assert len(found) - len(right) <= len(right)

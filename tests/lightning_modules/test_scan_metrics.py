"""Metrics of CT: volumes, nodules inside the lungs, LGAN's distance between rows."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import directed_hausdorff

from lightning_modules.metrics.scan_metrics import (
    NoduleTally,
    fill_holes,
    hausdorff_rowvector,
    is_pleural,
    nodule_coverage,
    volume_metrics,
)

MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def disc(centre, radius, shape=(80, 80)):
    return cv2.circle(np.zeros(shape, np.uint8), centre, radius, 1, -1) > 0


def test_a_perfect_prediction_scores_one_in_three_dimensions():
    body = np.zeros((6, 20, 30), np.bool_)
    body[1:5, 3:12, 4:20] = True
    row = volume_metrics(body, body, (2.5, 0.8, 0.8))
    for name in ("dice", "iou", "precision", "recall", "accuracy", "nsd"):
        assert row[name] == 1
    for name in ("hausdorff_mm", "hausdorff95_mm", "assd_mm"):
        assert row[name] == 0
    voxels = 4 * 9 * 16
    assert row["volume_ml"] == pytest.approx(voxels * 2.5 * 0.8 * 0.8 / 1000)


def test_overlap_in_three_dimensions_is_no_mean_over_slices():
    prediction, reference = np.zeros((2, 2, 10, 10), np.bool_)
    reference[0, :, :] = prediction[0, :, :] = True
    reference[1, 0, 0] = prediction[1, 0, 1] = True
    row = volume_metrics(prediction, reference, (1.0, 1.0, 1.0))
    assert row["dice"] == pytest.approx(2 * 100 / 202)  # the slices' mean is 0.5
    assert row["accuracy"] == pytest.approx(1 - 2 / 200)
    assert row["volume_ml"] == row["reference_volume_ml"] == pytest.approx(0.101)


def test_a_missed_scan_costs_the_diagonal_of_the_volume():
    empty, body = np.zeros((4, 30, 40), np.bool_), np.ones((4, 30, 40), np.bool_)
    row = volume_metrics(empty, body, (3.0, 1.0, 1.0))
    assert (row["dice"], row["nsd"], row["volume_ml"]) == (0, 0, 0)
    assert row["hausdorff_mm"] == row["assd_mm"] == math.hypot(12, 30, 40)


def test_rowvector_is_the_root_of_differing_pixels():
    prediction, reference = np.zeros((2, 5, 8), np.bool_)
    reference[2, :6] = prediction[2, :4] = True
    # The rows of zeros have a twin; the one with lung differs in 2 pixels from its nearest.
    assert hausdorff_rowvector(prediction, reference) == math.sqrt(2)
    assert hausdorff_rowvector(reference, reference) == 0
    assert hausdorff_rowvector(np.zeros_like(reference), reference) == math.sqrt(6)
    # Where the rows lie does not matter, which is why it is no distance between masks.
    assert hausdorff_rowvector(np.roll(reference, 2, axis=0), reference) == 0


@settings(max_examples=200, deadline=None)
@given(first=MASKS, seed=st.integers(0, 1000))
def test_rowvector_is_what_scipy_says_of_the_rows(first, seed):
    second = first ^ (np.random.default_rng(seed).random(first.shape) < 0.2)
    pair = first.astype(float), second.astype(float)
    expected = max(directed_hausdorff(*pair)[0], directed_hausdorff(*pair[::-1])[0])
    found = hausdorff_rowvector(first, second)
    assert found == pytest.approx(expected)
    assert round(found**2) == pytest.approx(found**2)


def test_nodule_coverage_worked_example():
    lungs = np.zeros((60, 60), np.bool_)
    lungs[10:50, 10:50] = True
    predicted = np.zeros_like(lungs)
    predicted[10:50, 10:40] = True  # the last ten columns are missed
    spacing = (1.0, 1.0)
    central, at_wall, outside = (np.zeros_like(lungs) for _ in range(3))
    central[28:32, 28:32] = True  # 16 pixels, inside, 18 mm from the boundary
    at_wall[30:32, 36:48] = True  # 24 pixels, 8 inside, ends 2 mm from the last column of lung
    outside[20:22, 48:58] = True  # 20 pixels, none inside, leaves the lungs
    found = {}
    for name, masks in {"a": [central, central], "b": [at_wall], "c": [outside]}.items():
        for mask in masks:  # the first is seen in two slices
            found.setdefault(name, NoduleTally()).add(mask, predicted, lungs, spacing)
    assert [(n.pixels, n.inside, n.pleural) for n in found.values()] == [
        (32, 32, False), (24, 8, True), (20, 0, True),
    ]  # fmt: skip
    assert nodule_coverage(found.values()) == pytest.approx(
        {
            "nodule_coverage": 1 / 3,
            "nodule_pixel_coverage": 40 / 76,
            "pleural_nodule_coverage": 0,
            "pleural_nodule_pixel_coverage": 8 / 44,
        }
    )


def test_a_nodule_counts_as_inside_from_half_of_its_pixels_on():
    assert nodule_coverage([NoduleTally(10, 5), NoduleTally(10, 4)])["nodule_coverage"] == 0.5


def test_without_nodules_coverage_is_undefined():
    assert set(nodule_coverage([]).values()) == {None}
    central = nodule_coverage([NoduleTally(4, 4, pleural=False), NoduleTally(0, 0)])
    assert central["nodule_coverage"] == 1
    assert central["pleural_nodule_coverage"] is None


@pytest.mark.parametrize(("spacing", "pleural"), [((0.5, 0.5), True), ((1.0, 1.0), False)])
def test_two_millimetres_are_measured_in_millimetres(spacing, pleural):
    lungs, nodule = np.zeros((2, 40, 40), np.bool_)
    lungs[5:35, 5:35] = True
    nodule[20, 9] = True  # four pixels from the boundary pixel in column 5
    assert is_pleural(nodule, lungs, spacing) is pleural


def test_a_nodule_left_out_of_the_reference_is_no_pleural_one_unless_it_is_at_the_wall():
    lungs = disc((40, 40), 30)
    inner, outer = disc((40, 40), 4), disc((40, 12), 5)
    assert not is_pleural(inner, lungs & ~inner, (1.0, 1.0))
    assert is_pleural(outer, lungs & ~outer, (1.0, 1.0))
    assert is_pleural(inner, np.zeros_like(lungs), (1.0, 1.0))


def test_what_two_touching_lungs_enclose_is_no_hole():
    ring = disc((40, 40), 35) & ~disc((40, 40), 18)
    assert (fill_holes(ring, 15**2 * math.pi) == ring).all()
    assert fill_holes(ring, 2000)[40, 40]
    assert is_pleural(disc((40, 19), 2), ring, (1.0, 1.0))  # at the mediastinal side


@settings(max_examples=60, deadline=None)
@given(mask=MASKS, largest=st.integers(0, 40))
def test_filling_only_adds_and_never_at_the_border(mask, largest):
    filled = fill_holes(mask, largest)
    assert (filled >= mask).all()
    added = filled & ~mask
    assert not (added[[0, -1]].any() or added[:, [0, -1]].any())
    assert (fill_holes(filled, largest) == filled).all()

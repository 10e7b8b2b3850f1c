"""The metrics of one case against MONAI, scikit-learn, SciPy and what must always hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.surface_dice import compute_surface_dice
from monai.metrics.surface_distance import compute_average_surface_distance
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    jaccard_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from contract.arrays import Mask, Spacing
from contract.rows import METRICS
from lightning_modules.metrics.case_metrics import (
    NSD_TOLERANCE_SHARE,
    area_under_curve,
    case_metrics,
    overlap_metrics,
    surface_metrics,
)

torch.set_num_threads(1)

SHAPES = ((24, 24), (40, 23), (17, 61), (5, 30), (1, 19), (64, 48))
SPACINGS: tuple[Spacing | None, ...] = (None, (0.5, 0.5), (0.7, 1.3), (2.5, 0.31))
DISTANCES = ("hausdorff", "hausdorff95", "assd")

Shaper = Callable[[np.random.Generator, tuple[int, int]], Mask]
Judge = Callable[[Mask, Mask, Spacing, float], dict[str, float]]


def blob(rng: np.random.Generator, shape: tuple[int, int]) -> Mask:
    """A smooth shape that may touch the border or be empty."""
    sigma = rng.uniform(1, 4)
    field = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), sigma)
    mask: Mask = np.array(field > rng.uniform(-0.05, 0.1), np.bool_)
    return mask


def noise(rng: np.random.Generator, shape: tuple[int, int]) -> Mask:
    """Isolated pixels, from very few to nearly all."""
    return rng.random(shape) < float(rng.choice([0.003, 0.05, 0.5, 0.95]))


def ring(rng: np.random.Generator, shape: tuple[int, int]) -> Mask:
    """A circle's line, partly outside the image."""
    canvas = np.zeros(shape, np.uint8)
    centre = int(rng.integers(shape[1])), int(rng.integers(shape[0]))
    cv2.circle(canvas, centre, int(rng.integers(1, 15)), 1, int(rng.integers(1, 4)))
    return canvas > 0


def line(rng: np.random.Generator, shape: tuple[int, int]) -> Mask:
    """A line one pixel wide between two random points."""
    canvas = np.zeros(shape, np.uint8)
    ends = rng.integers(0, shape[::-1], size=(2, 2)).tolist()
    cv2.line(canvas, ends[0], ends[1], 1, 1)
    return canvas > 0


def border_box(rng: np.random.Generator, shape: tuple[int, int]) -> Mask:
    """A box that lies in a corner of the image."""
    mask = np.zeros(shape, np.bool_)
    mask[: rng.integers(1, shape[0] + 1), : rng.integers(1, shape[1] + 1)] = True
    axes = tuple(axis for axis in (0, 1) if rng.random() < 0.5)
    return np.array(np.flip(mask, axis=axes))


SHAPERS: tuple[Shaper, ...] = (blob, noise, ring, line, border_box)


def random_pair(seed: int) -> tuple[Mask, Mask]:
    """Two masks that are not empty; every combination of kinds and shapes comes up."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[seed % len(SHAPES)]
    kinds = SHAPERS[seed % len(SHAPERS)], SHAPERS[seed // len(SHAPERS) % len(SHAPERS)]
    pair = [kind(rng, shape) for kind in kinds]
    for mask in pair:
        mask[rng.integers(shape[0]), rng.integers(shape[1])] = True
    return pair[0], pair[1]


def brute_force(first: Mask, second: Mask, spacing: Spacing, tolerance: float) -> dict[str, float]:
    """The definitions word for word: every boundary pixel against every other."""

    def boundary(mask: Mask) -> NDArray[np.float64]:
        padded = np.pad(mask, 1)
        inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        points: NDArray[np.float64] = np.argwhere(mask & ~inside).astype(np.float64)
        return np.multiply(points, spacing, dtype=np.float64)

    table = cdist(boundary(first), boundary(second))
    there, back = table.min(axis=1), table.min(axis=0)
    pooled = np.concatenate((there, back))
    return {
        "hausdorff": max(there.max(), back.max()),
        "hausdorff95": max(np.percentile(there, 95), np.percentile(back, 95)),
        "assd": pooled.mean(),
        "nsd": np.mean(pooled <= tolerance),
    }


def monai(first: Mask, second: Mask, spacing: Spacing, tolerance: float) -> dict[str, float]:
    """MONAI's answers; its boundary is ours: mask minus its erosion, the outside counted empty."""
    a, b = (torch.from_numpy(mask)[None, None].float() for mask in (first, second))
    sides = list(spacing)
    surface = partial(compute_hausdorff_distance, a, b, include_background=True, spacing=sides)
    mean = compute_average_surface_distance(a, b, True, symmetric=True, spacing=sides)
    nsd = compute_surface_dice(a, b, [tolerance], True, spacing=sides)
    return {
        "hausdorff": surface().item(),
        "hausdorff95": surface(percentile=95).item(),
        "assd": mean.item(),
        "nsd": nsd.item(),
    }


def check_surfaces(judge: Judge, spacing: Spacing | None, seeds: range) -> None:
    """Compare with another judge, at a tolerance that equals no distance on these grids."""
    tolerance, unit = 1.03, "px" if spacing is None else "mm"
    for seed in seeds:
        first, second = random_pair(seed)
        found = surface_metrics(first, second, spacing, tolerance)
        expected = judge(first, second, spacing or (1.0, 1.0), tolerance)
        assert found["nsd"] == pytest.approx(expected["nsd"], abs=1e-6), seed
        for name in DISTANCES:
            value = pytest.approx(expected[name], rel=1e-5, abs=1e-6)
            assert found[f"{name}_{unit}"] == value, (seed, name)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_surfaces_agree_with_brute_force(spacing: Spacing | None) -> None:
    check_surfaces(brute_force, spacing, range(300))


@pytest.mark.parametrize(("spacing", "start"), zip(SPACINGS, range(0, 320, 80), strict=True))
def test_surfaces_agree_with_monai(spacing: Spacing | None, start: int) -> None:
    check_surfaces(monai, spacing, range(start, start + 80))


@pytest.mark.parametrize("seed", range(3))
def test_large_masks_agree_with_monai(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (
        cv2.GaussianBlur(rng.normal(size=(512, 391)), (0, 0), 25) > 0 for _ in range(2)
    )
    spacing = (0.3, 0.31)
    found, expected = surface_metrics(first, second, spacing), monai(first, second, spacing, 2)
    assert found["nsd"] == pytest.approx(expected["nsd"], abs=1e-6)
    assert [found[f"{name}_mm"] for name in DISTANCES] == pytest.approx(
        [expected[name] for name in DISTANCES], rel=1e-5
    )


@pytest.mark.parametrize("kind", [line, noise])
def test_sparse_and_dense_boundaries_have_the_same_distances(kind: Shaper) -> None:
    """The KD-tree and the distance transform are chosen by density; neither may show."""
    mask, reference = (kind(np.random.default_rng(seed), (60, 50)) for seed in (1, 3))
    mask[0, 0] = reference[59, 49] = True
    expected = brute_force(mask, reference, (0.7, 1.1), 1.0)["hausdorff"]
    far = np.pad(mask, 200), np.pad(reference, 200)
    far[0][0, 0] = far[1][0, 0] = True  # shared, so that only the box grows and thins out
    for pair in ((mask, reference), far):
        found = surface_metrics(*pair, (0.7, 1.1))["hausdorff_mm"]
        assert found == pytest.approx(expected, abs=1e-12)


def test_hand_computed_surfaces() -> None:
    prediction, reference = np.zeros((2, 6, 8), np.bool_)
    prediction[1:4, 1:4] = True  # a ring of 8 boundary pixels
    reference[1:4, 1:4] = True
    reference[1, 7] = True  # 4 columns from the nearest predicted pixel
    found = surface_metrics(prediction, reference, (1.0, 0.5), tolerance=1.0)
    assert found == pytest.approx(
        {
            "nsd": 16 / 17,
            "hausdorff_px": 4.0,
            "hausdorff95_px": np.percentile([0] * 8 + [4], 95),
            "assd_px": 4 / 17,
            "hausdorff_mm": 2.0,
            "hausdorff95_mm": np.percentile([0] * 8 + [2], 95),
            "assd_mm": 2 / 17,
        }
    )


def test_foreground_at_the_image_border_is_boundary() -> None:
    full, hole = np.ones((9, 9), np.bool_), np.ones((9, 9), np.bool_)
    hole[4, 4] = False
    # The hole's four neighbours lie 3 pixels from the frame; the frame itself is shared.
    assert surface_metrics(hole, full)["hausdorff_px"] == 3.0
    assert surface_metrics(full, full)["hausdorff_px"] == 0.0


def test_default_tolerance_is_two_millimetres_or_their_share_of_the_diagonal() -> None:
    share = 2.0 / math.hypot(2048 * 0.175, 2048 * 0.175)
    assert pytest.approx(share) == NSD_TOLERANCE_SHARE
    for shape in ((512, 512), (300, 900)):
        pixels = share * math.hypot(*shape)
        for gap in (math.floor(pixels), math.floor(pixels) + 1):
            first, second = np.zeros((2, *shape), np.bool_)
            first[100, 100] = second[100, 100 + gap] = True
            assert surface_metrics(first, second)["nsd"] == float(gap <= pixels)
    first, second = np.zeros((2, 50, 50), np.bool_)
    first[10, 10] = second[14, 10] = True
    assert surface_metrics(first, second, (0.5, 9.0))["nsd"] == 1.0  # 2 mm exactly
    assert surface_metrics(first, second, (0.51, 9.0))["nsd"] == 0.0


@pytest.mark.parametrize("seed", range(25))
def test_overlap_agrees_with_sklearn(seed: int) -> None:
    first, second = random_pair(seed)
    truth, guess = second.ravel(), first.ravel()
    found = overlap_metrics(first, second)
    expected = {
        "dice": f1_score(truth, guess),
        "iou": jaccard_score(truth, guess),
        "precision": precision_score(truth, guess, zero_division=0),
        "recall": recall_score(truth, guess),
        "accuracy": accuracy_score(truth, guess),
    }
    assert found == pytest.approx(expected)
    assert list(found) == list(expected)


@pytest.mark.parametrize("levels", [2, 7, 100_000])
@pytest.mark.parametrize("foreground", [0.02, 0.3, 0.9])
def test_area_under_curve_agrees_with_sklearn(levels: int, foreground: float) -> None:
    rng = np.random.default_rng(levels)
    reference = rng.random((37, 53)) < foreground
    scores = np.round((rng.random((37, 53)) + 0.3 * reference) * levels) / levels
    for probability in (scores.astype(np.float32), scores.astype(np.float64)):
        expected = roc_auc_score(reference.ravel(), probability.ravel())
        assert area_under_curve(probability, reference) == pytest.approx(expected, abs=1e-12)


def test_area_under_curve_of_known_orders() -> None:
    reference = np.array([[True, True, False, False]])
    orders = {(3, 2, 1, 0): 1.0, (0, 1, 2, 3): 0.0, (1, 1, 1, 1): 0.5, (2, 0, 1, 0): 0.625}
    for scores, area in orders.items():
        assert area_under_curve(np.array([scores], np.float32), reference) == area


@pytest.mark.parametrize("value", [False, True])
def test_area_under_curve_is_undefined_with_one_class(value: bool) -> None:
    assert area_under_curve(np.random.rand(4, 5), np.full((4, 5), value)) is None


def test_area_under_curve_refuses_nan() -> None:
    probability, reference = np.random.rand(4, 5), np.eye(4, 5, dtype=np.bool_)
    probability[2, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        area_under_curve(probability, reference)


EMPTY_PX, EMPTY_MM = math.hypot(30, 40), math.hypot(30 * 2.0, 40 * 0.5)


@pytest.mark.parametrize("missing", ["prediction", "reference"])
def test_one_empty_mask_costs_the_diagonal(missing: str) -> None:
    prediction, reference = np.zeros((2, 30, 40), np.bool_)
    (reference if missing == "prediction" else prediction)[5:9, 7:11] = True
    found = case_metrics(prediction, reference, spacing=(2.0, 0.5))
    for name in ("dice", "iou", "precision", "recall", "nsd"):
        assert found[name] == 0.0
    assert found["accuracy"] == 1 - 16 / 1200
    for name in DISTANCES:
        assert found[f"{name}_px"] == EMPTY_PX
        assert found[f"{name}_mm"] == EMPTY_MM


def test_two_empty_masks_agree() -> None:
    empty = np.zeros((30, 40), np.bool_)
    found = case_metrics(empty, empty, np.zeros(empty.shape), (2.0, 0.5))
    for name in ("dice", "iou", "precision", "recall", "accuracy", "nsd"):
        assert found[name] == 1.0
    for name in DISTANCES:
        assert found[f"{name}_px"] == found[f"{name}_mm"] == 0.0
    assert found["auc"] is None


def test_case_metrics_fill_the_columns_of_the_contract() -> None:
    first, second = random_pair(0)
    found = case_metrics(first, second)
    elsewhere = ("dice_netgrid", "iou_netgrid", "hausdorff_rowvector")
    assert list(found) == [m for m in METRICS if m not in elsewhere and "nodule" not in m]
    absent = {name for name, value in found.items() if value is None}
    assert absent == {"auc", "hausdorff_mm", "hausdorff95_mm", "assd_mm"}
    full = case_metrics(first, second, second.astype(np.float32), (1.0, 2.0))
    assert full["auc"] == 1.0
    assert all(type(value) is float for value in full.values())


def test_masks_that_cannot_be_compared_are_refused() -> None:
    mask = np.ones((4, 5), np.bool_)
    numbers: Any = mask.astype(np.uint8)
    for first, second in [
        (mask, numbers),
        (mask, mask.T),
        (mask, mask[:1]),
        (mask[None], mask[None]),
        (mask[:0], mask[:0]),
    ]:
        with pytest.raises(ValueError, match="expected"):
            case_metrics(first, second)
    for spacing in ((0.0, 1.0), (1.0, math.nan), (-1.0, 1.0), (math.inf, 1.0)):
        with pytest.raises(ValueError, match="spacing"):
            surface_metrics(mask, mask, spacing)


def test_inputs_are_left_alone() -> None:
    first, second = random_pair(3)
    copies = first.copy(), second.copy()
    for mask in (first, second):
        mask.flags.writeable = False
    strided = np.array(first, np.bool_, order="F")
    strided.flags.writeable = False
    assert case_metrics(strided, second) == case_metrics(*copies)
    assert (first == copies[0]).all() and (second == copies[1]).all()


masks = st.integers(0, 2**32 - 1).map(random_pair)
properties = settings(max_examples=60, deadline=None)


@properties
@given(masks)
def test_order_of_the_masks_does_not_matter(pair: tuple[Mask, Mask]) -> None:
    there = case_metrics(*pair, spacing=(0.7, 1.1))
    back = case_metrics(*pair[::-1], spacing=(0.7, 1.1))
    there["precision"], there["recall"] = there["recall"], there["precision"]
    assert there == pytest.approx(back)


@properties
@given(masks)
def test_a_mask_equals_itself(pair: tuple[Mask, Mask]) -> None:
    found = case_metrics(pair[0], pair[0], spacing=(0.7, 1.1))
    for name, value in found.items():
        if name != "auc":
            assert value == (0.0 if name.startswith(DISTANCES) else 1.0), name


@properties
@given(masks)
def test_ranges_and_relations(pair: tuple[Mask, Mask]) -> None:
    found = {
        name: value
        for name, value in case_metrics(*pair, pair[0].astype(np.float32), (0.7, 1.1)).items()
        if value is not None
    }
    for name in ("dice", "iou", "precision", "recall", "accuracy", "nsd"):
        assert 0 <= found[name] <= 1
    assert found["dice"] == pytest.approx(2 * found["iou"] / (1 + found["iou"]))
    for unit, sides in (("px", (1.0, 1.0)), ("mm", (0.7, 1.1))):
        height, width = pair[0].shape
        largest = found[f"hausdorff_{unit}"]
        assert 0 <= largest < math.hypot(height * sides[0], width * sides[1])
        assert found[f"hausdorff95_{unit}"] <= largest
        assert found[f"assd_{unit}"] <= largest


@properties
@given(masks, st.integers(0, 9), st.integers(0, 9))
def test_moving_both_masks_changes_nothing(pair: tuple[Mask, Mask], down: int, right: int) -> None:
    frames = ((5, 6), (5, 6)), ((1 + down, 10 - down), (1 + right, 10 - right))
    here, there = (
        case_metrics(np.pad(pair[0], frame), np.pad(pair[1], frame), spacing=(0.7, 1.1))
        for frame in frames
    )
    assert here == pytest.approx(there)


@properties
@given(masks, st.floats(0.01, 50), st.booleans())
def test_distances_scale_with_the_spacing(
    pair: tuple[Mask, Mask], factor: float, isotropic: bool
) -> None:
    spacing = (1.0, 1.0) if isotropic else (0.7, 1.1)
    scaled = spacing[0] * factor, spacing[1] * factor
    base, grown = surface_metrics(*pair, spacing), surface_metrics(*pair, scaled)
    for name in DISTANCES:
        before, after = base[f"{name}_mm"], grown[f"{name}_mm"]
        assert before is not None and after == pytest.approx(before * factor)
        assert grown[f"{name}_px"] == base[f"{name}_px"]
        if isotropic:
            assert base[f"{name}_mm"] == base[f"{name}_px"]


@properties
@given(masks, st.floats(0, 20), st.floats(0, 20))
def test_a_larger_tolerance_never_lowers_nsd(
    pair: tuple[Mask, Mask], one: float, other: float
) -> None:
    strict, lenient = (
        surface_metrics(*pair, tolerance=tolerance)["nsd"] for tolerance in sorted((one, other))
    )
    assert strict is not None and lenient is not None
    assert strict <= lenient

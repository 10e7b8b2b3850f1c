"""Distances between surfaces in three dimensions, against MONAI, brute force and hand counts."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.surface_dice import compute_surface_dice
from monai.metrics.surface_distance import compute_average_surface_distance
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.spatial.distance import cdist

from lightning_modules.metrics.surfaces import inner_edge, volume_surface

SHAPES = ((6, 9, 11), (1, 12, 7), (9, 1, 8), (5, 14, 1), (12, 6, 6))
SPACINGS = ((2.5, 0.7, 0.7), (1.0, 0.6, 1.3), (0.5, 2.0, 2.0))


def random_volume(rng, shape):
    """A smooth body or specks, touching the border or not, never empty."""
    noise = rng.normal(size=shape)
    volume = gaussian_filter(noise, rng.uniform(0.5, 2)) > rng.uniform(-0.1, 0.3)
    if rng.random() < 0.3:
        volume = rng.random(shape) < rng.choice([0.02, 0.5])
    volume[tuple(rng.integers(side) for side in shape)] = True
    return volume


def random_pair(seed):
    rng = np.random.default_rng(seed)
    return [random_volume(rng, SHAPES[seed % len(SHAPES)]) for _ in range(2)]


def brute_force(first, second, spacing, tolerance):
    """The definitions word for word: every voxel of either surface against every other."""
    surfaces = [np.argwhere(v & ~binary_erosion(v)) * np.array(spacing) for v in (first, second)]
    table = cdist(*surfaces)
    there, back = table.min(axis=1), table.min(axis=0)
    pooled = np.concatenate((there, back))
    percentile = max(np.percentile(there, 95), np.percentile(back, 95))
    return (pooled.max(), percentile, pooled.mean(), np.mean(pooled <= tolerance))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_volumes_agree_with_brute_force(spacing):
    for seed in range(60):
        first, second = random_pair(seed)
        found = volume_surface(first, second, spacing, 1.03)
        assert found == pytest.approx(brute_force(first, second, spacing, 1.03), abs=1e-9), seed


@pytest.mark.parametrize("spacing", SPACINGS)
def test_volumes_agree_with_monai(spacing):
    for seed in range(100, 110):
        first, second = random_pair(seed)
        a, b = (torch.from_numpy(volume)[None, None].float() for volume in (first, second))
        sides = list(spacing)
        expected = (
            compute_hausdorff_distance(a, b, True, spacing=sides).item(),
            compute_hausdorff_distance(a, b, True, spacing=sides, percentile=95).item(),
            compute_average_surface_distance(a, b, True, symmetric=True, spacing=sides).item(),
            compute_surface_dice(a, b, [1.03], True, spacing=sides).item(),
        )
        assert volume_surface(first, second, spacing, 1.03) == pytest.approx(expected, rel=1e-5)


def test_two_voxels_lie_as_far_apart_as_pythagoras_says():
    first, second = np.zeros((2, 9, 30, 30), np.bool_)
    first[1, 5, 5] = second[4, 9, 17] = True
    away = math.hypot(3 * 2.5, 4 * 0.7, 12 * 0.7)
    assert volume_surface(first, second, (2.5, 0.7, 0.7)) == pytest.approx((away, away, away, 0))
    assert volume_surface(first, first, (2.5, 0.7, 0.7)) == (0, 0, 0, 1)


def test_a_surface_shifted_by_two_millimetres_is_tolerated_and_by_more_is_not():
    for steps, side, expected in ((5, 0.4, 1.0), (4, 0.5, 1.0), (3, 0.7, 0.0)):
        first, second = np.zeros((2, 1, 4, 30), np.bool_)
        first[0, 1, 5] = second[0, 1, 5 + steps] = True
        assert volume_surface(first, second, (1.0, side, side)).nsd == expected


def test_the_first_and_last_slices_are_surface_where_the_body_is_cut_off():
    body = np.zeros((4, 7, 7), np.bool_)
    body[:, 1:6, 1:6] = True
    edge = inner_edge(body)
    assert (edge[[0, 3]] == body[[0, 3]]).all()
    assert edge[1].sum() == edge[2].sum() == 16


def test_one_empty_volume_costs_the_diagonal_and_two_agree():
    body, empty = np.zeros((2, 10, 30, 40), np.bool_)
    body[3:5, 4:9, 4:9] = True
    away = math.hypot(10 * 2.5, 30 * 0.5, 40 * 0.5)
    for pair in ((body, empty), (empty, body)):
        assert volume_surface(*pair, (2.5, 0.5, 0.5)) == (away, away, away, 0)
    assert volume_surface(empty, empty, (2.5, 0.5, 0.5)) == (0, 0, 0, 1)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), shift=st.integers(1, 4))
def test_distances_are_symmetric_scale_with_the_spacing_and_ignore_empty_margins(seed, shift):
    first, second = random_pair(seed)
    spacing = np.array(SPACINGS[seed % len(SPACINGS)])
    found = volume_surface(first, second, spacing)
    assert volume_surface(second, first, spacing) == pytest.approx(found)
    wide = [np.pad(volume, shift) for volume in (first, second)]
    assert volume_surface(*wide, spacing) == pytest.approx(found)
    doubled = volume_surface(first, second, 2 * spacing, 4.0)
    assert doubled == pytest.approx((*(2 * d for d in found[:3]), found.nsd))
    assert found.assd <= found.hausdorff and found.hausdorff95 <= found.hausdorff


def test_volumes_that_cannot_be_compared_are_refused():
    body = np.ones((2, 3, 4), np.bool_)
    for first, second in ((body, body[0]), (body[0], body[0]), (body, body.astype(int))):
        with pytest.raises(ValueError, match="expected"):
            volume_surface(first, second, (1, 1, 1))
    for spacing in ((1, 1), (0, 1, 1), (1, 1, math.nan)):
        with pytest.raises(ValueError, match="3 positive lengths"):
            volume_surface(body, body, spacing)

"""What is computed a quicker way than the plain one equals it to the last bit."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightning_modules.activations import hard_masks
from lightning_modules.metrics.quality import SPECK_SHARE, components
from lightning_modules.metrics.scan_metrics import hausdorff_rowvector
from lightning_modules.metrics.surfaces import distances_between, squares_in_plane

masks = arrays(np.bool_, (12, 9))


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, st.tuples(st.just(2), st.integers(2, 5), st.just(4), st.just(3)),
              elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])))  # fmt: skip
def test_hard_masks_are_those_of_argmax_ties_included(values):
    probabilities = torch.from_numpy(values)
    winner = probabilities.argmax(dim=1, keepdim=True)
    expected = torch.zeros_like(probabilities, dtype=torch.bool).scatter_(1, winner, True)
    assert torch.equal(hard_masks(probabilities, "softmax"), expected)


@settings(max_examples=60, deadline=None)
@given(masks, masks)
def test_the_distance_between_rows_is_that_of_all_rows(one, other):
    differing = (one[:, None] != other[None]).sum(axis=2)
    expected = math.sqrt(max(differing.min(axis=1).max(), differing.min(axis=0).max()))
    assert hausdorff_rowvector(one, other) == expected


@settings(max_examples=60, deadline=None)
@given(masks, st.booleans())
def test_components_inside_the_box_are_those_of_the_image(mask, turned):
    mask = mask.T if turned else mask
    areas = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[2]
    expected = np.count_nonzero(areas[1:, cv2.CC_STAT_AREA] >= SPECK_SHARE * mask.size)
    assert components(mask) == expected


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([0.005, 0.05, 0.5]),
       st.sampled_from([(1.5, 0.7, 0.7), (0.3, 1.0, 0.6), (9.0, 1.0, 1.0)]))  # fmt: skip
def test_distances_over_slices_are_those_measured_from_every_slice(seed, depth, share, spacing):
    """Slices that are left out could not have come nearer, though surfaces be far apart."""
    random = np.random.default_rng(seed)
    one, other = random.random((2, depth, 7, 6)) < share
    one[0, 0, 0] = other[-1, -1, -1] = True
    for points, others, found in zip(
        (one, other), (other, one), distances_between(one, other, spacing), strict=True
    ):
        squares = np.full(points.shape, np.inf)
        for place, plane in enumerate(others):
            if plane.any():
                apart = ((np.arange(depth) - place) * spacing[0]) ** 2
                away = squares_in_plane(plane, *spacing[1:])[None] + apart[:, None, None]
                squares = np.minimum(squares, away)
        assert np.array_equal(found, np.sqrt(squares[points]))


@settings(max_examples=60, deadline=None)
@given(masks, masks)
def test_distances_between_sparse_pixels_are_those_of_all_pairs(one, other):
    one[0, 0] = other[-1, -1] = True
    wide = [np.pad(mask, ((0, 0), (0, 300))) for mask in (one, other)]  # few pixels: by a tree
    here, there = (np.argwhere(mask) for mask in (one, other))
    apart = np.sqrt(((here[:, None] - there[None]).astype(float) ** 2).sum(axis=2))
    forward, backward = distances_between(*wide, (1.0, 1.0))
    assert np.array_equal(forward, apart.min(axis=1))
    assert np.array_equal(backward, apart.min(axis=0))

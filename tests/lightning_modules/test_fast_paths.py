"""What is computed a quicker way than the plain one equals it: to the last bit, but for norms."""

from __future__ import annotations

import math
import warnings

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from lightning_modules.activations import hard_masks
from lightning_modules.generators.blocks import InstanceNorm2d, MaxPool2d
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


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, st.tuples(st.just(2), st.just(3), st.integers(2, 9), st.integers(2, 9)),
              elements=st.sampled_from([-1.0, 0.0, 0.25, np.nan, np.inf])))  # fmt: skip
def test_pooled_maps_are_those_of_pytorch(values):
    """Odd sides lose their last pixel, and what is no number stays seen."""
    x = torch.from_numpy(values)
    plain = nn.MaxPool2d(2)(x)
    assert torch.equal(MaxPool2d()(x).nan_to_num(7.0), plain.nan_to_num(7.0))
    trained, pooled = (x.clone().requires_grad_() for _ in range(2))
    nn.MaxPool2d(2)(trained).sum().backward()
    MaxPool2d()(pooled).sum().backward()
    assert torch.equal(trained.grad, pooled.grad)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (1, 4, 2, 2), (3, 1, 1, 2)])
def test_instance_norm_is_that_of_pytorch(training, shape):
    torch.manual_seed(1)
    x, towards = torch.randn(shape, dtype=torch.double) * 40 + 3, torch.randn(shape)
    results = []
    for kind in (nn.InstanceNorm2d, InstanceNorm2d):
        norm = kind(shape[1], affine=True).double().train(training)
        nn.init.constant_(norm.weight, 1.5)
        nn.init.constant_(norm.bias, -0.25)
        image = x.clone().requires_grad_()
        found = norm(image)
        (found * towards).sum().backward()
        results.append([found.detach(), image.grad, norm.weight.grad, norm.bias.grad])
    for plain, quick in zip(*results, strict=True):
        torch.testing.assert_close(quick, plain, rtol=1e-9, atol=1e-9)


def test_a_map_of_one_pixel_has_no_variance_to_norm_by():
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        InstanceNorm2d(2, affine=True)(torch.ones(4, 2, 1, 1))


def test_files_hold_the_plain_layers():
    """Other runtimes have kernels for pooling and instance norm, and none for our detours."""
    network = nn.Sequential(InstanceNorm2d(2, affine=True), MaxPool2d()).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that shapes are taken for constants
        traced = torch.jit.trace(network, torch.randn(1, 2, 4, 4))
        whole = torch.export.export(network, (torch.randn(1, 2, 4, 4),))
    assert {"aten::instance_norm", "aten::max_pool2d"} <= {
        n.kind() for n in traced.inlined_graph.nodes()
    }
    targets = {str(node.target) for node in whole.graph.nodes}
    assert {"aten.instance_norm.default", "aten.max_pool2d.default"} <= targets

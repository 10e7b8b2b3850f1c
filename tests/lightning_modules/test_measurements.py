"""Areas, the cardiothoracic ratio and the flag, on masks whose answers are known by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lightning_modules.metrics.measurements import cardiothoracic_ratio, measure_structure
from lightning_modules.metrics.quality import SPECK_SHARE, assess, components, disagreement
from lightning_modules.metrics.scoring import lung_masks, score_case


def rectangle(shape, top, left, height, width):
    mask = np.zeros(shape, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def thorax(shape=(200, 200)):
    return rectangle(shape, 40, 20, 100, 60) | rectangle(shape, 40, 120, 100, 60)


def test_areas_in_pixels_and_in_square_millimetres():
    masks = {"lungs": rectangle((50, 40), 5, 5, 10, 20)}
    assert measure_structure(masks, "lungs", (0.5, 0.2)) == {
        "area_px": 200,
        "area_mm2": pytest.approx(200 * 0.5 * 0.2),
        "cardiothoracic_ratio": None,
    }
    assert measure_structure(masks, "lungs", None)["area_mm2"] is None


def test_the_ratio_is_width_over_width_wherever_the_widest_rows_are():
    lungs = thorax()  # 160 columns wide
    lungs |= rectangle(lungs.shape, 20, 60, 20, 80)  # narrower above
    heart = rectangle(lungs.shape, 100, 70, 10, 30) | rectangle(lungs.shape, 110, 90, 10, 50)
    assert cardiothoracic_ratio(heart, lungs) == 70 / 160
    measured = measure_structure({"lungs": lungs, "heart": heart}, "heart", None)
    assert measured["cardiothoracic_ratio"] == 70 / 160
    staggered = rectangle((9, 9), 0, 0, 2, 3) | rectangle((9, 9), 5, 6, 2, 3)
    assert cardiothoracic_ratio(rectangle((9, 9), 3, 2, 3, 3), staggered) == 1  # 3 over a row's 3


def test_no_heart_or_no_lungs_has_no_ratio():
    nothing = np.zeros((200, 200), bool)
    assert cardiothoracic_ratio(nothing, thorax()) is None
    assert cardiothoracic_ratio(thorax(), nothing) is None
    assert measure_structure({"lungs": thorax()}, "lungs", None)["cardiothoracic_ratio"] is None


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 3),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_measurements_follow_shifts_scale_and_mirrors(seed, scale, down, along):
    random = np.random.default_rng(seed)
    lungs, heart = random.random((2, 24, 28)) < 0.2
    if not (lungs.any() and heart.any()):
        return
    ratio = cardiothoracic_ratio(heart, lungs)

    def moved(mask):
        return np.pad(mask.repeat(scale, 0).repeat(scale, 1), ((down, 0), (along, 0)))

    assert cardiothoracic_ratio(moved(heart), moved(lungs)) == pytest.approx(ratio)
    assert cardiothoracic_ratio(heart[:, ::-1], lungs[:, ::-1]) == ratio
    area = measure_structure({"lungs": lungs}, "lungs", (2.0, 3.0))["area_mm2"]
    spacing = (2.0 / scale, 3.0 / scale)
    finer = measure_structure({"lungs": moved(lungs)}, "lungs", spacing)["area_mm2"]
    assert finer == pytest.approx(area)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.3, 0.5]))
def test_components_are_scipys_of_at_least_a_speck(seed, share):
    mask = np.random.default_rng(seed).random((64, 96)) < share
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    areas = ndimage.sum_labels(mask, labels, range(1, count + 1))
    assert components(mask) == (areas >= SPECK_SHARE * mask.size).sum()


def test_specks_are_no_component():
    mask = thorax()
    mask[0, 0] = mask[5, 5] = True
    assert components(mask) == 2
    assert components(np.zeros((20, 20), bool)) == 0


def test_a_plausible_mask_is_not_flagged():
    assert not assess(thorax(), 0.05).flagged
    assert not assess(thorax(), None).flagged


@pytest.mark.parametrize(
    ("lungs", "differing", "reason"),
    [
        (thorax(), 0.11, "differ by 0.110"),
        (thorax() | rectangle((200, 200), 160, 20, 20, 20), 0.0, "3 connected parts"),
        (np.zeros((200, 200), bool), 0.0, "0 connected parts"),
        (rectangle((200, 200), 40, 20, 40, 60), 0.0, "6% of the film"),
        (rectangle((200, 200), 0, 0, 200, 190), 0.0, "95% of the film"),
    ],
)
def test_each_fault_is_flagged_in_words(lungs, differing, reason):
    quality = assess(lungs, differing)
    assert quality.flagged and reason in "; ".join(quality.reasons)


def test_disagreement_is_one_minus_dice():
    one, other = rectangle((10, 10), 0, 0, 4, 4), rectangle((10, 10), 0, 2, 4, 4)
    assert disagreement(one, other) == pytest.approx(0.5)
    assert disagreement(one, one) == disagreement(one & False, one & False) == 0


def test_rows_carry_measurements_of_both_sides_and_the_quality_of_the_lungs():
    structures = ["background", "left_lung", "right_lung", "heart"]
    shape = (200, 200)
    right, left = rectangle(shape, 40, 20, 100, 60), rectangle(shape, 40, 120, 100, 60)
    heart = rectangle(shape, 100, 80, 30, 40)
    planes = np.stack([~(left | right | heart), left, right, heart]).astype(np.float32)
    probabilities = torch.from_numpy(planes)
    references = {"lungs": thorax(), "heart": rectangle(shape, 100, 70, 40, 60)}
    mirrored = np.roll(thorax(), 12, axis=0)
    rows = score_case(
        probabilities, probabilities, references, (0, 0, *shape), (0.5, 0.5), structures,
        "softmax", mirrored,
    )  # fmt: skip
    of = {row["structure"]: row for row in rows}
    assert (of["lungs"]["area_px"], of["lungs"]["reference_area_px"]) == (12000, 12000)
    assert (of["heart"]["area_mm2"], of["heart"]["reference_area_mm2"]) == (300, 600)
    assert of["heart"]["cardiothoracic_ratio"] == pytest.approx(40 / 160)
    assert of["heart"]["reference_cardiothoracic_ratio"] == pytest.approx(60 / 160)
    assert of["lungs"]["cardiothoracic_ratio"] is None
    assert of["lungs"]["disagreement"] == pytest.approx(0.12)
    assert of["lungs"]["flagged"] is True and of["lungs"]["components"] == 2
    assert of["heart"]["components"] == 1 and "flagged" not in of["heart"]


def test_only_the_film_inside_the_padding_is_compared():
    probabilities = torch.zeros(1, 8, 8)
    probabilities[:, :, 2:6] = 1
    mirrored = np.ones((8, 8), bool)  # foreground in the padding, which is no film
    row = score_case(
        probabilities, probabilities, {"lungs": np.ones((16, 8), bool)}, (0, 2, 8, 4), None,
        ["lungs"], "sigmoid", mirrored,
    )[0]  # fmt: skip
    assert row["disagreement"] == 0


def test_lung_masks_join_both_sides_so_that_mirroring_them_does_not_matter():
    sides = torch.zeros(1, 3, 4, 6)
    sides[0, 1, :, :2] = sides[0, 2, :, 4:] = 1
    sides[0, 0] = 0.5
    names = ["background", "left_lung", "right_lung"]
    lungs = lung_masks(sides, names, "softmax")
    exchanged = lung_masks(
        sides[:, [0, 2, 1]], ["background", "left_lung", "right_lung"], "softmax"
    )
    assert (lungs == exchanged).all() and lungs[0].sum() == 16

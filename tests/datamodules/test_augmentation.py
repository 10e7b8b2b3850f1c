"""Random changes: masks follow the film, sides change names, everything repeats."""

import numpy as np
import pytest

from datamodules.augmentation import Augmentation
from datamodules.cache import PLANES

LEFT, RIGHT, HEART = (PLANES[name] for name in ("left_lung", "right_lung", "heart"))


@pytest.fixture
def film():
    """A bright square that is the patient's left lung, at the image's right, and its planes."""
    image, planes = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    image[20:40, 40:55] = 200
    planes[20:40, 40:55] = LEFT | HEART
    planes[22:30, 5:10] = RIGHT
    return image, planes


def test_no_change_by_default(film):
    image, planes = Augmentation()(*film, np.random.default_rng(0))
    assert np.array_equal(image, film[0]) and np.array_equal(planes, film[1])


def test_a_flip_swaps_left_and_right_but_not_the_heart(film):
    _, planes = Augmentation(flip=1.0)(*film, np.random.default_rng(0))
    assert (planes[20:40, 9:24] == RIGHT | HEART).all()
    assert (planes[22:30, 54:59] == LEFT).all()


@pytest.mark.parametrize(
    "change",
    [{"rotate": 20}, {"shift": 0.1}, {"scale": 0.3}, {"stretch": 0.4}, {"shear": 15}],
)
def test_masks_move_with_the_film(film, change):
    moved = 0
    for seed in range(5):
        image, planes = Augmentation(**change)(*film, np.random.default_rng(seed))
        bright, mask = image > 100, (planes & LEFT) > 0
        assert 2 * (bright & mask).sum() / (bright.sum() + mask.sum()) > 0.9
        moved += not np.array_equal(planes, film[1])
    assert moved >= 4


def test_stretching_keeps_the_area(film):
    areas = [
        ((Augmentation(stretch=0.5)(*film, np.random.default_rng(s))[1] & LEFT) > 0).sum()
        for s in range(20)
    ]
    assert np.mean(areas) == pytest.approx(300, rel=0.05)


@pytest.mark.parametrize(
    "change",
    [
        {"brightness": 0.3},
        {"contrast": 0.5},
        {"gamma": 0.5},
        {"curve": 0.8},
        {"shade": 0.4},
        {"blur": 2.0},
        {"noise": 0.1},
    ],
)
def test_tones_change_but_masks_do_not(film, change):
    image, planes = Augmentation(**change)(*film, np.random.default_rng(4))
    assert image.dtype == np.uint8 and not np.array_equal(image, film[0])
    assert np.array_equal(planes, film[1])


def test_a_tone_curve_keeps_the_order_of_grey_values_and_both_ends():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for seed in range(5):
        random = np.random.default_rng(seed)
        bent, _ = Augmentation(curve=1.0)(ramp, np.zeros_like(ramp), random)
        assert (np.diff(bent.ravel().astype(int)) >= 0).all()
        assert bent.ravel()[0] == 0 and bent.ravel()[-1] == 255


def test_shade_is_linear_across_the_film():
    grey, planes = np.full((33, 33), 128, np.uint8), np.zeros((33, 33), np.uint8)
    shaded, _ = Augmentation(shade=0.4)(grey, planes, np.random.default_rng(3))
    along = np.diff(shaded[16].astype(int))
    assert shaded[16, 16] == 128 and np.ptp(along) <= 1 and along.any()
    assert np.abs(shaded.astype(int) - 128).max() <= 0.4 * 255 + 1


def test_the_same_draw_gives_the_same_film(film):
    change = Augmentation(rotate=10, shift=0.1, gamma=0.3, noise=0.05, flip=0.5)
    one, two = (change(*film, np.random.default_rng([1, 2, 3])) for _ in range(2))
    assert np.array_equal(one[0], two[0]) and np.array_equal(one[1], two[1])

"""A prediction beside that for the mirror image, and their mean."""

import pytest
import torch

from lightning_modules.adversarial import AdversarialSegmenter
from lightning_modules.generators.unet import UNet
from lightning_modules.losses import CrossEntropy

STRUCTURES = ("background", "left_lung", "right_lung", "heart")


def module(mirror):
    torch.manual_seed(3)
    generator = UNet(classes=4, widths=[4, 8])
    return AdversarialSegmenter(STRUCTURES, generator, CrossEntropy(), mirror=mirror).eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(5))


@torch.inference_mode()
def test_the_second_view_is_the_mirrored_films_turned_back_with_sides_exchanged(images):
    plain = module(mirror=False)
    own, other = plain.views(images)
    assert torch.equal(own, plain(images))
    assert torch.equal(other, plain(images.flip(-1)).flip(-1)[:, [0, 2, 1, 3]])


@torch.inference_mode()
def test_with_mirror_a_prediction_is_the_mean_of_both_views(images):
    own, other = module(mirror=False).views(images)
    mean, second = module(mirror=True).views(images)
    assert torch.equal(mean, (own + other) / 2) and torch.equal(second, other)
    assert torch.equal(module(mirror=True)(images), mean)


@torch.inference_mode()
def test_the_mean_of_a_mirrored_film_is_the_mirrored_mean_with_sides_exchanged(images):
    both = module(mirror=True)
    turned = both(images.flip(-1)).flip(-1)[:, [0, 2, 1, 3]]
    assert torch.allclose(both(images), turned, atol=1e-6)


def test_training_and_validation_see_the_film_alone(images):
    plain, both = module(mirror=False), module(mirror=True)
    assert torch.equal(plain.logits(images), both.logits(images))


def test_one_lung_alone_cannot_be_averaged_with_the_other():
    with pytest.raises(ValueError, match="both lungs"):
        AdversarialSegmenter(
            ["background", "left_lung"], UNet(2, widths=[4, 8]), CrossEntropy(), mirror=True
        )

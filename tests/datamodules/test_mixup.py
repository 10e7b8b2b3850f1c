"""Mixup: soft targets, a pair's own draw, fresh pairs each epoch, the same on resume."""

import numpy as np
import pytest
import torch

from contract.errors import UserError
from datamodules.augmentation import Augmentation
from datamodules.base import ProtocolDataModule
from datamodules.datasets import TrainingSet
from datamodules.preprocessing import Preprocessing
from datamodules.protocol import Protocol

STRUCTURES = ("background", "left_lung", "right_lung")
SMALL = Preprocessing(size=32, value_range=(0.0, 1.0))


@pytest.fixture(scope="module")
def open_data(phantom_root, tmp_path_factory):
    """Return a function that opens the data module with further arguments."""
    cache = tmp_path_factory.mktemp("cache")

    def build(**arguments):
        protocol = Protocol(("montgomery",), ("shenzhen",))
        data = ProtocolDataModule(
            phantom_root, protocol, cache, SMALL, STRUCTURES, batch_size=4, **arguments
        )
        data.setup("fit")
        return data

    return build


@pytest.fixture(scope="module")
def make_set(open_data):
    """Return a function that makes a training set."""
    cases = open_data().train_cases

    def make(mixup, seed=0, augmentation=None):
        return TrainingSet(cases, SMALL, STRUCTURES, augmentation, seed, mixup=mixup)

    return make


def pair(data, plain, index, epoch):
    """Find partner and share of a mixed item by trying all partners."""
    mixed = data[index, epoch]["image"]
    own = plain[index, epoch]["image"]
    for partner in range(len(plain)):
        other = plain[partner, epoch]["image"]
        if partner == index:
            continue
        way = own - other
        share = float(((mixed - other) * way).sum() / way.square().sum())
        if torch.allclose(mixed, other + share * way, atol=1e-5):
            return partner, share
    raise AssertionError(f"item {index} is no blend of two")


def test_targets_are_soft_and_blend_as_images_do(make_set):
    data, plain = make_set(0.4), make_set(None)
    for index in range(len(data)):
        partner, share = pair(data, plain, index, 0)
        own, other = (plain[i, 0]["target"] for i in (index, partner))
        target = data[index, 0]["target"]
        assert torch.allclose(target, share * own + (1 - share) * other, atol=1e-4)
        assert torch.allclose(target.sum(dim=0), torch.ones(32, 32), atol=1e-6)
    soft = [data[i, 0]["target"] for i in range(len(data))]
    assert any(((t > 0.01) & (t < 0.99)).any() for t in soft)


def test_each_pair_has_its_own_share_and_each_epoch_fresh_pairs(make_set):
    data, plain = make_set(0.4), make_set(None)
    first, second = ([pair(data, plain, i, e) for i in range(len(data))] for e in (0, 1))
    assert len({round(share, 4) for _, share in first}) > len(data) / 2
    assert len({partner for partner, _ in first}) > 1
    assert [partner for partner, _ in first] != [partner for partner, _ in second]
    assert all(abs(a - b) > 1e-6 for (_, a), (_, b) in zip(first, second, strict=True))


def test_an_item_follows_from_seed_epoch_and_index_alone(make_set):
    data = make_set(0.2)
    forwards = [data[i, 3]["image"] for i in range(len(data))]
    again = make_set(0.2)
    backwards = [again[i, 3]["image"] for i in reversed(range(len(again)))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    other = make_set(0.2, seed=1)
    assert not torch.equal(
        torch.stack(forwards), torch.stack([other[i, 3]["image"] for i in range(len(other))])
    )


def test_shares_follow_the_beta_distribution(make_set):
    data, plain = make_set(0.3), make_set(None)
    shares = np.array([pair(data, plain, i, e)[1] for e in range(20) for i in range(len(data))])
    assert ((shares > -1e-4) & (shares < 1 + 1e-4)).all()
    assert shares.mean() == pytest.approx(0.5, abs=0.08)
    # Beta(d, d) has variance 1 / (4 (2 d + 1)): 0.156 at 0.3, 0.083 if it were uniform.
    assert shares.var() == pytest.approx(1 / (4 * 1.6), abs=0.02)


def test_both_films_of_a_pair_are_augmented(make_set):
    augmentation = Augmentation(rotate=20, noise=0.1)
    data = make_set(0.4, augmentation=augmentation)
    changed = make_set(None, augmentation=augmentation)
    for index in range(len(data)):
        pair(data, changed, index, 0)


def test_a_resumed_epoch_has_the_same_batches(open_data):
    def batches(epoch):
        loader = open_data(mixup=0.2).train_dataloader()
        loader.sampler.set_epoch(epoch)
        return [batch["image"] for batch in loader]

    straight, resumed, earlier = batches(2), batches(2), batches(1)
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))
    assert not torch.equal(straight[0], earlier[0])


def test_validation_and_test_are_never_mixed(open_data):
    mixed, plain = open_data(mixup=0.4), open_data()
    for name in ("val_dataloader", "test_dataloader"):
        pairs = zip(getattr(mixed, name)(), getattr(plain, name)(), strict=True)
        assert all(torch.equal(a["image"], b["image"]) for a, b in pairs)


@pytest.mark.parametrize("mixup", [0.0, -0.1])
def test_a_share_that_is_no_distribution_is_refused(make_set, mixup):
    with pytest.raises(UserError, match="positive"):
        make_set(mixup)

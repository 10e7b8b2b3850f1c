"""Networks of other libraries and of one's own: which fit as they are, and how others are refused.

Real Trainers, on four small films.
"""

import copy
import logging

import pytest
import pytorch_lightning as pl
import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.models import segmentation

from contract.errors import UserError
from lightning_modules.adversarial import AdversarialSegmenter
from lightning_modules.losses import DiceCrossEntropy
from lightning_modules.own_networks import channels_wanted, try_network

SIDE = 64
NO_WEIGHTS = {"weights": None, "weights_backbone": None, "num_classes": 2}


@pytest.fixture
def train(tmp_path):
    """Return a function that trains a network for one epoch of two batches."""

    def fit(network):
        random = torch.Generator().manual_seed(3)
        images = torch.randn(4, 1, SIDE, SIDE, generator=random)
        lungs = (images > 0).float()
        films = [
            {"image": image, "target": torch.cat([1 - mask, mask])}
            for image, mask in zip(images, lungs, strict=True)
        ]
        module = AdversarialSegmenter(["background", "lungs"], network, DiceCrossEntropy())
        trainer = pl.Trainer(
            max_epochs=1, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        )  # fmt: skip
        trainer.fit(module, DataLoader(films, batch_size=2))
        return module

    return fit


class Net(nn.Conv2d):
    """One convolution, whose output a test changes."""

    def __init__(self, change=lambda logits: logits, channels=1, classes=2, **arguments):
        super().__init__(channels, classes, 3, padding=1, **arguments)
        self.change = change

    def forward(self, image):
        return self.change(super().forward(image))


THEIRS = {
    "smp, three channels unless told": lambda: smp.Unet(
        "resnet18", encoder_weights=None, classes=2
    ),
    "smp, with an auxiliary head": lambda: smp.Unet(
        "resnet18", encoder_weights=None, classes=2, in_channels=1, aux_params={"classes": 3}
    ),
    "torchvision": lambda: segmentation.lraspp_mobilenet_v3_large(**NO_WEIGHTS),
    "torchvision, with an auxiliary head": lambda: segmentation.fcn_resnet50(
        **NO_WEIGHTS, aux_loss=True
    ),
}


@pytest.mark.parametrize("name", THEIRS)
def test_networks_of_other_libraries_train_as_they_are(train, name):
    network = THEIRS[name]()
    before = copy.deepcopy(network.state_dict())
    module = train(network)
    assert any(not torch.equal(before[key], now) for key, now in network.state_dict().items())
    module.eval()
    with torch.no_grad():
        assert module(torch.zeros(1, 1, SIDE, SIDE)).shape == (1, 2, SIDE, SIDE)


def test_a_module_that_only_predicts_finds_its_channels_too():
    torch.manual_seed(0)
    network = THEIRS["torchvision"]().eval()
    module = AdversarialSegmenter(["background", "lungs"], network, DiceCrossEntropy()).eval()
    image = torch.rand(2, 1, SIDE, SIDE)
    with torch.inference_mode():
        wanted = network(image.repeat(1, 3, 1, 1))["out"].softmax(dim=1)
        assert torch.equal(module(image), wanted)


def test_a_network_that_repeats_its_image_itself_gets_one_channel():
    class Repeats(Net):
        def forward(self, image):
            return super().forward(image.repeat(1, 3, 1, 1))

    image = torch.zeros(1, 1, 8, 8)
    assert channels_wanted(Repeats(channels=3), image) == 1
    assert channels_wanted(Net(channels=3), image) == 3
    assert channels_wanted(Net(channels=1), image) == 1


def test_the_log_tells_what_was_repeated_and_what_is_not_trained_on(train, caplog):
    with caplog.at_level(logging.INFO, "pytorch_lightning"):
        train(Net(lambda logits: (logits, logits.mean()), channels=3))
    assert "wants 3 channels: grey is repeated in each" in caplog.text
    assert "returns 2 outputs: the first is the masks' logits, the others" in caplog.text


def frozen():
    network = Net()
    network.requires_grad_(False)
    return network


def not_a_number():
    network = Net()
    nn.init.constant_(network.bias, float("nan"))
    return network


FAULTS = {
    "too few classes": (
        lambda: Net(classes=1),
        "an output of shape (2, 1, 64, 64) for images of shape (2, 1, 64, 64)",
        "(2, 2, 64, 64) (images, classes, height, width)",
    ),
    "half the size": (
        lambda: Net(stride=2),
        "an output of shape (2, 2, 32, 32)",
        "(2, 2, 64, 64)",
    ),
    "heads stacked": (
        lambda: Net(lambda logits: torch.stack([logits, logits], dim=1)),
        "(2, 2, 2, 64, 64)",
        "(2, 2, 64, 64)",
    ),
    "a mapping without out": (
        lambda: Net(lambda logits: {"masks": logits}),
        "an output of dict {'masks': (2, 2, 64, 64)}",
        "'out' of a mapping",
    ),
    "text": (lambda: Net(lambda logits: "lungs"), "an output of type str", "logits as a tensor"),
    "labels": (lambda: Net(lambda logits: logits.long()), "torch.int64", "logits as floats"),
    "not finite": (not_a_number, "not finite, before any training", "finite logits"),
    "a gradient that is not finite": (
        lambda: Net(lambda logits: (logits * 0).sqrt()), "a gradient that is not finite", "roots",
    ),
    "detached": (lambda: Net(lambda logits: logits.detach()), "no gradient", "detach"),
    "frozen": (frozen, "no parameter that takes a gradient", "a network that can learn"),
    "four channels": (
        lambda: Net(channels=4),
        "RuntimeError: Given groups=1, weight of size [2, 4, 3, 3]",
        "images of shape (2, 1, 64, 64) (grey)",
    ),
    "its own error": (
        lambda: Net(lambda logits: logits.missing),
        "(test_own_networks.py, line ",
        "preprocessing.size",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_network_that_does_not_fit_is_refused_by_its_name(train, name):
    make, found, expected = FAULTS[name]
    network = make()
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(UserError) as refused:
        train(network)
    told = str(refused.value)
    assert told.startswith(f"the network {Net.__module__}.Net: found ") and "\n" not in told
    assert found in told and expected in told
    for key, weight in network.state_dict().items():
        torch.testing.assert_close(weight, before[key], rtol=0, atol=0, equal_nan=True)


def test_the_trial_leaves_network_and_random_draws_as_they_are():
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5))
    before = copy.deepcopy(network.state_dict())
    state = torch.random.get_rng_state()
    image = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    channels = channels_wanted(network, image)
    try_network(network, image, 2, channels)
    assert channels == 3 and network.training
    assert torch.equal(torch.random.get_rng_state(), state)
    after = network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(weight.grad is None for weight in network.parameters())

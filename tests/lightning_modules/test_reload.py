"""Checkpoints of a plain Trainer tell how their module was built, in plain values."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from contract.errors import UserError
from lightning_modules.adversarial import AdversarialSegmenter
from lightning_modules.generators.unet import UNet
from lightning_modules.losses import DiceCrossEntropy
from lightning_modules.mean_shape import MeanShape
from lightning_modules.segmenter import Segmenter

CONFIG = {
    "class_path": "lightning_modules.adversarial.AdversarialSegmenter",
    "init_args": {
        "structures": ["background", "lungs"],
        "generator": {
            "class_path": "lightning_modules.generators.unet.UNet",
            "init_args": {"classes": 2, "widths": [2, 4]},
        },
        "loss": {"class_path": "lightning_modules.losses.DiceCrossEntropy"},
        "generator_optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.01}},
        "clip_norm": 1.0,
    },
}


def saved(module, folder):
    """The checkpoint of a plain Trainer after a step."""
    pairs = [{"image": torch.zeros(1, 8, 8), "target": torch.ones(2, 8, 8) / 2}] * 2
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", default_root_dir=folder, logger=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(pairs, batch_size=2))
    if not trainer.checkpoint_callback.best_model_path:  # of a module without steps
        trainer.save_checkpoint(folder / "saved.ckpt")
    return trainer.checkpoint_callback.best_model_path or folder / "saved.ckpt"


def by_hand():
    return AdversarialSegmenter(
        ["background", "lungs"], UNet(classes=2, widths=(2, 4)), DiceCrossEntropy(), clip_norm=0.5
    )


def same_weights(one, other):
    weights = other.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in one.state_dict().items())


def test_what_a_configuration_built_reloads_with_no_further_argument(tmp_path):
    module = Segmenter.from_config(CONFIG)
    path = saved(module, tmp_path)
    for kind in (AdversarialSegmenter, Segmenter):
        loaded = kind.load_from_checkpoint(path)
        assert isinstance(loaded, AdversarialSegmenter) and same_weights(module, loaded)
        assert loaded.clip_norm == 1.0
        optimizer = loaded.configure_optimizers()[0]["optimizer"]
        assert isinstance(optimizer, torch.optim.Adam) and optimizer.defaults["lr"] == 0.01
    again = saved(loaded, tmp_path / "again")
    assert same_weights(loaded, AdversarialSegmenter.load_from_checkpoint(again))


def test_plain_arguments_are_enough_for_a_module_built_by_hand(tmp_path):
    module = MeanShape(["background", "lungs"], size=8)
    loaded = MeanShape.load_from_checkpoint(saved(module, tmp_path))
    assert same_weights(module, loaded) and loaded.structures == ("background", "lungs")


def test_a_network_built_by_hand_is_asked_for_in_words(tmp_path):
    module = by_hand()
    path = saved(module, tmp_path)
    with pytest.raises(UserError, match=r"generator, loss.*generator=…, loss=…"):
        AdversarialSegmenter.load_from_checkpoint(path)
    with pytest.raises(UserError, match="of what no plain value describes: loss"):
        AdversarialSegmenter.load_from_checkpoint(path, generator=UNet(classes=2, widths=(2, 4)))
    loaded = AdversarialSegmenter.load_from_checkpoint(
        path, generator=UNet(classes=2, widths=(2, 4)), loss=DiceCrossEntropy()
    )
    assert same_weights(module, loaded) and loaded.clip_norm == 0.5


def test_a_users_own_module_reloads_with_the_arguments_that_it_added(tmp_path):
    path = saved(Own(3), tmp_path)
    assert Own.load_from_checkpoint(path).width == 3


class Own(AdversarialSegmenter):
    def __init__(self, width, **rest):
        network = UNet(classes=2, widths=(width, width))
        super().__init__(["background", "lungs"], network, DiceCrossEntropy(), **rest)
        self.width = width


def test_checkpoints_that_tell_nothing_or_hold_objects_are_refused(tmp_path):
    path = tmp_path / "old.ckpt"
    torch.save({"state_dict": by_hand().state_dict()}, path)
    with pytest.raises(UserError, match="without a word of how"):
        AdversarialSegmenter.load_from_checkpoint(path)
    torch.save({"hyper_parameters": {"generator": UNet(classes=2, widths=(2, 4))}}, path)
    with pytest.raises(UserError, match="no readable checkpoint"):
        AdversarialSegmenter.load_from_checkpoint(path)
    with pytest.raises(UserError, match="no readable checkpoint"):
        AdversarialSegmenter.load_from_checkpoint(tmp_path / "absent.ckpt")


def test_a_model_that_cannot_be_built_is_told_in_words():
    network = {"class_path": "nowhere.Net"}
    config = {**CONFIG, "init_args": {**CONFIG["init_args"], "generator": network}}
    with pytest.raises(UserError, match="cannot be built"):
        Segmenter.from_config(config)

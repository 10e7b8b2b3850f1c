"""Loader processes that stay from epoch to epoch give the batches that none would."""

from itertools import islice

import pytest
import torch

from datamodules.augmentation import Augmentation
from datamodules.base import ProtocolDataModule
from datamodules.preprocessing import Preprocessing
from datamodules.protocol import Protocol


@pytest.mark.parametrize("batches", [None, 1], ids=["whole epochs", "epochs that are cut short"])
def test_batches_follow_from_seed_and_epoch_alone(phantom_root, tmp_path, batches):
    def epochs(workers):
        data = ProtocolDataModule(
            phantom_root, Protocol(("montgomery",), ("shenzhen",)), tmp_path,
            Preprocessing(size=32), batch_size=4, workers=workers,
            augmentation=Augmentation(rotate=10, noise=0.1), mixup=0.2,
        )  # fmt: skip
        data.setup("fit")
        loader = data.train_dataloader()
        for epoch in range(3):
            loader.sampler.epoch = epoch
            yield [batch["image"] for batch in islice(loader, batches)]

    alone, apart = list(epochs(0)), list(epochs(2))
    assert len(alone) == 3 and len(alone[0]) == (batches or 3)
    for one, other in zip(alone, apart, strict=True):
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))
    assert not torch.equal(alone[0][0], alone[1][0])

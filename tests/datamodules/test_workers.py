"""Loader processes that stay from epoch to epoch give the batches that none would."""

from itertools import islice
from types import SimpleNamespace

import pytest
import torch

from datamodules.augmentation import Augmentation
from datamodules.base import MOST_WORKERS, ProtocolDataModule
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


@pytest.mark.parametrize(
    ("asked", "device", "cores", "expected"),
    [
        (None, "cpu", "6", 0),
        (None, "cuda", "6", 5),  # a core is left to the process that trains
        (None, "cuda", "1", 0),
        (None, "cuda", "64", MOST_WORKERS),
        (0, "cuda", "6", 0),
        (2, "cpu", "1", 2),
    ],
)
def test_as_many_as_a_gpu_needs_unless_a_number_is_given(
    phantom_root, tmp_path, monkeypatch, asked, device, cores, expected
):
    monkeypatch.setenv("LUNGBENCH_CORES", cores)
    data = ProtocolDataModule(
        phantom_root, Protocol(("montgomery",), ("shenzhen",)), tmp_path,
        Preprocessing(size=32), workers=asked,
    )  # fmt: skip
    data.setup("fit")
    data.trainer = SimpleNamespace(
        accelerator=SimpleNamespace(name=lambda: device), num_devices=1, global_rank=0,
        world_size=1, fit_loop=SimpleNamespace(
            epoch_progress=SimpleNamespace(current=SimpleNamespace(processed=0))),
    )  # fmt: skip
    assert data.train_dataloader().num_workers == data.test_dataloader().num_workers == expected
    assert data.val_dataloader().num_workers == (asked or 0)

"""What a cell measures of itself is its training alone."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from benchmark.cell.callbacks import Meter


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Timed(pl.LightningModule):
    """A training whose steps take a second, and all else much longer."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.weight = clock, torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, index):
        self.clock.now += 1
        return (self.weight * batch["image"]).mean()

    def validation_step(self, batch, index):
        self.clock.now += 100

    def on_train_epoch_start(self):
        self.clock.now += 1000

    def on_train_epoch_end(self):
        self.clock.now += 10_000

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("options", [{}, {"val_check_interval": 2}, {"max_steps": 5}])
def test_images_a_second_are_those_of_training_batches(tmp_path, options):
    clock = Clock()
    meter = Meter(clock)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        callbacks=[meter], default_root_dir=tmp_path, **options,
    )  # fmt: skip
    module = Timed(clock)
    films = DataLoader([{"image": torch.ones(1)}] * 12, batch_size=4)
    assert meter.measured(trainer, module)["peak_memory_mib"] is None
    trainer.fit(module, films, films)
    steps = options.get("max_steps", 6)
    assert (meter.images, meter.seconds) == (4 * steps, steps)
    told = meter.measured(trainer, module)
    assert told["images_per_s"] == 4.0 and told["peak_memory_mib"] > 0

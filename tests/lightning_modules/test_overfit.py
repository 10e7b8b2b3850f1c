"""Every system, shrunk, learns four phantoms by heart: layers, loss and optimisers can learn."""

import pytest
import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import EarlyStopping
from torch.utils.data import DataLoader

from benchmark.cell.fit import CellCLI
from benchmark.planning.library import load_suite, override
from benchmark.planning.plan import make_plan

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*args parameter is intended"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]

BATCHES, EPOCHS = 8, 40
"""The same batch eight times an epoch; 320 generator steps at most."""

SIZE = dict.fromkeys(("smp_deeplabv3plus", "monai_swin_unetr", "smp_segformer"), 64)
"""Sides of the phantoms in pixels, 32 elsewhere."""

NETWORK = "model.init_args.generator.init_args."
FURTHER = {
    "scan_fcn": {NETWORK + "widths": [8, 16]},  # classes are scored at a quarter, not a 16th
    "scan": {NETWORK + "widths": [8, 16]},
}

SYSTEMS = [
    name
    for name in load_suite("zoo").systems
    if name != "mean_shape" and "_mixup" not in name and not name.endswith("_dilated")
]
"""Mixup and dilation change the data alone."""


@pytest.fixture(scope="module")
def configs(phantom_root, tmp_path_factory):
    """Return a function that gives a system's config for an input of some size."""
    folder = tmp_path_factory.mktemp("overfit")
    planned = {}

    def find(name):
        size = SIZE.get(name, 32)
        if size not in planned:
            brief = {
                "preprocessing.size": size,
                "batch_size": 4,
                "augmentation": None,
                "model.init_args.generator_scheduler?": None,
                "model.init_args.pretrain_epochs?": 1,
                NETWORK + "num_downs?": 5,
            }
            cells = make_plan("zoo", folder, phantom_root, brief).cells
            planned[size] = {cell.system: cell.config for cell in cells}
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(override(planned[size][name], FURTHER.get(name, {}))))
        return path

    return find


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_learns_four_phantoms_by_heart(name, configs, tmp_path):
    torch.manual_seed(0)
    cli = CellCLI(configs(name), tmp_path, ["--trainer.accelerator=cpu", "--trainer.devices=1"])
    cli.datamodule.setup("fit")
    films = cli.datamodule.train_dataloader().dataset
    items = [films[index, 0] for index in range(4)]
    for layer in cli.model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.1  # Keras's 0.01 lags hundreds of steps behind
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[EarlyStopping("val/dice", patience=EPOCHS, mode="max", stopping_threshold=0.95)],
    )
    trainer.fit(cli.model, DataLoader(items * BATCHES, 4), DataLoader(items, 4))
    assert trainer.callback_metrics["val/dice"] >= 0.95

"""bfloat16 learns what 32-bit floats learn; float16 is refused wherever it is asked for."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from benchmark.cell.cli import CellCLI
from contract.errors import UserError

BATCHES, EPOCHS = 8, 16
"""The same four phantoms eight times an epoch: 128 steps of the generator."""

GENERATOR, CRITIC = (f"model.init_args.{name}.init_args." for name in ("generator", "critic"))
SMALL = {
    "preprocessing.size": 32,
    "batch_size": 4,
    "augmentation": None,
    "model.init_args.generator_scheduler?": None,
    "model.init_args.pretrain_epochs": 1,
    # At 0.005 the game with a penalty is so wild that the last digit decides where it ends.
    "model.init_args.generator_optimizer": {"class_path": "torch.optim.Adam",
                                            "init_args": {"lr": 0.002}},
    GENERATOR + "widths": [8, 16],
}  # fmt: skip
FURTHER = {
    "adversarial_attention_unet": {
        CRITIC + "widths": [4, 8],
        "model.init_args.generator_steps": 2,
    },
    "lgan_early_fusion_penalty": {
        CRITIC + "base_width": 4,
        CRITIC + "hidden": 8,
        # N(0, 0.02) lets no signal through layers as narrow as these.
        GENERATOR + "initialisation": "he_normal",
    },
}


def learnt(config, out, precision):
    """Return Dice and loss of four phantoms that a system learns by heart, and critic's steps."""
    torch.manual_seed(0)
    words = ["--trainer.accelerator=cpu", "--trainer.devices=1"]
    cli = CellCLI(config, out, [*words, f"--trainer.precision={precision}"])
    cli.datamodule.setup("fit")
    films = cli.datamodule.train_dataloader().dataset
    items = [films[index, 0] for index in range(4)]
    trainer = pl.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", devices=1, precision=cli.trainer.precision,
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, check_val_every_n_epoch=EPOCHS,
    )  # fmt: skip
    trainer.fit(cli.model, DataLoader(items * BATCHES, 4), DataLoader(items, 4))
    dice, loss = (float(trainer.callback_metrics[name]) for name in ("val/dice", "val/loss"))
    return dice, loss, cli.model.adversarial_steps_done


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("system", FURTHER)
def test_bfloat16_learns_by_heart_what_32_bit_floats_learn(system, tiny_cell, tmp_path):
    config = tiny_cell(systems=[system], overrides={**SMALL, **FURTHER[system]})
    (full, loss, played), (half, rounded, as_often) = (
        learnt(config, tmp_path / name, name) for name in ("32-true", "bf16-mixed")
    )
    assert played == as_often == BATCHES * (EPOCHS - 1)
    assert loss != rounded, "nothing was rounded"
    assert full >= 0.95
    assert half == pytest.approx(full, abs=0.01)


@pytest.mark.parametrize("precision", ["16-mixed", "16-true", "16"])
def test_float16_is_refused_on_the_command_line_of_a_cell_too(precision, tiny_cell, tmp_path):
    config = tiny_cell(systems=["unet"], overrides={"preprocessing.size": 32})
    with pytest.raises(UserError, match=r"trainer\.precision.*float16 overflows.*bf16-mixed"):
        CellCLI(config, tmp_path, [f"--trainer.precision={precision}"])

"""A callback that averages weights: what it averaged is what is validated, kept and tested."""

import torch

from benchmark.cell.fit import fit

SMALL = {
    "preprocessing.size": 32,
    "batch_size": 4,
    "model.init_args.generator.init_args.widths": [4, 8],
    "trainer.max_epochs": 2,
    "trainer.callbacks": [
        {
            "class_path": "pytorch_lightning.callbacks.EMAWeightAveraging",
            "init_args": {"decay": 0.9},
        }
    ],
}


def test_averaged_weights_are_those_that_are_kept(tiny_cell, tmp_path):
    fit(tiny_cell(systems=["unet"], overrides=SMALL), tmp_path / "cell", checkpoint_every_s=0)
    for name in ("best", "last"):
        folder = tmp_path / "cell" / "checkpoints"
        kept = torch.load(folder / f"{name}.ckpt", weights_only=True)
        whole = torch.load(folder / f"epoch-{kept['epochs']:05d}.ckpt", weights_only=True)
        averaged, current = whole["state_dict"], whole["current_model_state"]
        assert kept["state_dict"].keys() == averaged.keys() == current.keys()
        assert all(torch.equal(kept["state_dict"][key], averaged[key]) for key in averaged)
        assert not all(torch.equal(averaged[key], current[key]) for key in averaged)

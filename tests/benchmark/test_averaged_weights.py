"""A callback that averages weights: what it averaged is what is validated, kept and tested."""

import pytest
import torch

from benchmark.cell.fit import fit

EMA = {
    "class_path": "pytorch_lightning.callbacks.EMAWeightAveraging",
    "init_args": {"decay": 0.9},
}


def _content(path):
    return torch.load(path, map_location="cpu", weights_only=True)


@pytest.mark.parametrize("name", ["best", "last"])
def test_averaged_weights_are_those_that_are_kept(name, tiny_cell, tmp_path):
    config = tiny_cell(systems=["unet"], overrides={"trainer.callbacks": [EMA]})
    fit(config, tmp_path / "cell", checkpoint_every_s=0)
    folder = tmp_path / "cell" / "checkpoints"
    kept = _content(folder / f"{name}.ckpt")
    whole = _content(folder / f"epoch-{kept['epochs']:05d}.ckpt")
    assert kept["state_dict"].keys() == whole["state_dict"].keys()
    for key, tensor in kept["state_dict"].items():
        assert torch.equal(tensor, whole["state_dict"][key])
    assert any(
        not torch.equal(tensor, kept["state_dict"][key])
        for key, tensor in whole["current_model_state"].items()
    )

"""The project's side of the race: a cell of ``unet``, trained as any other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml

from benchmark.cell.checkpoints import load_weights
from benchmark.cell.loading import build_module, read_config
from benchmark.performance.processes import ON_ONE_THREAD
from benchmark.performance.racing.judging import mean_dice, reference_batches
from benchmark.performance.racing.laps import Rival, TrainingClock, hand_over, weights_of
from benchmark.planning.plan import make_plan
from benchmark.start import command
from contract.batch import EvaluationBatch
from datamodules.base import ProtocolDataModule
from lightning_modules.descriptions import build_from_config

RACED_SUITE = {"title": "The race with nnU-Net", "systems": ["unet"], "protocols": ["montgomery"]}


class LapKeeper(pl.Callback):
    """Hands the weights over after each epoch; validation is not timed.

    Args:
        folder: where to.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self._clock = Path(folder), TrainingClock()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._clock.run()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop it: what follows chooses weights, it does not train them."""
        self._clock.stop()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on with what ends an epoch."""
        self._clock.run()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hand the epoch's weights over; end the training where that is enough."""
        self._clock.stop()
        lap = trainer.current_epoch + 1
        trainer.save_checkpoint(weights_of(self._folder, lap), weights_only=True)
        if not hand_over(self._folder, lap, self._clock.seconds):
            trainer.should_stop = True


def write_raced_cell(root: Path, folder: Path, size: int, changes: Mapping[str, Any]) -> Path:
    """Write the config of ``unet`` on ``montgomery`` that hands over its laps; return the file.

    Args:
        root: the data root.
        folder: where to; laps lie in its ``laps``.
        size: side of the network's square.
        changes: further changes of the system.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "race.yaml").write_text(yaml.safe_dump(RACED_SUITE))
    keeper = {
        "class_path": f"{LapKeeper.__module__}.{LapKeeper.__qualname__}",
        "init_args": {"folder": str(folder / "laps")},
    }
    all_changes = {"preprocessing.size": size, "trainer.callbacks": [keeper], **changes}
    plan = make_plan(str(folder / "race.yaml"), folder / "runs", root, all_changes)
    config = folder / "cell.yaml"
    config.write_text(yaml.safe_dump(plan.cells[0].config))
    return config


def raced_data(config: Path, **changes: Any) -> ProtocolDataModule:
    """Return the data of a raced cell, set up.

    Args:
        config: the cell's config.
        changes: other arguments of its DataModule, plain values; the split stays.
    """
    data = read_config(config)["data"]
    data = {**data, "init_args": {**data["init_args"], **changes}}
    built = build_from_config(ProtocolDataModule, data, config)
    built.prepare_data()
    built.setup("fit")
    return built


def unet_rival(config: Path) -> Rival:
    """Return a raced cell as a rival.

    Args:
        config: its config.
    """
    module = build_module(config, read_config(config)).eval()
    batches = reference_batches(raced_data(config))

    def dice_of(weights: Path) -> float:
        load_weights(module, weights)

        def predict(batch: EvaluationBatch) -> Any:
            return module(batch["image"])

        return mean_dice(batches, predict, module.structures, module.activation)

    told = command(
        "benchmark", "fit", "--config", str(config), "--out", str(config.parent / "cell")
    )
    return Rival("unet", told, ON_ONE_THREAD, config.parent / "laps", dice_of)

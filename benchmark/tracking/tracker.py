"""Weights & Biases beside the folder: curves, pictures and results of a cell.

Nothing that W&B does may stop a cell: the first fault is told once, and tracking ends there.
"""

from __future__ import annotations

import uuid
from argparse import Namespace
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytorch_lightning as pl
from lightning_utilities.core.rank_zero import rank_zero_only
from numpy.typing import NDArray
from pytorch_lightning.loggers import Logger, WandbLogger

from benchmark.progress import say
from benchmark.tracking import wandb_place
from contract.batch import EvaluationBatch
from contract.cell_folder import CellFolder, cell_name
from leaderboards.statistics import intervals
from lightning_modules.activations import hard_masks, lung_channels
from lightning_modules.case_rows import case_means
from lightning_modules.segmenter import Segmenter

MAX_TAG = 64
"""W&B takes no longer tags."""
STEP = "trainer/global_step"
"""Lightning's name of what curves run along."""
PICTURES_A_BATCH = 4
REFERENCE_COLOUR, PREDICTION_COLOUR = (0, 158, 115), (213, 94, 0)
"""Bluish green and vermilion of Okabe and Ito's palette, apart for colour-blind readers too."""


def make_tracker(out: Path, identity: Mapping[str, Any]) -> Tracker | None:
    """Return a cell's tracker, or none where W&B is switched off (``WANDB_MODE=disabled``).

    Args:
        out: the cell's folder; its record keeps the run's id over all restarts.
        identity: the cell's names.
    """
    if wandb_place.is_disabled():
        return None
    recorded = CellFolder(out).record.wandb_id
    run_id = recorded or wandb_place.run_of_sweep() or uuid.uuid4().hex[:12]
    return Tracker(out, run_id, identity)


class Tracker(Logger):
    """A W&B run that survives restarts and never raises.

    Args:
        out: the cell's folder; offline runs lie in its ``wandb``.
        run_id: the run's id, the same over all restarts.
        identity: the cell's names.
    """

    def __init__(self, out: Path, run_id: str, identity: Mapping[str, Any]) -> None:
        super().__init__()
        self.run_id, self._out, self._identity = run_id, out, dict(identity)
        self._config = {key: value for key, value in identity.items() if key != "code_folders"}
        self._logger: WandbLogger | None = None
        self._broken = False

    def describe(self, config: Mapping[str, Any]) -> None:
        """Take the whole resolved cell into the run's config, but for this machine's folders.

        Args:
            config: the cell's config as LightningCLI resolved it.
        """
        parts = {key: deepcopy(config[key]) for key in ("seed_everything", "model", "trainer")}
        data = deepcopy(config["data"])
        for folder in ("root", "cache"):
            data["init_args"].pop(folder, None)
        for own in ("default_root_dir", "logger", "callbacks", "plugins"):
            parts["trainer"].pop(own, None)
        reduced = bool(self._identity.get("changes"))
        self._config |= {**parts, "data": data, "reduced": reduced}

    @property
    def name(self) -> str:
        """The run's name."""
        cell = self._identity
        return cell_name(cell["system"], cell["protocol"], cell["seed"])

    @property
    def version(self) -> str:
        """The run's id."""
        return self.run_id

    def _open(self) -> WandbLogger:
        if self._logger is None:
            import wandb

            CellFolder(self._out).update(wandb_id=self.run_id)
            offline = wandb_place.is_offline()
            run = wandb.init(
                name=self.name,
                reinit="finish_previous",
                dir=str(self._out),
                id=self.run_id,
                resume=None if offline else "allow",
                mode="offline" if offline else "online",
                group=f"{self._identity['system']} × {self._identity['protocol']}",
                job_type="cell",
                project=wandb_place.project(),
                entity=wandb_place.entity(),
                tags=self._tags(),
                config=self._config,
                settings=wandb_place.quiet_settings(init_timeout=30),
            )
            run.define_metric(STEP)
            run.define_metric("*", step_metric=STEP, step_sync=True)
            # Lightning's own call of `init` hands on an argument that W&B warns of.
            self._logger = WandbLogger(experiment=run)
        return self._logger

    def _tags(self) -> list[str]:
        cell = self._identity
        marks = ["reduced"] if cell.get("changes") else []
        return [tag[:MAX_TAG] for tag in (cell["suite"], cell["system"], cell["protocol"], *marks)]

    def safely(self, act: Callable[[WandbLogger], object]) -> None:
        """Do something with the run; its first fault ends tracking, not the cell."""
        if self._broken:
            return
        try:
            act(self._open())
        except Exception as error:  # whatever W&B raises, the cell goes on
            self._broken = True
            say(f"W&B stopped ({type(error).__name__}: {error}); the cell goes on without it")

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Record hyperparameters."""
        self.safely(lambda logger: logger.log_hyperparams(params))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record curves."""
        self.safely(lambda logger: logger.log_metrics(metrics, step))

    @rank_zero_only
    def log_pictures(self, key: str, pictures: list[NDArray[np.uint8]], names: list[str]) -> None:
        """Record RGB pictures ``(H, W, 3)`` with their captions."""
        self.safely(lambda logger: logger.log_image(key, pictures, caption=names))

    @rank_zero_only
    def summarise(self, rows: list[dict[str, Any]], facts: Mapping[str, Any]) -> None:
        """Record the test's means over cases with the interval of Dice, and end the run.

        Args:
            rows: the test's rows.
            facts: what the record says of split, device and data; it joins the run's config.
        """

        def write(logger: WandbLogger) -> None:
            for name, mean in case_means(rows).items():
                logger.experiment.summary[f"test/{name}"] = mean
            for name, limit in dice_intervals(rows, self._identity).items():
                logger.experiment.summary[f"test/{name}"] = limit
            known = {key: facts[key] for key in FACTS if key in facts}
            logger.experiment.config.update(known, allow_val_change=True)
            logger.experiment.finish()

        self.safely(write)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Leave the run open: testing and further folds go on in it."""


FACTS = ("split_hash", "phantom", "device", "processes", "precision", "parameters", "n_train",
         "n_validation")  # fmt: skip
"""What a run's config learns of a cell when it is done."""


def dice_intervals(
    rows: list[dict[str, Any]], identity: Mapping[str, Any], draws: int = intervals.FEWER_DRAWS
) -> dict[str, float]:
    """Return ``structure/dice_ci_low`` and ``_high`` over draws of patients, films and scans alone.

    Args:
        rows: the test's rows.
        identity: the cell's names.
        draws: number of bootstrap draws.
    """
    names = {"system": identity["system"], "seed": identity["seed"]}
    frame = pd.DataFrame(rows).assign(**names)
    # Films state no scan.
    absent = [name for name in intervals.CASE_KEY if name not in frame]
    frame = frame.assign(**dict.fromkeys(absent))
    found: dict[str, float] = {}
    for structure, own in frame[frame["unit"] != "slice"].groupby("structure"):
        summary = intervals.summarise(intervals.arrange(own, ("dice",)), draws)
        found[f"{structure}/dice_ci_low"] = float(summary.ci_low[0, 0])
        found[f"{structure}/dice_ci_high"] = float(summary.ci_high[0, 0])
    return found


class Overlays(pl.Callback):
    """Sends a few films with the contours of reference and prediction.

    After five validations spread over training, and after the test.
    """

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *parts: Any
    ) -> None:
        """Draw the first validation batch at a few epochs."""
        every = max(1, (trainer.max_epochs or 1) // 5)
        if parts[2] == 0 and (trainer.current_epoch + 1) % every == 0:
            self._send(trainer, pl_module, parts[1], "validation")

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *parts: Any
    ) -> None:
        """Draw the first test batch."""
        if parts[2] == 0:
            self._send(trainer, pl_module, parts[1], "test")

    def _send(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        batch: EvaluationBatch,
        key: str,
    ) -> None:
        tracker = trainer.logger
        if not trainer.is_global_zero or not isinstance(tracker, Tracker):
            return
        assert isinstance(module, Segmenter)
        images = batch["image"][:PICTURES_A_BATCH]
        channels = lung_channels(module.structures)
        masks = hard_masks(module(images), module.activation)[:, channels].any(dim=1)
        truth = (batch["target"][:PICTURES_A_BATCH, channels] > 0.5).any(dim=1)
        pictures = [
            draw_comparison(image[0].cpu().numpy(), reference.cpu().numpy(), mask.cpu().numpy())
            for image, reference, mask in zip(images, truth, masks, strict=True)
        ]
        shown = batch["identity"][:PICTURES_A_BATCH]
        names = [f"{key} {place}" for place in range(1, len(shown) + 1)]
        if wandb_place.with_case_ids():
            names = [cell["case_id"] for cell in shown]
        tracker.log_pictures(f"{key}/overlays", pictures, names)


def draw_comparison(
    image: NDArray[np.float32], reference: NDArray[np.bool_], prediction: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Return an RGB picture ``(H, W, 3)``: reference green, prediction vermilion.

    Args:
        image: ``(H, W)``, any range.
        reference: ``(H, W)``.
        prediction: ``(H, W)``.
    """
    low, high = float(image.min()), float(image.max())
    grey = ((image - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
    picture = np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))
    for mask, colour in ((reference, REFERENCE_COLOUR), (prediction, PREDICTION_COLOUR)):
        lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, lines, -1, colour, 1)
    return picture

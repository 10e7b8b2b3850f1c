"""What every system shares: prediction, validation Dice and test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import MeanMetric

from contract.arrays import Mask
from lightning_modules.activations import (
    Activation,
    activate,
    check_structures,
    hard_masks,
    lung_channels,
)
from lightning_modules.metrics.scans import ScanRows, slice_masks
from lightning_modules.metrics.scoring import batch_dice, lung_masks, score_case


class Segmenter(pl.LightningModule):
    """Predicts, validates and tests; subclasses say how to train.

    Args:
        structures: names of the output channels in order, ``background`` among them for softmax.
        activation: the output's kind.
    """

    def __init__(self, structures: Sequence[str], activation: Activation) -> None:
        super().__init__()
        check_structures(structures, activation)
        self.structures, self.activation = tuple(structures), activation
        self.validation_dice, self.validation_loss = MeanMetric(), MeanMetric()
        self.case_rows: list[dict[str, Any]] = []
        """After testing: this process's rows, one a case and structure."""
        self._scans = ScanRows()

    def logits(self, image: Tensor) -> Tensor:
        """Return logits ``(N, C, H, W)`` for images ``(N, 1, H, W)``."""
        raise NotImplementedError

    def segmentation_loss(self, logits: Tensor, probabilities: Tensor, target: Tensor) -> Tensor:
        """Return the supervised loss, a scalar averaged over images."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """Return probabilities ``(N, C, H, W)`` in [0, 1]."""
        return activate(self.logits(image), self.activation)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Accumulate the loss and the lungs' Dice per image, at the network's size."""
        logits = self.logits(batch["image"])
        probabilities = activate(logits, self.activation)
        masks = hard_masks(probabilities, self.activation)
        dice = batch_dice(masks, batch["target"], lung_channels(self.structures))
        loss = self.segmentation_loss(logits, probabilities, batch["target"])
        self.validation_dice.update(dice)
        self.validation_loss.update(loss, len(dice))

    def on_validation_epoch_end(self) -> None:
        """Log the means over all validation images of all processes."""
        for name, metric in (("dice", self.validation_dice), ("loss", self.validation_loss)):
            # Computed on every process (the sum is synchronised), so that all decide alike.
            self.log(f"val/{name}", metric.compute(), prog_bar=True, rank_zero_only=False)
            metric.reset()

    def on_test_epoch_start(self) -> None:
        """Forget the rows of an earlier test."""
        self.case_rows, self._scans = [], ScanRows()

    def on_test_epoch_end(self) -> None:
        """Refuse a scan that lacks slices."""
        self._scans.finish()

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Score each case of the batch on its reference's own grid."""
        probabilities = self(batch["image"])
        # The flag's rule is for films: slices of a scan may hold as little lung as they like.
        films = all(cell["unit"] == "image" for cell in batch["identity"])
        mirrored = self.mirrored_lungs(batch["image"]) if films else repeat(None)
        columns = [batch[key] for key in ("target", "references", "box", "spacing")]
        with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
            scored = pool.map(self._score, probabilities, mirrored, *columns)
            for identity, rows in zip(batch["identity"], scored, strict=True):
                self.case_rows += [{**identity, **row} for row in rows]
        self._join_slices(batch, probabilities)

    def _join_slices(self, batch: dict[str, Any], probabilities: Tensor) -> None:
        """Add the rows of the scans that end in this batch."""
        keys = ("identity", "scan", "spacing", "target", "references", "box", "nodules")
        for place, scan in enumerate(batch.get("scan", ())):
            if scan is None:
                continue
            identity, scan, spacing, target, references, box, nodules = (
                batch[key][place] for key in keys
            )
            masks = slice_masks(
                probabilities[place], target, references, box, self.structures, self.activation
            )
            self.case_rows += self._scans.add(identity, scan, spacing, masks, nodules)

    def mirrored_lungs(self, image: Tensor) -> NDArray[np.bool_]:
        """Return the lungs ``(N, H, W)`` predicted for the mirrored images, mirrored back.

        Left and right change places in a mirrored film, so that only their union compares.
        """
        probabilities = self(image.flip(-1)).flip(-1)
        return lung_masks(probabilities, self.structures, self.activation)

    def _score(
        self,
        probabilities: Tensor,
        mirrored: Mask | None,
        target: Tensor,
        references: Mapping[str, Mask],
        box: tuple[int, int, int, int],
        spacing: tuple[float, float] | None,
    ) -> list[dict[str, Any]]:
        if not probabilities.isfinite().all():
            raise FloatingPointError("the network's output is not finite: its training diverged")
        return score_case(
            probabilities,
            target,
            references,
            box,
            spacing,
            self.structures,
            self.activation,
            mirrored,
        )

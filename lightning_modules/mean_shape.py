"""The floor: the average of the training masks, whatever the image shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from contract.batch import TrainingBatch
from lightning_modules.activations import Activation
from lightning_modules.segmenter import Segmenter


class MeanShape(Segmenter):
    """Predicts the training masks' mean for every image, thresholded like any other output.

    A system that does not beat it has learnt nothing from the images.

    Args:
        structures: names of the output channels in order.
        size: side of the network's square in pixels.
        activation: the output's kind; decides how hard masks follow from the mean.
    """

    def __init__(
        self, structures: Sequence[str], size: int, activation: Activation = "softmax"
    ) -> None:
        super().__init__(structures, activation)
        self.automatic_optimization = False
        self.mean = nn.Parameter(torch.zeros(len(structures), size, size))
        self._total, self._images = torch.zeros(0), 0

    def forward(self, image: Tensor) -> Tensor:
        """Return the mean mask for each image, ``(N, C, H, W)`` in [0, 1]."""
        mean: Tensor = self.mean.detach().expand(len(image), *self.mean.shape)
        return mean

    def logits(self, image: Tensor) -> Tensor:
        """Return the logarithm of the mean, so that softmax gives it back."""
        mean: Tensor = self(image)
        return mean.clamp(min=1e-6).log()

    def segmentation_loss(self, logits: Tensor, probabilities: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error, which the mean mask minimises."""
        error: Tensor = (self.mean.detach() - target).square().mean()
        return error

    def configure_optimizers(self) -> None:
        """Return none: the mean is known in closed form."""

    def on_train_epoch_start(self) -> None:
        """Begin a new sum."""
        self._total, self._images = torch.zeros_like(self.mean, requires_grad=False), 0

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> None:
        """Add the batch's masks."""
        self._total += batch["target"].sum(dim=0)
        self._images += len(batch["target"])

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Set the mean over all processes after the last batch, before validation."""
        if self.trainer.is_last_batch:
            total = self.trainer.strategy.reduce(self._total / self._images, reduce_op="mean")
            with torch.no_grad():
                self.mean.copy_(total)

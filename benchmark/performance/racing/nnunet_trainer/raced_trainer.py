"""nnU-Net's own trainer in laps; nnU-Net finds it by ``nnUNet_extTrainer``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from benchmark.performance.racing.laps import TrainingClock, hand_over, weights_of
from contract.machine import cores

LAPS, ITERATIONS = "LUNGBENCH_RACE_LAPS", "LUNGBENCH_RACE_ITERATIONS"
"""Environment variables: how many laps its schedule has, and how many batches a lap."""


class RacedTrainer(nnUNetTrainer):
    """What ``nnUNetTrainer`` does, in short epochs, each of which is a lap.

    Batches, augmentation, loss, optimiser and polynomial schedule are untouched; the latter falls
    to zero over all laps. Its own validation, a fifth of an epoch's batches as there, and its
    saving are not timed. It trains in as many threads as it may use cores: nnU-Net itself would
    start one a core of the whole machine.
    """

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 (nnU-Net's own signature)
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        torch.set_num_threads(cores())
        self.num_epochs = int(os.environ[LAPS])
        self.num_iterations_per_epoch = int(os.environ[ITERATIONS])
        self.num_val_iterations_per_epoch = max(1, self.num_iterations_per_epoch // 5)
        self.clock = TrainingClock()

    def on_epoch_start(self) -> None:
        """Start the clock."""
        self.clock.run()
        super().on_epoch_start()

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """Stop the clock before nnU-Net validates."""
        super().on_train_epoch_end(train_outputs)
        self.clock.stop()

    def on_epoch_end(self) -> None:
        """Hand a checkpoint over, nnU-Net's own; end where that is enough, or was the last.

        Raises:
            SystemExit: then, without any fault; what nnU-Net does after training is no part of it.
        """
        super().on_epoch_end()
        folder, lap = Path(self.output_folder), self.current_epoch
        self.save_checkpoint(str(weights_of(folder, lap)))
        if not hand_over(folder, lap, self.clock.seconds) or lap == self.num_epochs:
            raise SystemExit(0)

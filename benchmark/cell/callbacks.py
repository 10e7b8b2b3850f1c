"""What a cell tells while it trains, and what it measures of itself."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from benchmark.progress import ProgressFile, duration
from contract.machine import peak_memory_mib


class Reporter(pl.Callback):
    """One line an epoch (at most every few seconds) and the progress file.

    Args:
        path: the progress file.
        lines: whether to print lines (not beside a progress bar).
    """

    def __init__(self, path: Path, lines: bool) -> None:
        self._file, self._lines = ProgressFile(path), lines
        self._started, self._first, self._spoken = time.monotonic(), 0, 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember where this process began."""
        self._started, self._first = time.monotonic(), trainer.current_epoch

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *batch: Any
    ) -> None:
        """Record progress within the epoch."""
        if trainer.is_global_zero:
            inside = (int(batch[2]) + 1) / max(1, trainer.num_training_batches)
            epochs = trainer.max_epochs or 0
            self._file.write(trainer.current_epoch + inside, epochs, "training")

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *batch: Any
    ) -> None:
        """Give a sign of life in a long validation, which ends an epoch."""
        if trainer.is_global_zero:
            self._file.write(trainer.current_epoch + 1, trainer.max_epochs or 0, "training")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how the epoch went and how much time is left."""
        if not trainer.is_global_zero:
            return
        done, epochs = trainer.current_epoch + 1, trainer.max_epochs or 0
        self._file.write(done, epochs, "training")
        now = time.monotonic()
        if self._lines and (now - self._spoken >= 5 or done == epochs):
            self._spoken = now
            spent = now - self._started
            left = spent / max(1, done - self._first) * (epochs - done)
            metrics = {
                name: float(value)
                for name, value in trainer.callback_metrics.items()
                if "/" in name and not name.endswith(("_step", "_epoch"))
            }
            told = "  ".join(f"{name} {value:.4f}" for name, value in sorted(metrics.items()))
            print(f"epoch {done}/{epochs}  {told}  left {duration(left)}", flush=True)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *batch: Any
    ) -> None:
        """Record progress of the test."""
        if trainer.is_global_zero:
            batches = sum(int(n) for n in trainer.num_test_batches)
            self._file.write(int(batch[2]) + 1, batches, "testing")


class DieAtOnce(pl.Callback):
    """Lets SIGTERM end the process where it stands: a cell resumes from whole epochs anyway.

    Lightning would first speak to the other processes, in the middle of their own exchanges.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Undo Lightning's handler of the signal."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Undo Lightning's handler of the signal."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Meter(pl.Callback):
    """Measures the training of this process group, and nothing beside it.

    The clock runs from the first batch of an epoch to the last one, both ends after the device is
    through with all that it was told, and stands still in validation. What training waits for its
    data counts; setting up, checkpoints, validation and tests do not.

    Args:
        clock: seconds, ever growing.

    Attributes:
        images: training images seen by all processes.
        seconds: time spent on them.
        peak_mib: on a GPU the peak memory of training alone, on a CPU that of the process until its
            last training batch, MiB; None before.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.images, self.seconds = 0, 0.0
        self.peak_mib: float | None = None
        self._clock = clock
        self._began: float | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *batch: Any
    ) -> None:
        """Start the clock, unless it runs."""
        if self._began is None:
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize(pl_module.device)
                torch.cuda.reset_peak_memory_stats(pl_module.device)
            self._began = self._clock()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *batch: Any
    ) -> None:
        """Count the images, and stop the clock after the last ones."""
        self.images += len(batch[1]["image"]) * trainer.world_size
        if trainer.is_last_batch:
            self._stop(pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock, where an epoch is interrupted by a validation."""
        self._stop(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock, where an epoch ends before its last batch."""
        self._stop(pl_module)

    def _stop(self, module: pl.LightningModule) -> None:
        if self._began is None:
            return
        if module.device.type == "cuda":
            torch.cuda.synchronize(module.device)
            peak: float | None = torch.cuda.max_memory_allocated(module.device) / 2**20
        else:
            peak = peak_memory_mib()
        self.seconds += self._clock() - self._began
        self._began = None
        if peak is not None:
            self.peak_mib = max(peak, self.peak_mib or 0.0)

    def measured(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Any]:
        """Return what ``cell.json`` records of the run's cost."""
        on_gpu = module.device.type == "cuda" or trainer.accelerator.name() == "cuda"
        return {
            "device": torch.cuda.get_device_name() if on_gpu else "cpu",
            "processes": trainer.world_size,
            "threads": torch.get_num_threads(),
            "precision": str(trainer.precision),
            # Of what predicts: a critic is gone after training.
            "parameters": sum(
                p.numel() for name, p in module.named_parameters() if not name.startswith("critic.")
            ),
            "images_per_s": round(self.images / self.seconds, 3) if self.seconds else None,
            "peak_memory_mib": None if self.peak_mib is None else round(self.peak_mib, 1),
        }

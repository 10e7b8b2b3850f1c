"""A callback that kills its own process, once at each of some moments."""

import os
import signal
from pathlib import Path

import pytorch_lightning as pl


class KillAt(pl.Callback):
    """Sends SIGKILL at moments such as ``train-2-0`` (epoch, batch) or ``test-1`` (batch).

    ``generator-2-0`` and ``critic-2-2`` lie within a step, gradients computed, weights not moved.

    Args:
        moments: the moments; each kills once, which a file in ``marks`` remembers.
        marks: an existing folder; without it nothing is killed.
    """

    def __init__(self, moments: list[str], marks: str) -> None:
        self.moments, self.marks = moments, Path(marks)

    def _pass(self, moment: str) -> None:
        mark = self.marks / moment
        if moment in self.moments and self.marks.is_dir() and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_epoch_start(self, trainer, pl_module):
        self._pass(f"epoch-{trainer.current_epoch}")

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        stepped = optimizer.param_groups[0]["params"][0]
        owner = next(n for n, p in pl_module.named_parameters() if p is stepped).split(".")[0]
        self._pass(f"{owner}-{trainer.current_epoch}-{trainer.fit_loop.batch_idx}")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._pass(f"train-{trainer.current_epoch}-{batch_idx}")

    def on_validation_start(self, trainer, pl_module):
        self._pass(f"validation-{trainer.current_epoch}")

    def on_test_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self._pass(f"test-{batch_idx}")


class RaiseAt(pl.Callback):
    """Raises at the beginning of an epoch.

    Args:
        epoch: the epoch.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch:
            raise RuntimeError("planted fault")


class RaiseOn(pl.Callback):
    """Raises in one of several processes at the beginning of an epoch.

    Args:
        rank: the process.
        epoch: the epoch.
    """

    def __init__(self, rank: int, epoch: int) -> None:
        self.rank, self.epoch = rank, epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.global_rank == self.rank and trainer.current_epoch == self.epoch:
            raise ValueError("planted fault")

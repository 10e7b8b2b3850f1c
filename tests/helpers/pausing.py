"""A callback that waits in the middle of an epoch, so that a test can strike there."""

import time
from pathlib import Path

import pytorch_lightning as pl


class PauseAt(pl.Callback):
    """Waits after batches such as ``2-0`` (epoch, batch), once at each.

    Args:
        moments: the moments.
        marks: a file of each moment's name appears here when it has come.
        seconds: how long it waits.
    """

    def __init__(self, moments: list[str], marks: str, seconds: float = 120) -> None:
        self.moments, self.marks, self.seconds = moments, Path(marks), seconds

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        moment = f"{trainer.current_epoch}-{batch_idx}"
        mark = self.marks / moment
        if moment in self.moments and not mark.exists():
            self.marks.mkdir(parents=True, exist_ok=True)
            mark.touch()
            time.sleep(self.seconds)

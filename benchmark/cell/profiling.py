"""What ``fit --profile`` watches training with."""

from __future__ import annotations

from pathlib import Path

from pytorch_lightning.profilers import PyTorchProfiler


class StepProfiler(PyTorchProfiler):
    """Lightning's profiler of PyTorch, with a trace of some steps of each kind and a table.

    Layers are not labelled: labels would keep networks from being copied.

    Args:
        dirpath: the folder to write; made where absent.
    """

    _stage: str | None = None  # what Lightning's own leaves unset until training begins

    def __init__(self, dirpath: str | Path) -> None:
        super().__init__(dirpath, "steps", record_module_names=False, acc_events=True)

"""One data set by itself, as a LightningDataModule with an in-dataset split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from contract.words import BACKGROUND
from datamodules.augmentation import Augmentation
from datamodules.base import ProtocolDataModule
from datamodules.preprocessing import Preprocessing
from datamodules.protocol import Protocol


class SingleDataset(ProtocolDataModule):
    """A data set divided into its own training, validation and test cases.

    Args:
        root: the data root.
        cache: the folder for prepared images.
        preprocessing: film to network input.
        structures: the network's output channels in order.
        batch_size: joint batch size over all processes.
        seed: fixes order and augmentation.
        held_out: share (below 1) or number of cases kept for testing.
        validation: share or number of the remaining cases that validate.
        augmentation: random changes of training images, or none.
        workers: data-loading processes.
    """

    dataset: ClassVar[str]

    def __init__(
        self,
        root: Path,
        cache: Path,
        preprocessing: Preprocessing,
        structures: Sequence[str] = (BACKGROUND, "lungs"),
        batch_size: int = 8,
        seed: int = 0,
        held_out: float = 0.2,
        validation: float = 0.1,
        augmentation: Augmentation | None = None,
        workers: int = 0,
    ) -> None:
        protocol = Protocol((self.dataset,), (self.dataset,), validation, held_out)
        super().__init__(
            root, cache, protocol, preprocessing, structures, batch_size, seed, augmentation,
            workers=workers,
        )  # fmt: skip

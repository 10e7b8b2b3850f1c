"""One data set by itself, as a LightningDataModule with an in-dataset split."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from datamodules.base import ProtocolDataModule
from datamodules.preprocessing import Preprocessing
from datamodules.protocol import Protocol


class SingleDataset(ProtocolDataModule):
    """A data set divided into its own training, validation and test cases.

    Args:
        root: the data root.
        held_out: share (below 1) or number of cases kept for testing.
        validation: share or number of the remaining cases that validate.
        cache: the folder for prepared images; a folder of the user's if not given.
        preprocessing: film to network input, a square of 256 pixels in [-1, 1] if not given.
        settings: further arguments of ``ProtocolDataModule``, such as ``structures``,
            ``batch_size``, ``seed``, ``augmentation`` and ``workers``.
    """

    dataset: ClassVar[str]

    def __init__(
        self,
        root: Path | str,
        held_out: float = 0.2,
        validation: float = 0.1,
        cache: Path | str | None = None,
        preprocessing: Preprocessing | None = None,
        **settings: Any,
    ) -> None:
        protocol = Protocol((self.dataset,), (self.dataset,), validation, held_out)
        super().__init__(root, protocol, cache, preprocessing, **settings)

"""Any protocol over any of the data sets."""

from __future__ import annotations

from datamodules.base import ProtocolDataModule


class CrossDataset(ProtocolDataModule):
    """Train on some data sets, test on others, as the protocol says."""

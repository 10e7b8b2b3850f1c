"""LIDC-IDRI alone: trained, validated and tested on its own patients."""

from __future__ import annotations

from datamodules.single import SingleDataset


class LIDCIDRI(SingleDataset):
    """LIDC-IDRI's CT scans with LUNA16's lung masks, slice by slice."""

    dataset = "lidc_idri"

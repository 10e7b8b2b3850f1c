"""QIN Lung CT alone: trained, validated and tested on its own patients."""

from __future__ import annotations

from datamodules.single import SingleDataset


class QINLungCT(SingleDataset):
    """QIN Lung CT's scans, with the user's own lung masks or computed ones."""

    dataset = "qin_lung_ct"

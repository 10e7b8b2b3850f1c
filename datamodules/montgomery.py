"""Montgomery alone: trained, validated and tested on its own cases."""

from __future__ import annotations

from datamodules.single import SingleDataset


class Montgomery(SingleDataset):
    """The Montgomery County set (138 films, left and right lung)."""

    dataset = "montgomery"

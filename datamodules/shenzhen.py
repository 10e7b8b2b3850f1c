"""Shenzhen alone: trained, validated and tested on its own cases."""

from __future__ import annotations

from datamodules.single import SingleDataset


class Shenzhen(SingleDataset):
    """The Shenzhen Hospital set (566 films with masks, both lungs in one)."""

    dataset = "shenzhen"

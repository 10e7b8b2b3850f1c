"""JSRT alone: trained, validated and tested on its own cases."""

from __future__ import annotations

from datamodules.single import SingleDataset


class JSRT(SingleDataset):
    """The JSRT set with SCR's masks (247 films; left lung, right lung and heart).

    By default a fifth is held out. SCR's two folds, in which every film is tested once, are the
    protocol ``jsrt``.
    """

    dataset = "jsrt"

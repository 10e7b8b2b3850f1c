"""Bit planes to the channels that a network is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.words import BACKGROUND
from datamodules.cache import PLANES


def to_channels(planes: NDArray[np.uint8], structures: Sequence[str]) -> NDArray[np.float32]:
    """Return one channel a structure, ``(C, H, W)`` in {0, 1}.

    With ``background`` among the structures the channels are one-hot; where structures overlap
    the heart wins, then the one listed later.

    Args:
        planes: ``(H, W)``, a bit for each structure, see ``cache.PLANES``.
        structures: the channels' names in order.
    """
    channels = np.zeros((len(structures), *planes.shape), np.float32)
    taken = np.zeros(planes.shape, bool)
    exclusive = BACKGROUND in structures
    for channel in _by_priority(structures):
        if structures[channel] == BACKGROUND:
            continue
        mask = (planes & PLANES[structures[channel]]) > 0
        channels[channel] = mask & ~taken if exclusive else mask
        taken |= mask
    if exclusive:
        channels[list(structures).index(BACKGROUND)] = ~taken
    return channels


def _by_priority(structures: Sequence[str]) -> list[int]:
    """Return the channels' numbers, those first that win where structures overlap."""
    channels = range(len(structures))
    return sorted(channels, key=lambda channel: (structures[channel] == "heart", channel))[::-1]

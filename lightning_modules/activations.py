"""Logits to probabilities, and probabilities to hard masks by the output's own rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from contract.words import BACKGROUND

Activation = Literal["softmax", "sigmoid", "tanh"]


def activate(logits: Tensor, activation: Activation) -> Tensor:
    """Return probabilities ``(N, C, H, W)`` in [0, 1], in float32.

    ``tanh`` outputs in [-1, 1] are mapped to [0, 1], so that its threshold 0 becomes 0.5.
    """
    logits = logits.float()
    if activation == "softmax":
        return logits.softmax(dim=1)
    if activation == "sigmoid":
        return logits.sigmoid()
    return (logits.tanh() + 1) / 2


def hard_masks(probabilities: Tensor, activation: Activation) -> Tensor:
    """Return boolean masks ``(N, C, H, W)``: the arg-max for softmax, otherwise p > 0.5.

    Of equal probabilities the first channel wins, as with ``torch.argmax``, which takes a hundred
    times as long over so few channels.
    """
    if activation != "softmax":
        return probabilities > 0.5
    if probabilities.shape[1] == 2:
        first, second = probabilities.unbind(dim=1)
        return torch.stack((first >= second, second > first), dim=1)
    masks = torch.zeros_like(probabilities, dtype=torch.bool)
    highest, free = probabilities[:, -1].clone(), torch.ones_like(masks[:, 0])
    for channel in range(probabilities.shape[1] - 2, -1, -1):
        torch.maximum(highest, probabilities[:, channel], out=highest)
    for channel, own in enumerate(probabilities.unbind(dim=1)):
        masks[:, channel] = (own == highest) & free
        free &= ~masks[:, channel]
    return masks


def lung_channels(structures: Sequence[str]) -> list[int]:
    """Return the channels whose union is the lungs."""
    if "lungs" in structures:
        return [list(structures).index("lungs")]
    return [i for i, name in enumerate(structures) if name in ("left_lung", "right_lung")]


def foreground_channels(structures: Sequence[str]) -> list[int]:
    """Return all channels but the background's."""
    return [i for i, name in enumerate(structures) if name != BACKGROUND]

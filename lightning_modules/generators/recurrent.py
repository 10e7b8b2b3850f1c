"""The recurrent convolution that R2U-Net and DEFU-Net share (Alom 2018)."""

from __future__ import annotations

from copy import deepcopy
from typing import cast

from torch import Tensor, nn

from lightning_modules.generators.blocks import ConvBuilder, ConvNormAct


class RecurrentConv(nn.Module):
    """Unrolled recurrent convolution: a = f(u), then a = f(a + u) twice; shape kept.

    Every step keeps a normalisation of its own: maps grow from step to step, so statistics that
    steps share fit none of them in testing (Cooijmans 2017, "Recurrent batch normalization",
    section 3; with shared ones this network's mask of a film in testing had little to do with
    that in training).

    Args:
        channels: channels in and out.
        share_weights: one convolution for all steps, as a recurrence has it, or one a step, as
            several implementations do.
        conv: builds f, a sequence that begins with the convolution.
        steps: applications of f; Alom 2018's t = 2 counts those after the first.
    """

    def __init__(
        self,
        channels: int,
        share_weights: bool = True,
        conv: ConvBuilder = ConvNormAct,
        steps: int = 3,
    ) -> None:
        super().__init__()
        first = conv(channels, channels)
        self.functions = nn.ModuleList([first])
        for _ in range(1, steps):
            function = deepcopy(first) if share_weights else conv(channels, channels)
            if share_weights:
                cast("nn.Sequential", function)[0] = cast("nn.Sequential", first)[0]
            self.functions.append(function)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, channels, H, W)`` of the same shape."""
        state: Tensor = self.functions[0](x)
        for function in self.functions[1:]:
            state = function(state + x)
        return state

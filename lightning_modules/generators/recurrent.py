"""The recurrent convolution that R2U-Net and DEFU-Net share (Alom 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_modules.generators.blocks import ConvBuilder, ConvNormAct


class RecurrentConv(nn.Module):
    """Unrolled recurrent convolution: a = f(u), then a = f(a + u) twice; shape kept.

    Args:
        channels: channels in and out.
        share_weights: one f for all steps, as a recurrence has it, or one f a step, as several
            implementations do.
        conv: builds f.
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
        self.steps = steps
        self.functions = nn.ModuleList(
            conv(channels, channels) for _ in range(1 if share_weights else steps)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, channels, H, W)`` of the same shape."""
        state: Tensor = self.functions[0](x)
        for step in range(1, self.steps):
            state = self.functions[step % len(self.functions)](state + x)
        return state

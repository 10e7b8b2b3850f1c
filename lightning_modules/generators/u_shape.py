"""The skeleton of every U-Net that differs from it only in its stages, up-sampling or skips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_modules.generators.blocks import Upsampling, require_multiple

UNET_WIDTHS = (64, 128, 256, 512, 1024)
"""Feature maps per level of the original U-Net (Ronneberger 2015, Figure 1)."""


class UShapedNetwork(nn.Module):
    """Encoder with 2x2 max-pooling, decoder with skip concatenation, 1x1 output convolution.

    At each decoder level the coarser map is raised to the level's size, joined with the
    (gated) skip as ``[skip, raised]``, and passed through a stage.

    Args:
        in_channels: channels of the image.
        classes: channels of the logits.
        widths: feature maps per level, finest first; one down-step fewer than entries.
        stage: builds the convolutions of one level from (channels in, channels out).
        upsample: builds the up-sampling from (channels in, channels out).
        gates: modules ``gate(skip, gating signal)`` per decoder level, coarsest first; levels
            past the end of the list have plain skips.
        gating: the gates' second argument: the ``raised`` map, of the skip's size, or the
            ``coarse`` one before up-sampling, half the skip's size.

    Attributes:
        multiple: H and W of the input must be multiples of this.

    Raises:
        ValueError: for fewer than two widths.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        widths: Sequence[int],
        stage: Callable[[int, int], nn.Module],
        upsample: Callable[[int, int], Upsampling],
        gates: Sequence[nn.Module] = (),
        gating: Literal["raised", "coarse"] = "raised",
    ) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"widths must hold at least two levels, found {tuple(widths)}")
        self.multiple = 2 ** (len(widths) - 1)
        self.gating = gating
        channels_in = (in_channels, *widths[:-1])
        self.encoder = nn.ModuleList(stage(i, o) for i, o in zip(channels_in, widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.upsamplings = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True):
            up = upsample(coarse, fine)
            self.upsamplings.append(up)
            self.decoder.append(stage(fine + up.out_channels, fine))
        self.gates = nn.ModuleList(gates)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(N, classes, H, W)`` of the image ``(N, in_channels, H, W)``.

        Raises:
            ValueError: where H or W is not a multiple of ``self.multiple``.
        """
        require_multiple(x, self.multiple, type(self).__name__)
        skips: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            x = stage(self.pool(x) if level else x)
            skips.append(x)
        skips.pop()
        for level, (up, stage) in enumerate(zip(self.upsamplings, self.decoder, strict=True)):
            raised, skip = up(x), skips.pop()
            if level < len(self.gates):
                skip = self.gates[level](skip, raised if self.gating == "raised" else x)
            x = stage(torch.cat([skip, raised], dim=1))
        logits: Tensor = self.head(x)
        return logits

"""The skeleton of every U-Net that differs from it only in its stages, up-sampling or skips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_modules.generators.blocks import (
    ConvBuilder,
    MaxPool2d,
    Upsampling,
    require_multiple,
)

UNET_WIDTHS = (64, 128, 256, 512, 1024)
"""Feature maps per level of the original U-Net (Ronneberger 2015, Figure 1)."""


class Decoder(nn.Module):
    """Raises the coarsest of an encoder's maps, level by level, to the size of the finest.

    At each level the coarser map is raised to the level's size, joined with the (gated) skip
    as ``[skip, raised]``, and passed through a stage.

    Args:
        encoder_widths: channels of the encoder's maps, finest first.
        widths: channels that each stage gives, coarsest first; one fewer than the maps.
        stage: builds the convolutions of one level from (channels in, channels out).
        upsample: builds the up-sampling from (channels in, channels out).
        gates: modules ``gate(skip, gating signal)`` per level, coarsest first; levels past the
            end of the list have plain skips.
        gating: the gates' second argument: the ``raised`` map, of the skip's size, or the
            ``coarse`` one before up-sampling, half the skip's size.
    """

    def __init__(
        self,
        encoder_widths: Sequence[int],
        widths: Sequence[int],
        stage: ConvBuilder,
        upsample: Callable[[int, int], Upsampling],
        gates: Sequence[nn.Module] = (),
        gating: Literal["raised", "coarse"] = "raised",
    ) -> None:
        super().__init__()
        self.gating = gating
        self.gates = nn.ModuleList(gates)
        self.upsamplings = nn.ModuleList()
        self.stages = nn.ModuleList()
        coarse = encoder_widths[-1]
        for skip, width in zip(encoder_widths[-2::-1], widths, strict=True):
            up = upsample(coarse, width)
            self.upsamplings.append(up)
            self.stages.append(stage(skip + up.out_channels, width))
            coarse = width

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return ``(N, widths[-1], H, W)``.

        Args:
            maps: the encoder's, finest first, each half the size of the one before.
        """
        *skips, x = maps
        for level, (up, stage) in enumerate(zip(self.upsamplings, self.stages, strict=True)):
            raised, skip = up(x), skips.pop()
            if level < len(self.gates):
                skip = self.gates[level](skip, raised if self.gating == "raised" else x)
            x = stage(torch.cat([skip, raised], dim=1))
        return x


class UShapedNetwork(nn.Module):
    """Encoder with 2x2 max-pooling, :class:`Decoder`, 1x1 output convolution.

    Args:
        in_channels: channels of the image.
        classes: channels of the logits.
        widths: feature maps per level, finest first; one down-step fewer than entries.
        stage: builds the convolutions of one level from (channels in, channels out).
        upsample: builds the up-sampling from (channels in, channels out).
        gates: see :class:`Decoder`.
        gating: see :class:`Decoder`.

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
        stage: ConvBuilder,
        upsample: Callable[[int, int], Upsampling],
        gates: Sequence[nn.Module] = (),
        gating: Literal["raised", "coarse"] = "raised",
    ) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"widths must hold at least two levels, found {tuple(widths)}")
        self.multiple = 2 ** (len(widths) - 1)
        channels_in = (in_channels, *widths[:-1])
        self.encoder = nn.ModuleList(stage(i, o) for i, o in zip(channels_in, widths, strict=True))
        self.pool = MaxPool2d()
        self.decoder = Decoder(widths, widths[-2::-1], stage, upsample, gates, gating)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(N, classes, H, W)`` of the image ``(N, in_channels, H, W)``.

        Raises:
            ValueError: where H or W is not a multiple of ``self.multiple``.
        """
        require_multiple(x, self.multiple, type(self).__name__)
        return self._logits(x)

    def _logits(self, x: Tensor) -> Tensor:
        maps: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            x = stage(self.pool(x) if level else x)
            maps.append(x)
        logits: Tensor = self.head(self.decoder(maps))
        return logits

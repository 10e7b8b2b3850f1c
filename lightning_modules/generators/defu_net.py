"""DEFU-Net (Zhang 2020): a recurrent and an inception path, fused stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from lightning_modules.generators.blocks import (
    ConvNormAct,
    MaxPool2d,
    Upsampling,
    initialise,
    require_multiple,
)
from lightning_modules.generators.inception import make_inception_path
from lightning_modules.generators.recurrent import RecurrentConv
from lightning_modules.generators.u_shape import Decoder

NEGATIVE_SLOPE = 0.3
"""Keras's default for LeakyReLU, which the authors' implementation leaves as it is."""


class DenselyConnectedRecurrentBlock(nn.Module):
    """DCRC block (Zhang 2020, Section II-B, Figure 2): ``(N, in, H, W)`` to ``(N, out, H, W)``.

    s is the input, by a 1x1 convolution where channels differ. Two units d1 = unit(s) and d2 =
    unit(d1), each a recurrent convolution joined with s and reduced by a 1x1 convolution; the
    output is the 1x1 reduction of [d2, d1, s].

    Args:
        in_channels: channels in.
        out_channels: channels out.
        share_weights: one set of weights for a recurrence's three steps; the authors'
            implementation has three.
    """

    def __init__(self, in_channels: int, out_channels: int, share_weights: bool = False) -> None:
        super().__init__()
        conv = partial(
            ConvNormAct, norm="keras_batch", activation="leaky_relu", negative_slope=NEGATIVE_SLOPE
        )
        reduce = partial(
            ConvNormAct,
            kernel=1,
            norm="none",
            activation="leaky_relu",
            negative_slope=NEGATIVE_SLOPE,
        )
        self.skip = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1)
        )
        self.recurrences = nn.ModuleList(
            RecurrentConv(out_channels, share_weights, conv) for _ in range(2)
        )
        self.reductions = nn.ModuleList(reduce(2 * out_channels, out_channels) for _ in range(2))
        self.output = reduce(3 * out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, H, W)``."""
        skip = self.skip(x)
        dense = [skip]
        for recurrence, reduction in zip(self.recurrences, self.reductions, strict=True):
            dense.insert(0, reduction(torch.cat([recurrence(dense[0]), skip], dim=1)))
        joined: Tensor = self.output(torch.cat(dense, dim=1))
        return joined


class DEFUNet(nn.Module):
    """DEFU-Net: images ``(N, in, H, W)`` to logits ``(N, classes, H, W)``.

    The recurrent path X_{n+1} = DCRC(maxpool X_n) never sees the fused maps; the inception
    path does: Y_2 = E(X_1), Y_{n+1} = E(X_n + Y_n). Skips are X_1 and the sums X_n + Y_n; the
    bottom is DCRC(maxpool X_4 + E(X_4 + Y_4)). It has 45.6 M parameters as the authors coded
    it, 20.4 M with ``share_weights``. Weights are drawn as Keras does (Glorot, uniform).

    Args:
        in_channels: channels of the image.
        classes: channels of the logits.
        widths: feature maps of the four stages and the bottom; all but the first must be
            multiples of 4, and the last equals the one before it in the paper.
        share_weights: one set of weights for a recurrence's three steps.

    Attributes:
        multiple: H and W of the input must be multiples of this, 16 for five widths.

    Raises:
        ValueError: where the inception path's widths are not multiples of 4.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        widths: Sequence[int] = (64, 128, 256, 512, 512),
        share_weights: bool = False,
    ) -> None:
        super().__init__()
        *stages, bottom = widths
        self.multiple = 2 ** len(stages)
        block = partial(DenselyConnectedRecurrentBlock, share_weights=share_weights)
        self.recurrent_path = nn.ModuleList(
            block(i, o) for i, o in zip((in_channels, *stages[:-1]), stages, strict=True)
        )
        self.inception_path = make_inception_path(widths)
        self.pool = MaxPool2d()
        self.bottom = block(bottom, bottom)
        self.decoder = Decoder(
            widths,
            (*stages[-2::-1], stages[0]),
            stage=block,
            upsample=partial(Upsampling, kind="nearest"),
        )
        self.head = nn.Conv2d(stages[0], classes, 1)
        initialise(self, "glorot_uniform")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(N, classes, H, W)`` of the image ``(N, in_channels, H, W)``.

        Raises:
            ValueError: where H or W is not a multiple of ``self.multiple``.
        """
        require_multiple(x, self.multiple, type(self).__name__)
        first, *recurrents = self.recurrent_path
        *inceptions, last_inception = self.inception_path
        x = first(x)
        maps = [x]
        for recurrent, inception in zip(recurrents, inceptions, strict=True):
            x = recurrent(self.pool(x))
            maps.append(x + inception(maps[-1]))
        maps.append(self.bottom(self.pool(x) + last_inception(maps[-1])))
        logits: Tensor = self.head(self.decoder(maps))
        return logits

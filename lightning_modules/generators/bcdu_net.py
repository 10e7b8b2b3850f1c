"""BCDU-Net (Azad 2019), a comparator of DEFU-Net (Zhang 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from lightning_modules.generators.blocks import (
    ConvNormAct,
    DoubleConv,
    MaxPool2d,
    initialise,
    make_norm,
    require_multiple,
)
from lightning_modules.generators.conv_lstm import BidirectionalConvLSTM, ConvLSTM


class RaisedThenSkip(nn.Module):
    """One ConvLSTM that reads the raised map, then the skip, as the authors' code does.

    Args:
        channels: channels of each map; the state has half of them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lstm = ConvLSTM(channels, channels // 2, hard_gates=True)

    def forward(self, skip: Tensor, raised: Tensor) -> Tensor:
        """Return ``(N, channels / 2, H, W)``."""
        state: Tensor = self.lstm([raised, skip])
        return state


class DenseBottom(nn.ModuleList):
    """Densely connected pairs of convolutions, each pair followed by dropout.

    The first reads the pooled map; each further one the outputs of all before it, latest first.

    Args:
        in_channels: channels in.
        channels: channels of each pair's output.
        pairs: number of pairs; 3 is BCDU-Net D3, 1 is D1.
        dropout: probability.
    """

    def __init__(self, in_channels: int, channels: int, pairs: int, dropout: float) -> None:
        conv = partial(ConvNormAct, norm="none")
        super().__init__(
            nn.Sequential(
                DoubleConv(n * channels if n else in_channels, channels, conv), nn.Dropout(dropout)
            )
            for n in range(pairs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the last pair's output ``(N, channels, H, W)``."""
        outputs: list[Tensor] = []
        for pair in self:
            x = pair(torch.cat(outputs, dim=1) if outputs else x)
            outputs.insert(0, x)
        return x


class BCDUNet(nn.Module):
    """BCDU-Net: images ``(N, in, H, W)`` to logits ``(N, classes, H, W)``.

    Three pooled levels; skips and raised maps are merged by a ConvLSTM instead of
    concatenation, and the bottom is densely connected. 20.7 M parameters as D3, 8.9 M as D1.
    Convolutions have ReLU without normalisation and He-normal weights; only the up-sampled
    maps are batch-normalised.

    The authors' code reads the two maps in one direction only, although the paper draws both.
    The default follows the code, since published results come from it.

    Args:
        in_channels: channels of the image.
        classes: channels of the logits.
        widths: feature maps per level, finest first, the last being the bottom.
        dense_pairs: pairs of convolutions in the bottom, 3 for D3 and 1 for D1.
        dropout: probability, on the coarsest skip (not on the pooled path) and in the bottom.
        bidirectional: read the maps in both directions, as the paper draws it.

    Attributes:
        multiple: H and W of the input must be multiples of this, 8 for four widths.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        widths: Sequence[int] = (64, 128, 256, 512),
        dense_pairs: int = 3,
        dropout: float = 0.5,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        *stages, bottom = widths
        self.multiple = 2 ** len(stages)
        stage = partial(DoubleConv, conv=partial(ConvNormAct, norm="none"))
        self.encoder = nn.ModuleList(
            stage(i, o) for i, o in zip((in_channels, *stages[:-1]), stages, strict=True)
        )
        self.pool = MaxPool2d()
        self.drop_skip = nn.Dropout(dropout)
        self.bottom = DenseBottom(stages[-1], bottom, dense_pairs, dropout)
        self.upsamplings = nn.ModuleList()
        self.merges = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for coarse, fine in zip(widths[:0:-1], stages[::-1], strict=True):
            self.upsamplings.append(
                nn.Sequential(
                    nn.ConvTranspose2d(coarse, fine, 2, stride=2),
                    make_norm("keras_batch", fine),
                    nn.ReLU(inplace=True),
                )
            )
            self.merges.append(
                BidirectionalConvLSTM(fine, fine // 2, hard_gates=True)
                if bidirectional
                else RaisedThenSkip(fine)
            )
            self.decoder.append(stage(fine // 2, fine))
        self.head = nn.Sequential(
            ConvNormAct(stages[0], 2 * classes, norm="none"), nn.Conv2d(2 * classes, classes, 1)
        )
        initialise(self, "he_normal")
        for module in self.modules():
            if isinstance(module, ConvLSTM):
                module.reset_recurrence()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(N, classes, H, W)`` of the image ``(N, in_channels, H, W)``.

        Raises:
            ValueError: where H or W is not a multiple of ``self.multiple``.
        """
        require_multiple(x, self.multiple, type(self).__name__)
        skips: list[Tensor] = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
            x = self.pool(x)
        skips[-1] = self.drop_skip(skips[-1])
        x = self.bottom(x)
        for up, merge, stage in zip(self.upsamplings, self.merges, self.decoder, strict=True):
            x = stage(merge(skips.pop(), up(x)))
        logits: Tensor = self.head(x)
        return logits

"""DEFU-Net's inception block with dilation (Zhang 2020, Section II-C and Figure 4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class HalvingConv(nn.Sequential):
    """3x3 convolution of stride 2, padded at the bottom and right only.

    This is what "same" padding means in Keras and TensorFlow for even sizes: ``(N, in, H, W)``
    to ``(N, out, H/2, W/2)``.

    Args:
        in_channels: channels in.
        out_channels: channels out.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(in_channels, out_channels, 3, 2))


class DilatedInception(nn.Module):
    """Four branches of different field, concatenated: half the size, 4 ``branch_channels``.

    The dilations, as (rows, columns), are (1, 2) and (3, 1), fields of 3x5 and 7x3 pixels.
    ReLU behind each convolution, no normalisation.

    Args:
        in_channels: channels in.
        branch_channels: channels of each branch.
    """

    def __init__(self, in_channels: int, branch_channels: int) -> None:
        super().__init__()
        n = branch_channels
        wide = nn.Conv2d(in_channels, n, 3, padding=(1, 2), dilation=(1, 2))
        tall = nn.Conv2d(n, n, 3, padding=(3, 1), dilation=(3, 1))
        # ceil_mode clips the last window at the border, so that no padding enters the mean.
        mean = nn.AvgPool2d(3, stride=2, ceil_mode=True)
        self.branches = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(in_channels, n, 1, stride=2), nn.ReLU()),
                nn.Sequential(
                    nn.Conv2d(in_channels, n, 1), nn.ReLU(), HalvingConv(n, n), nn.ReLU()
                ),
                nn.Sequential(mean, wide, nn.ReLU()),
                nn.Sequential(
                    nn.Conv2d(in_channels, n, 1), nn.ReLU(), tall, nn.ReLU(), HalvingConv(n, n),
                    nn.ReLU(),
                ),
            ]
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, 4 branch_channels, H/2, W/2)``; H and W must be even."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def make_inception_path(widths: Sequence[int]) -> nn.ModuleList:
    """Build the blocks that lead from each level to the next, finest first.

    Args:
        widths: feature maps per level, finest first.

    Raises:
        ValueError: where a width but the first is not a multiple of 4.
    """
    if any(width % 4 for width in widths[1:]):
        raise ValueError(
            "an inception path joins four equal branches, so its widths but the first must be "
            f"multiples of 4: found {tuple(widths)}"
        )
    return nn.ModuleList(DilatedInception(i, o // 4) for i, o in pairwise(widths))

"""pix2pix's U-Net (Isola 2017), the generator of the GAN U-Net for JSRT."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.generators.blocks import initialise, require_multiple


class Pix2PixUNet(nn.Module):
    """pix2pix's U-Net: images ``(N, in, H, W)`` to logits ``(N, classes, H, W)``.

    4x4 convolutions of stride 2 down to the bottleneck, transposed ones back; LeakyReLU 0.2 on
    the way down, ReLU on the way up, batch normalisation but on the first, innermost and last.
    The last level's output is raw: tanh or sigmoid is the caller's. Weights are N(0, 0.02).
    67.0 M parameters at nine levels (a 512x512 image reaches 1x1), 54.4 M at eight.

    Args:
        in_channels: channels of the image.
        classes: channels of the logits.
        base_width: feature maps of the first level; they double up to eight times that.
        num_downs: levels.
        dropout: probability.
        dropout_levels: the number of deepest decoder levels that have dropout.

    Attributes:
        multiple: H and W of the input must be multiples of this, 512 for nine levels.

    Raises:
        ValueError: for fewer than two levels.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        base_width: int = 64,
        num_downs: int = 9,
        dropout: float = 0.5,
        dropout_levels: int = 3,
    ) -> None:
        super().__init__()
        if num_downs < 2:
            raise ValueError(f"num_downs must be at least 2, found {num_downs}")
        self.multiple = 2**num_downs
        widths = [base_width * min(2**level, 8) for level in range(num_downs)]
        innermost = num_downs - 1
        self.downs = nn.ModuleList([nn.Conv2d(in_channels, widths[0], 4, 2, 1)])
        for level, (fine, coarse) in enumerate(pairwise(widths), start=1):
            bare = level == innermost
            conv = nn.Conv2d(fine, coarse, 4, 2, 1, bias=bare)
            norm = nn.Identity() if bare else nn.BatchNorm2d(coarse)
            self.downs.append(nn.Sequential(conv, norm))
        self.ups = nn.ModuleList()
        for level in range(innermost, 0, -1):
            joined = widths[level] * (1 if level == innermost else 2)
            fine = widths[level - 1]
            self.ups.append(
                nn.Sequential(
                    nn.ConvTranspose2d(joined, fine, 4, 2, 1, bias=False),
                    nn.BatchNorm2d(fine),
                    nn.Dropout(dropout if level > innermost - dropout_levels else 0.0),
                )
            )
        self.head = nn.ConvTranspose2d(2 * widths[0], classes, 4, 2, 1)
        initialise(self, "normal")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(N, classes, H, W)`` of the image ``(N, in_channels, H, W)``.

        Raises:
            ValueError: where H or W is not a multiple of ``self.multiple``.
        """
        require_multiple(x, self.multiple, type(self).__name__)
        first, *others = self.downs
        skips: list[Tensor] = [first(x)]
        for down in others:
            skips.append(down(functional.leaky_relu(skips[-1], 0.2)))
        x = skips.pop()
        for up in self.ups:
            x = torch.cat([up(functional.relu(x)), skips.pop()], dim=1)
        logits: Tensor = self.head(functional.relu(x))
        return logits

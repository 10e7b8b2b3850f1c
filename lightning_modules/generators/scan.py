"""SCAN's fully convolutional generator (Dai 2018), whose trunk its critic shares."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.generators.blocks import ConvNormAct, require_multiple

SCAN_WIDTHS = (8, 16, 32, 64)
"""Feature maps of SCAN's four pooled stages."""


class ResidualBlock(nn.Module):
    """conv-BN-ReLU-conv-BN plus the input, then ReLU (He 2016); size kept.

    Args:
        in_channels: channels in.
        out_channels: channels out; a 1x1 projection carries the input where they differ.
        kernel: side of both square kernels.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            ConvNormAct(in_channels, out_channels, kernel),
            ConvNormAct(out_channels, out_channels, kernel, activation="none"),
        )
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, H, W)``."""
        return functional.relu(self.residual(x) + self.shortcut(x))


class ScanTrunk(nn.Sequential):
    """SCAN's 19 convolutions: ``(N, in, H, W)`` to ``(N, widths[-1], H/16, W/16)``.

    A 7x7 convolution, one residual block and 2x2 average pooling per width, then five residual
    blocks with kernels 1, 3, 1, 3, 1.

    Args:
        in_channels: channels in.
        widths: feature maps of the pooled stages.
    """

    def __init__(self, in_channels: int, widths: Sequence[int] = SCAN_WIDTHS) -> None:
        layers: list[nn.Module] = [ConvNormAct(in_channels, widths[0], kernel=7)]
        for narrow, wide in zip((widths[0], *widths[:-1]), widths, strict=True):
            layers += [ResidualBlock(narrow, wide), nn.AvgPool2d(2)]
        layers += [ResidualBlock(widths[-1], widths[-1], kernel) for kernel in (1, 3, 1, 3, 1)]
        super().__init__(*layers)


class ScanFCN(nn.Module):
    """SCAN's generator: ``(N, in, H, W)`` to logits ``(N, classes, H, W)``.

    Dai 2018 states 21 weight layers, 271 k parameters and maps that begin 8-16-…; this reading
    has 268 k at four classes. Classes are scored at 1/16 of the size and raised by one
    transposed convolution.

    Args:
        in_channels: channels of the image.
        classes: channels of the logits.
        widths: feature maps of the pooled stages.

    Attributes:
        multiple: H and W of the input must be multiples of this, 16 for four widths.
    """

    def __init__(
        self, in_channels: int = 1, classes: int = 2, widths: Sequence[int] = SCAN_WIDTHS
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        self.trunk = ScanTrunk(in_channels, widths)
        self.score = nn.Conv2d(widths[-1], classes, 1)
        self.raise_size = nn.ConvTranspose2d(
            classes, classes, 2 * self.multiple, stride=self.multiple, padding=self.multiple // 2
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(N, classes, H, W)`` of the image ``(N, in_channels, H, W)``.

        Raises:
            ValueError: where H or W is not a multiple of ``self.multiple``.
        """
        require_multiple(x, self.multiple, type(self).__name__)
        logits: Tensor = self.raise_size(self.score(self.trunk(x)))
        return logits

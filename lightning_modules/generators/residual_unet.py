"""Residual U-Net (Zhang 2018) and its inception variant, two comparators of DEFU-Net."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from lightning_modules.generators.blocks import (
    ConvNormAct,
    Norm,
    Upsampling,
    initialise,
    make_norm,
    require_multiple,
)
from lightning_modules.generators.inception import HalvingConv, make_inception_path
from lightning_modules.generators.u_shape import Decoder


class ResidualStage(nn.Module):
    """The network's first block: conv-BN-ReLU-conv plus a normalised 1x1 projection.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        norm: see :func:`~lightning_modules.generators.blocks.make_norm`.
    """

    def __init__(self, in_channels: int, out_channels: int, norm: Norm = "keras_batch") -> None:
        super().__init__()
        self.residual = nn.Sequential(
            ConvNormAct(in_channels, out_channels, norm=norm),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.shortcut = ConvNormAct(
            in_channels, out_channels, kernel=1, norm=norm, activation="none"
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, H, W)``."""
        y: Tensor = self.residual(x) + self.shortcut(x)
        return y


class PreActivationStage(nn.Module):
    """Twice BN-ReLU-conv, plus a normalised 1x1 projection (He 2016, identity mappings).

    Args:
        in_channels: channels in.
        out_channels: channels out.
        halve: the first convolution and the projection have stride 2.
        norm: see :func:`~lightning_modules.generators.blocks.make_norm`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        halve: bool = False,
        norm: Norm = "keras_batch",
    ) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            make_norm(norm, in_channels),
            nn.ReLU(inplace=True),
            HalvingConv(in_channels, out_channels)
            if halve
            else nn.Conv2d(in_channels, out_channels, 3, padding=1),
            make_norm(norm, out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.shortcut = ConvNormAct(
            in_channels,
            out_channels,
            kernel=1,
            stride=2 if halve else 1,
            norm=norm,
            activation="none",
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, H, W)``, or half that H and W."""
        y: Tensor = self.residual(x) + self.shortcut(x)
        return y


class ResUNet(nn.Module):
    """Deep residual U-Net: images ``(N, in, H, W)`` to logits ``(N, classes, H, W)``.

    Three levels below the first, reached by convolutions of stride 2 instead of pooling;
    nearest up-sampling. Zhang 2020 does not describe its "Res-U-Net"; this is Zhang 2018's
    network (8.2 M parameters). Weights are drawn as Keras does (Glorot, uniform).

    Args:
        in_channels: channels of the image.
        classes: channels of the logits.
        widths: feature maps per level, finest first, the last being the bridge.
        norm: ``keras_batch`` (its running statistics take hundreds of steps), ``batch``,
            ``instance`` or ``none``.

    Attributes:
        multiple: H and W of the input must be multiples of this, 8 for four widths.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        widths: Sequence[int] = (64, 128, 256, 512),
        norm: Norm = "keras_batch",
    ) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        self.first = ResidualStage(in_channels, widths[0], norm)
        self.halvings = nn.ModuleList(
            PreActivationStage(fine, coarse, True, norm) for fine, coarse in pairwise(widths)
        )
        self.decoder = Decoder(
            widths,
            widths[-2::-1],
            stage=partial(PreActivationStage, norm=norm),
            upsample=partial(Upsampling, kind="nearest"),
        )
        self.head = nn.Conv2d(widths[0], classes, 1)
        initialise(self, "glorot_uniform")

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the maps of all levels, finest first."""
        maps: list[Tensor] = [self.first(x)]
        for halving in self.halvings:
            maps.append(halving(maps[-1]))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(N, classes, H, W)`` of the image ``(N, in_channels, H, W)``.

        Raises:
            ValueError: where H or W is not a multiple of ``self.multiple``.
        """
        require_multiple(x, self.multiple, type(self).__name__)
        logits: Tensor = self.head(self.decoder(self.encode(x)))
        return logits


class IncepResUNet(ResUNet):
    """:class:`ResUNet` with DEFU-Net's inception path summed into every level but the first.

    Zhang 2020 names the combination only ("we combine it with Res-U-Net"): the paths are wired
    here as in DEFU-Net, where the residual path never sees the sums and the inception path
    does.

    Args:
        in_channels: channels of the image.
        classes: channels of the logits.
        widths: feature maps per level, finest first; all but the first multiples of 4.
        norm: as in :class:`ResUNet`; the inception path has none.

    Attributes:
        multiple: H and W of the input must be multiples of this, 8 for four widths.

    Raises:
        ValueError: where the inception path's widths are not multiples of 4.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        widths: Sequence[int] = (64, 128, 256, 512),
        norm: Norm = "keras_batch",
    ) -> None:
        super().__init__(in_channels, classes, widths, norm)
        self.inception_path = make_inception_path(widths)
        initialise(self.inception_path, "glorot_uniform")

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the fused maps of all levels, finest first."""
        residual: Tensor = self.first(x)
        maps = [residual]
        for halving, inception in zip(self.halvings, self.inception_path, strict=True):
            residual = halving(residual)
            maps.append(residual + inception(maps[-1]))
        return maps

"""U-Net, in the forms that the papers' baselines and a plain modern recipe take."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor
from torch.nn.functional import interpolate

from lightning_modules.generators.blocks import (
    ConvNormAct,
    DoubleConv,
    Initialisation,
    Nonlinearity,
    Norm,
    Upsampling,
    UpsamplingKind,
    initialise,
)
from lightning_modules.generators.u_shape import UNET_WIDTHS, UShapedNetwork


class UNet(UShapedNetwork):
    """U-Net with padded convolutions (Ronneberger 2015).

    Maps images ``(N, in_channels, H, W)`` to logits ``(N, classes, H, W)``. The default
    is the plain modern recipe, with batch normalisation. LGAN's generator (Tan 2021, Section
    2.2.1) is ``norm="none", activation="leaky_relu", initialisation="normal"``;
    DEFU-Net's baseline (Zhang 2020) is ``norm="none"``. Both have 31.0 M parameters.

    Args:
        in_channels: channels of the image.
        classes: channels of the logits.
        widths: feature maps per level, finest first.
        norm: ``batch``, ``instance`` or ``none``.
        activation: ``relu`` or ``leaky_relu``.
        negative_slope: of ``leaky_relu``; 0.2 is DCGAN's, which LGAN follows.
        upsampling: ``deconv`` (2x2, stride 2) or an interpolation, see
            :class:`~lightning_modules.generators.blocks.Upsampling`.
        initialisation: see :func:`~lightning_modules.generators.blocks.initialise`.
        stem: channels of a convolution (3x3, stride 2) before the first level, whose logits are
            then enlarged twofold, bilinearly: a quarter of the operations for as fine an image.
            None where 0.

    Attributes:
        multiple: H and W of the input must be multiples of this, 16 for five widths, twice that
            with a stem.

    Raises:
        ValueError: for fewer than two widths, or a stem of fewer than 0 channels.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        widths: Sequence[int] = UNET_WIDTHS,
        norm: Norm = "batch",
        activation: Nonlinearity = "relu",
        negative_slope: float = 0.2,
        upsampling: UpsamplingKind = "deconv",
        initialisation: Initialisation = "torch",
        stem: int = 0,
    ) -> None:
        if stem < 0:
            raise ValueError(f"stem must be 0 or more channels, found {stem}")
        conv = partial(ConvNormAct, norm=norm, activation=activation, negative_slope=negative_slope)
        super().__init__(
            stem or in_channels,
            classes,
            widths,
            stage=partial(DoubleConv, conv=conv),
            upsample=partial(Upsampling, kind=upsampling, conv=conv),
        )
        self.stem = conv(in_channels, stem, stride=2) if stem else None
        self.multiple *= 2 if stem else 1
        initialise(self, initialisation)

    def _logits(self, x: Tensor) -> Tensor:
        if self.stem is None:
            return super()._logits(x)
        logits = super()._logits(self.stem(x))
        return interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)

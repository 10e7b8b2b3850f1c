"""R2U-Net (Alom 2018) and its attention variant, two comparators of DEFU-Net (Zhang 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from lightning_modules.generators.attention_unet import additive_gates
from lightning_modules.generators.blocks import ConvNormAct, Norm, Upsampling
from lightning_modules.generators.recurrent import RecurrentConv
from lightning_modules.generators.u_shape import UNET_WIDTHS, UShapedNetwork


class RecurrentResidualStage(nn.Module):
    """1x1 convolution to the stage's width, plus two recurrent convolutions of it.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        share_weights: see :class:`~lightning_modules.generators.recurrent.RecurrentConv`.
        norm: see :func:`~lightning_modules.generators.blocks.make_norm`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, share_weights: bool = True, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        conv = partial(ConvNormAct, norm=norm)
        self.widen = nn.Conv2d(in_channels, out_channels, 1)
        self.residual = nn.Sequential(
            RecurrentConv(out_channels, share_weights, conv),
            RecurrentConv(out_channels, share_weights, conv),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, out_channels, H, W)``."""
        x = self.widen(x)
        widened: Tensor = x + self.residual(x)
        return widened


class R2UNet(UShapedNetwork):
    """U-Net of recurrent residual stages: images ``(N, in, H, W)`` to ``(N, classes, H, W)``.

    Two builds are in use and DEFU-Net's paper does not say which it compared. The default
    shares a recurrence's weights and has a 3x3 convolution behind nearest up-sampling (39.1 M
    parameters, 39.4 M with gates). ``share_weights=False, up_convolution=False`` is the build
    of the Keras implementations (96.0 M and 96.5 M), which leave normalisation off.

    Args:
        in_channels: channels of the image.
        classes: channels of the logits.
        widths: feature maps per level, finest first.
        share_weights: one set of weights for a recurrence's three steps.
        up_convolution: a 3x3 convolution behind the up-sampling.
        norm: ``batch``, ``instance`` or ``none``.

    Attributes:
        multiple: H and W of the input must be multiples of this, 16 for five widths.
    """

    gated = False

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        widths: Sequence[int] = UNET_WIDTHS,
        share_weights: bool = True,
        up_convolution: bool = True,
        norm: Norm = "batch",
    ) -> None:
        raised = widths[:-1] if up_convolution else widths[1:]
        super().__init__(
            in_channels,
            classes,
            widths,
            stage=partial(RecurrentResidualStage, share_weights=share_weights, norm=norm),
            upsample=partial(
                Upsampling,
                kind="nearest_conv" if up_convolution else "nearest",
                conv=partial(ConvNormAct, norm=norm),
            ),
            gates=additive_gates(widths[:-1], raised) if self.gated else (),
        )


class AttR2UNet(R2UNet):
    """:class:`R2UNet` with an attention gate on each skip, driven by the raised map."""

    gated = True

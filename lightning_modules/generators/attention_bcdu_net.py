"""Attention BCDU-Net (Maga 2021): Attention U-Net whose gates merge by a ConvLSTM."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from lightning_modules.generators.attention_unet import AttentionUNet
from lightning_modules.generators.conv_lstm import BidirectionalConvLSTM


class AttentionBCDUNet(AttentionUNet):
    """Attention U-Net in whose gates a bidirectional ConvLSTM replaces the sum.

    The gate becomes alpha = sigmoid(psi(ReLU(BConvLSTM([W_g g, W_x x])))), the sequence in the
    order of Maga 2021, Section 2.2. The paper gives neither hidden channels nor kernel: each
    direction has F_int/2 channels and 3x3 kernels. Arguments, attributes and errors are those
    of :class:`~lightning_modules.generators.attention_unet.AttentionUNet`; the paper found the
    direction of resampling in the gate (``additive`` or ``grid``) immaterial.
    """

    @staticmethod
    def merge_builder() -> Callable[[int], nn.Module]:
        """Return what builds a gate's ConvLSTM from F_int."""
        return lambda channels: BidirectionalConvLSTM(channels, channels)

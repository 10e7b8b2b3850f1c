"""Attention U-Net (Oktay 2018), the generator of Gaál 2020."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.generators.blocks import ConvNormAct, DoubleConv, Upsampling
from lightning_modules.generators.u_shape import UNET_WIDTHS, UShapedNetwork

GateKind = Literal["additive", "grid"]


class Addition(nn.Module):
    """Merges the gate's two transformed inputs by their sum, as Oktay 2018 does."""

    def forward(self, signal: Tensor, skip: Tensor) -> Tensor:
        """Return the sum of two ``(N, C, H, W)``."""
        return signal + skip


class AttentionGate(nn.Module):
    """One attention coefficient per pixel for a skip (Oktay 2018, Equations 1 and 2).

    alpha = sigmoid(psi(ReLU(merge(W_g g, W_x x)))), and the skip becomes alpha x, with one alpha
    for all channels.
    The gating signal g already has the skip's size; W_g, W_x and psi are 1x1 convolutions with
    batch normalisation.

    Args:
        skip_channels: channels of the skip x.
        gating_channels: channels of the gating signal g.
        inner_channels: channels of W_g g and W_x x (F_int).
        merge: module ``merge(W_g g, W_x x)`` that keeps the shape; their sum when not given.
    """

    def __init__(
        self,
        skip_channels: int,
        gating_channels: int,
        inner_channels: int,
        merge: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.w_x = ConvNormAct(skip_channels, inner_channels, kernel=1, activation="none")
        self.w_g = ConvNormAct(gating_channels, inner_channels, kernel=1, activation="none")
        self.merge = Addition() if merge is None else merge
        self.psi = ConvNormAct(inner_channels, 1, kernel=1, activation="none")

    def coefficients(self, skip: Tensor, gating: Tensor) -> Tensor:
        """Return alpha in [0, 1], ``(N, 1, H, W)``."""
        merged = self.merge(self.w_g(gating), self.w_x(skip))
        return torch.sigmoid(self.psi(functional.relu(merged)))

    def forward(self, skip: Tensor, gating: Tensor) -> Tensor:
        """Return the gated skip ``(N, skip_channels, H, W)``."""
        return self.coefficients(skip, gating) * skip


class GridAttentionGate(nn.Module):
    """The gate whose gating signal comes from one level coarser (Oktay 2018, Figure 2).

    W_x is a 2x2 convolution of stride 2 without bias; W_g g is interpolated to its size, the
    coefficients back to the skip's; a 1x1 convolution with batch normalisation follows alpha x.

    Args:
        skip_channels: channels of the skip x.
        gating_channels: channels of the gating signal g.
        inner_channels: channels of W_g g and W_x x (F_int).
        merge: module ``merge(W_g g, W_x x)`` that keeps the shape; their sum when not given.
        prepare_gating: put a 1x1 :class:`ConvNormAct` before W_g, as the deepest gate has it.
    """

    def __init__(
        self,
        skip_channels: int,
        gating_channels: int,
        inner_channels: int,
        merge: nn.Module | None = None,
        prepare_gating: bool = False,
    ) -> None:
        super().__init__()
        self.prepare = (
            ConvNormAct(gating_channels, gating_channels, kernel=1)
            if prepare_gating
            else nn.Identity()
        )
        self.w_x = nn.Conv2d(skip_channels, inner_channels, 2, stride=2, bias=False)
        self.w_g = nn.Conv2d(gating_channels, inner_channels, 1)
        self.merge = Addition() if merge is None else merge
        self.psi = nn.Conv2d(inner_channels, 1, 1)
        self.output = ConvNormAct(skip_channels, skip_channels, kernel=1, activation="none")

    def coefficients(self, skip: Tensor, gating: Tensor) -> Tensor:
        """Return alpha in [0, 1], ``(N, 1, H, W)``; ``gating`` has half the skip's H and W."""
        theta = self.w_x(skip)
        signal = self.w_g(self.prepare(gating))
        signal = functional.interpolate(
            signal, theta.shape[-2:], mode="bilinear", align_corners=False
        )
        alpha = torch.sigmoid(self.psi(functional.relu(self.merge(signal, theta))))
        return functional.interpolate(alpha, skip.shape[-2:], mode="bilinear", align_corners=False)

    def forward(self, skip: Tensor, gating: Tensor) -> Tensor:
        """Return the gated skip ``(N, skip_channels, H, W)``."""
        gated: Tensor = self.output(self.coefficients(skip, gating) * skip)
        return gated


def additive_gates(
    widths: Sequence[int],
    gating_channels: Sequence[int],
    merge: Callable[[int], nn.Module] | None = None,
) -> list[AttentionGate]:
    """Build an :class:`AttentionGate` for every skip, coarsest first; F_int is half the skip's.

    Args:
        widths: feature maps of the skips, finest first.
        gating_channels: channels of each skip's gating signal, finest first.
        merge: builds the gate's merging module from F_int; their sum when not given.
    """
    levels = reversed(list(zip(widths, gating_channels, strict=True)))
    return [AttentionGate(x, g, x // 2, merge and merge(x // 2)) for x, g in levels]


class AttentionUNet(UShapedNetwork):
    """Attention U-Net: ``(N, in, H, W)`` to logits ``(N, classes, H, W)``.

    Gaál 2020 gives no widths, and two layouts of Oktay's network are in use. ``additive``, the
    default since it is the usual two-dimensional one, gates all skips by the decoder map that
    a 3x3 convolution behind nearest interpolation has raised to the skip's size (34.9 M
    parameters). ``grid`` follows Oktay's own network: bilinear up-sampling without a
    convolution, gates on all skips but the finest, each driven by the map one level coarser,
    with F_int as wide as the skip.

    Args:
        in_channels: channels of the image.
        classes: channels of the logits; 4 for JSRT (background, two lungs, heart).
        widths: feature maps per level, finest first.
        gate: ``additive`` or ``grid``.

    Attributes:
        multiple: H and W of the input must be multiples of this, 16 for five widths.

    Raises:
        ValueError: for an unknown gate.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        widths: Sequence[int] = UNET_WIDTHS,
        gate: GateKind = "additive",
    ) -> None:
        if gate not in ("additive", "grid"):
            raise ValueError(f"unknown gate {gate!r}: expected additive or grid")
        gates: Sequence[nn.Module]
        if gate == "additive":
            gates = additive_gates(widths[:-1], widths[:-1], self.merge_builder())
        else:
            gates = self.grid_gates(widths, self.merge_builder())
        super().__init__(
            in_channels,
            classes,
            widths,
            stage=DoubleConv,
            upsample=partial(Upsampling, kind="nearest_conv" if gate == "additive" else "bilinear"),
            gates=gates,
            gating="raised" if gate == "additive" else "coarse",
        )

    @staticmethod
    def merge_builder() -> Callable[[int], nn.Module] | None:
        """Return what builds the gates' merging module from F_int; None means their sum."""
        return None

    @staticmethod
    def grid_gates(
        widths: Sequence[int], merge: Callable[[int], nn.Module] | None
    ) -> list[GridAttentionGate]:
        """Build the gates of every skip but the finest, coarsest first."""
        levels = reversed(list(pairwise(widths[1:])))
        return [
            GridAttentionGate(x, g, x, merge and merge(x), prepare_gating=level == 0)
            for level, (x, g) in enumerate(levels)
        ]

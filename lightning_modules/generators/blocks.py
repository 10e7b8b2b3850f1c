"""Building blocks that the generators and critics share.

Pure ``torch.nn``: feature maps are ``(N, C, H, W)``, blocks state what they do to each axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Norm = Literal["batch", "keras_batch", "instance", "none"]
"""``keras_batch`` is batch normalisation with Keras's constants (eps 1e-3, decay 0.99)."""

Nonlinearity = Literal["relu", "leaky_relu", "none"]

UpsamplingKind = Literal["deconv", "nearest", "bilinear", "nearest_conv", "bilinear_conv"]

ConvBuilder = Callable[[int, int], nn.Module]
"""Builds one convolution of a stage from (channels in, channels out)."""

Initialisation = Literal["torch", "normal", "he_normal", "glorot_uniform"]


def require_multiple(x: Tensor, multiple: int, network: str) -> None:
    """Raise unless height and width can be halved as often as a network halves them.

    Args:
        x: input ``(N, C, H, W)``.
        multiple: what H and W must be whole, non-zero multiples of.
        network: name that the message gives.

    Raises:
        ValueError: naming the size found and the multiple needed.
    """
    height, width = x.shape[-2:]
    if height % multiple or width % multiple or not height or not width:
        raise ValueError(
            f"{network} halves its input until H and W are multiples of {multiple}: "
            f"found {height}x{width} (H x W); resize or pad the input"
        )


def _on_the_cpu(x: Tensor) -> bool:
    """Tell whether PyTorch computes ``x`` here and now, neither on a GPU nor into a file."""
    traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    return x.device.type == "cpu" and not (traced or torch.compiler.is_compiling())


class InstanceNorm2d(nn.InstanceNorm2d):
    """PyTorch's instance normalisation, in a third of its time on a CPU.

    There it is group normalisation with a group for each channel, of which PyTorch has a kernel of
    its own; the two agree to rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, C, H, W)``, each channel of each image of mean 0 and variance 1, scaled.

        Raises:
            ValueError: for maps of a single pixel, which have no variance.
        """
        if not _on_the_cpu(x) or self.track_running_stats or x.shape[-2:].numel() == 1:
            return super().forward(x)
        return functional.group_norm(x, self.num_features, self.weight, self.bias, self.eps)


class MaxPool2d(nn.MaxPool2d):
    """2x2 max-pooling of stride 2, in an eighth of PyTorch's time on a CPU that only infers.

    PyTorch looks for each maximum's place too, which training alone needs. Values are equal.
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, C, H // 2, W // 2)`` of ``(N, C, H, W)``."""
        needs_places = torch.is_grad_enabled() and x.requires_grad
        if needs_places or not _on_the_cpu(x):
            pooled: Tensor = super().forward(x)
            return pooled
        height, width = (size // 2 * 2 for size in x.shape[-2:])
        rows = torch.maximum(x[..., 0:height:2, :width], x[..., 1:height:2, :width])
        return torch.maximum(rows[..., ::2], rows[..., 1::2])


def make_norm(norm: Norm, channels: int) -> nn.Module:
    """Build a normalisation layer for ``(N, channels, H, W)``.

    Raises:
        ValueError: for an unknown name.
    """
    match norm:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "keras_batch":
            return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
        case "instance":
            return InstanceNorm2d(channels, affine=True)
        case "none":
            return nn.Identity()
    raise ValueError(f"unknown norm {norm!r}: expected batch, keras_batch, instance or none")


def make_activation(activation: Nonlinearity, negative_slope: float = 0.2) -> nn.Module:
    """Build an activation that works in place; only ``leaky_relu`` has a ``negative_slope``.

    Raises:
        ValueError: for an unknown name.
    """
    match activation:
        case "relu":
            return nn.ReLU(inplace=True)
        case "leaky_relu":
            return nn.LeakyReLU(negative_slope, inplace=True)
        case "none":
            return nn.Identity()
    raise ValueError(f"unknown activation {activation!r}: expected relu, leaky_relu or none")


def initialise(network: nn.Module, scheme: Initialisation, std: float = 0.02) -> None:
    """Draw every convolution's and linear layer's weights anew; biases become zero.

    Args:
        network: changed in place.
        scheme: ``torch`` leaves PyTorch's defaults; ``normal`` is N(0, std) with batch-norm
            weights N(1, std), as DCGAN and pix2pix have it; ``he_normal`` and
            ``glorot_uniform`` are those of Keras layers.
        std: standard deviation of ``normal``.

    Raises:
        ValueError: for an unknown scheme.
    """
    if scheme not in ("torch", "normal", "he_normal", "glorot_uniform"):
        raise ValueError(f"unknown initialisation {scheme!r}")
    if scheme == "torch":
        return
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if scheme == "normal":
                nn.init.normal_(layer.weight, 0.0, std)
            elif scheme == "he_normal":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d) and scheme == "normal":
            nn.init.normal_(layer.weight, 1.0, std)


class ConvNormAct(nn.Sequential):
    """Convolution, normalisation, activation: ``(N, in, H, W)`` to ``(N, out, H/s, W/s)``.

    Odd kernels are padded by half their size. The convolution has a bias only where no
    normalisation follows, which would cancel it.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel: side of the square kernel.
        stride: step of the convolution.
        padding: zeros on each side; half the kernel when not given.
        norm: see :func:`make_norm`.
        activation: see :func:`make_activation`.
        negative_slope: of ``leaky_relu``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        padding: int | None = None,
        norm: Norm = "batch",
        activation: Nonlinearity = "relu",
        negative_slope: float = 0.2,
    ) -> None:
        padding = kernel // 2 if padding is None else padding
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=norm == "none"),
            make_norm(norm, out_channels),
            make_activation(activation, negative_slope),
        )


class DoubleConv(nn.Sequential):
    """The U-Net's stage: two 3x3 convolutions, size kept.

    Args:
        in_channels: channels in.
        out_channels: channels out, and between the two.
        conv: builds a 3x3 convolution, norm and activation from (channels in, channels out).
    """

    def __init__(
        self, in_channels: int, out_channels: int, conv: ConvBuilder = ConvNormAct
    ) -> None:
        super().__init__(conv(in_channels, out_channels), conv(out_channels, out_channels))


class Upsampling(nn.Module):
    """Twice the size: ``(N, in, H, W)`` to ``(N, self.out_channels, 2H, 2W)``.

    ``deconv`` is a 2x2 transposed convolution of stride 2; ``nearest`` and ``bilinear``
    interpolate and keep the channels; the two ``_conv`` kinds add a 3x3 convolution behind
    the interpolation.

    Args:
        in_channels: channels in.
        out_channels: channels out, ignored by the two kinds that keep them.
        kind: one of the five.
        conv: builds the convolution of the ``_conv`` kinds.

    Raises:
        ValueError: for an unknown kind.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kind: UpsamplingKind = "deconv",
        conv: ConvBuilder = ConvNormAct,
    ) -> None:
        super().__init__()
        self.mode, _, convolution = kind.partition("_")
        if self.mode not in ("deconv", "nearest", "bilinear") or convolution not in ("", "conv"):
            raise ValueError(f"unknown up-sampling {kind!r}")
        self.out_channels = out_channels
        self.transform: nn.Module
        if self.mode == "deconv":
            self.transform = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        elif convolution:
            self.transform = conv(in_channels, out_channels)
        else:
            self.out_channels = in_channels
            self.transform = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, self.out_channels, 2H, 2W)``."""
        if self.mode == "nearest":
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        elif self.mode == "bilinear":
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        raised: Tensor = self.transform(x)
        return raised

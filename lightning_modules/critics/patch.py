"""Patch critics: pix2pix's (Isola 2017), the GAN U-Net's and an approximation of SLGAN's."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from lightning_modules.critics.inputs import join_mask
from lightning_modules.generators.blocks import ConvNormAct, Nonlinearity, Norm, initialise


@dataclass(frozen=True)
class PatchDesign:
    """Layers of one patch critic.

    Args:
        kernel: side of all kernels; 4 is padded by 1, 1 is not.
        strides: of the hidden layers, then of the output layer.
        norm_first: normalise the first layer too.
        activation: of the hidden layers.
    """

    kernel: int
    strides: tuple[int, ...]
    norm_first: bool
    activation: Nonlinearity

    @property
    def padding(self) -> int:
        """Zeros on each side of every convolution."""
        return 1 if self.kernel > 1 else 0

    @property
    def receptive_field(self) -> int:
        """Side of the square of input pixels that one logit sees."""
        field = 1
        for stride in reversed(self.strides):
            field = (field - 1) * stride + self.kernel
        return field

    def output_size(self, size: int) -> int:
        """Return the number of logits along an axis of ``size`` pixels."""
        for stride in self.strides:
            size = (size + 2 * self.padding - self.kernel) // stride + 1
        return size


DESIGNS = {
    "pixel": PatchDesign(1, (1, 1, 1), norm_first=False, activation="leaky_relu"),
    "patch22": PatchDesign(4, (2,) * 3, norm_first=False, activation="leaky_relu"),
    "patch46": PatchDesign(4, (2,) * 4, norm_first=False, activation="leaky_relu"),
    "patch94": PatchDesign(4, (2,) * 5, norm_first=True, activation="relu"),
    "pix2pix70": PatchDesign(4, (2, 2, 2, 1, 1), norm_first=False, activation="leaky_relu"),
}
"""Designs by name; the number is the receptive field in pixels.

``patch94`` is the GAN U-Net's ("four layers of the Relu convolution batch normalization model",
4x4, stride 2 throughout), ``pix2pix70`` and ``pixel`` are pix2pix's. SLGAN (Munawar 2020,
arXiv 2009.05752) compares four critics, D1 to D4. The layers that the paper gives them were not at
hand: ``pixel``, ``patch22``, ``patch46`` and ``patch94`` with ``activation="leaky_relu"`` stand
for the four, as an approximation of the family and not layer by layer.
"""


class PatchCritic(nn.Module):
    """A logit per patch of the joined image and mask, or their mean per image.

    ``patch94`` has 2.77 M parameters at one mask and one image. Weights are N(0, 0.02).

    Args:
        mask_channels: channels of the mask.
        image_channels: channels of the image.
        design: a key of :data:`DESIGNS`.
        base_width: feature maps of the first layer; they double up to eight times that.
        mask_only: judge the mask without the image.
        image_level: return the mean of the patches' logits.
        norm: ``batch``, ``instance`` or ``none`` (for a gradient penalty).
        activation: of the hidden layers; the design's own when not given.

    Attributes:
        receptive_field: side in pixels of the square that one logit sees.

    Raises:
        ValueError: for an unknown design.
    """

    def __init__(
        self,
        mask_channels: int,
        image_channels: int = 1,
        design: str = "patch94",
        base_width: int = 64,
        mask_only: bool = False,
        image_level: bool = False,
        norm: Norm = "batch",
        activation: Nonlinearity | None = None,
    ) -> None:
        super().__init__()
        if design not in DESIGNS:
            raise ValueError(f"unknown design {design!r}: expected one of {', '.join(DESIGNS)}")
        self.design = DESIGNS[design]
        self.receptive_field = self.design.receptive_field
        self.mask_only = mask_only
        self.image_level = image_level
        *strides, last_stride = self.design.strides
        layers: list[nn.Module] = []
        channels = mask_channels + (0 if mask_only else image_channels)
        for depth, stride in enumerate(strides):
            width = base_width * min(2**depth, 8)
            layers.append(
                ConvNormAct(
                    channels,
                    width,
                    self.design.kernel,
                    stride,
                    self.design.padding,
                    norm=norm if depth or self.design.norm_first else "none",
                    activation=activation or self.design.activation,
                )
            )
            channels = width
        layers.append(nn.Conv2d(channels, 1, self.design.kernel, last_stride, self.design.padding))
        self.layers = nn.Sequential(*layers)
        initialise(self, "normal")

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return logits ``(N, 1, h, w)``, or ``(N, 1)`` at image level; high for a reference.

        Args:
            image: ``(N, image_channels, H, W)``.
            mask: ``(N, mask_channels, H, W)``, in [0, 1] or [-1, 1].

        Raises:
            ValueError: where the two differ in size or are too small for one logit.
        """
        x = join_mask(image, mask, self.mask_only)
        height, width = x.shape[-2:]
        if min(self.design.output_size(height), self.design.output_size(width)) < 1:
            raise ValueError(
                f"PatchCritic sees {self.receptive_field} px patches and gets no logit from "
                f"{height}x{width} (H x W); enlarge the input or choose a smaller design"
            )
        logits: Tensor = self.layers(x)
        return logits.mean(dim=(2, 3)) if self.image_level else logits

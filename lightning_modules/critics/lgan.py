"""The five critics of LGAN (Tan 2021, Section 3; layers from Figure 3).

Every convolution is 3x3, padded by 1, with batch normalisation and LeakyReLU 0.2, and every
critic ends in a fully connected layer, LeakyReLU and one unbounded scalar. So each is built
for one size of input, 224x224 in the paper. Weights are Gaussian, with DCGAN's std of 0.02
since the paper gives none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from lightning_modules.critics.inputs import join_mask, require_same_grid
from lightning_modules.generators.blocks import ConvNormAct, Norm, initialise

Layers = tuple[tuple[int, int], ...]
"""Stride and width of each convolution, the width as a multiple of ``base_width``."""


class ConvChain(nn.Sequential):
    """A chain of 3x3 convolutions.

    Args:
        in_channels: channels in.
        layers: stride and relative width of each.
        base_width: feature maps of relative width 1.
        norm: see :func:`~lightning_modules.generators.blocks.make_norm`.

    Attributes:
        out_channels: channels of the last.
    """

    def __init__(self, in_channels: int, layers: Layers, base_width: int, norm: Norm) -> None:
        super().__init__()
        self.out_channels = in_channels
        for stride, relative in layers:
            width = base_width * relative
            self.append(
                ConvNormAct(
                    self.out_channels, width, stride=stride, norm=norm, activation="leaky_relu"
                )
            )
            self.out_channels = width


class LganCritic(nn.Module):
    """What the five critics share: a branch per input, a trunk behind their concatenation.

    Args:
        mask_channels: channels of the mask.
        image_channels: channels of the image.
        image_size: H and W of the inputs, or one number for both.
        base_width: feature maps of the narrowest convolutions.
        hidden: units of the fully connected layer.
        norm: ``batch`` as in the paper; ``instance`` or ``none`` where a gradient penalty asks
            for a critic that judges each image alone.
    """

    branch_layers: ClassVar[tuple[Layers, ...]] = (((2, 1), (2, 1), (2, 2), (2, 4)),)
    trunk_layers: ClassVar[Layers] = ()

    def __init__(
        self,
        mask_channels: int,
        image_channels: int = 1,
        image_size: int | tuple[int, int] = 224,
        base_width: int = 64,
        hidden: int = 1024,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        height, width = (image_size,) * 2 if isinstance(image_size, int) else image_size
        self.image_size = (height, width)
        channels = self.branch_channels(mask_channels, image_channels)
        branches = [
            ConvChain(inputs, layers, base_width, norm)
            for inputs, layers in zip(channels, self.branch_layers, strict=True)
        ]
        self.branches = nn.ModuleList(branches)
        joined = sum(branch.out_channels for branch in branches)
        self.trunk = ConvChain(joined, self.trunk_layers, base_width, norm)
        positions = self.shrunk(height) * self.shrunk(width)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(self.trunk.out_channels * positions, hidden),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(hidden, 1),
        )
        initialise(self, "normal")

    def branch_channels(self, mask_channels: int, image_channels: int) -> Sequence[int]:
        """Return the channels of each branch's input; here one branch that reads the mask."""
        return (mask_channels,)

    def shrunk(self, size: int) -> int:
        """Return the length of an axis of ``size`` pixels behind the trunk."""
        for stride, _ in (*self.branch_layers[0], *self.trunk_layers):
            size = -(-size // stride)
        return size

    def judge(self, *inputs: Tensor) -> Tensor:
        """Return ``(N, 1)`` of one input per branch.

        Raises:
            ValueError: where an input has not the size that the critic was built for.
        """
        for x in inputs:
            if tuple(x.shape[-2:]) != self.image_size:
                raise ValueError(
                    f"{type(self).__name__} was built for {self.image_size[0]}x"
                    f"{self.image_size[1]} (H x W): found {x.shape[-2]}x{x.shape[-1]}; resize "
                    "the input or set image_size"
                )
        maps = [branch(x) for branch, x in zip(self.branches, inputs, strict=True)]
        score: Tensor = self.head(self.trunk(torch.cat(maps, dim=1)))
        return score


class LganBasicCritic(LganCritic):
    """Judges the mask alone (Section 3.1); 51.8 M parameters."""

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return a raw score ``(N, 1)``.

        Args:
            image: ``(N, image_channels, H, W)``, not used.
            mask: ``(N, mask_channels, H, W)`` in [0, 1].

        Raises:
            ValueError: for sizes that differ, or that the critic was not built for.
        """
        return self.judge(join_mask(image, mask, mask_only=True))


class LganProductCritic(LganCritic):
    """Judges the image where the mask is, zero elsewhere (Section 3.2); 51.8 M parameters.

    Equation 8 prints D(x) for the real term; it is the reference mask's product too.

    Args:
        mask_channels: channels of the mask, each multiplied with the image.
        image_channels: must be 1.
        image_size: H and W of the inputs, or one number for both.
        base_width: feature maps of the narrowest convolutions.
        hidden: units of the fully connected layer.
        norm: ``batch``, ``instance`` or ``none``.

    Raises:
        ValueError: for an image of several channels.
    """

    def branch_channels(self, mask_channels: int, image_channels: int) -> Sequence[int]:
        """Return the channels of the product."""
        if image_channels != 1:
            raise ValueError(
                f"LganProductCritic multiplies a one-channel image, found {image_channels} channels"
            )
        return (mask_channels,)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return a raw score ``(N, 1)``.

        Args:
            image: ``(N, 1, H, W)``.
            mask: ``(N, mask_channels, H, W)`` in [0, 1].

        Raises:
            ValueError: for sizes that differ, or that the critic was not built for.
        """
        require_same_grid(image, mask)
        return self.judge(image * mask)


class LganEarlyFusionCritic(LganCritic):
    """Judges image and mask as channels of one input (Section 3.3); 51.8 M parameters."""

    def branch_channels(self, mask_channels: int, image_channels: int) -> Sequence[int]:
        """Return the channels of image and mask together."""
        return (image_channels + mask_channels,)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return a raw score ``(N, 1)``.

        Args:
            image: ``(N, image_channels, H, W)``.
            mask: ``(N, mask_channels, H, W)`` in [0, 1].

        Raises:
            ValueError: for sizes that differ, or that the critic was not built for.
        """
        return self.judge(join_mask(image, mask, mask_only=False))


class LganLateFusionCritic(LganCritic):
    """Joins image and mask behind a branch each (Section 3.4); 104.4 M parameters.

    The image passes the longer branch, "as the CT scan is more complicated".
    """

    branch_layers = (((1, 1), (2, 1)), ((2, 1),))
    trunk_layers = ((2, 2), (2, 4), (2, 8))

    def branch_channels(self, mask_channels: int, image_channels: int) -> Sequence[int]:
        """Return the channels of image and mask."""
        return (image_channels, mask_channels)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return a raw score ``(N, 1)``.

        Args:
            image: ``(N, image_channels, H, W)``.
            mask: ``(N, mask_channels, H, W)`` in [0, 1].

        Raises:
            ValueError: for sizes that differ, or that the critic was not built for.
        """
        require_same_grid(image, mask)
        return self.judge(image, mask)


class LganRegressionCritic(LganCritic):
    """Regresses the distance of a mask from its reference (Section 3.5); 28.0 M parameters.

    It sees no image. The paper does not say whether the two branches share weights; these have
    their own.
    """

    branch_layers = (((1, 1), (2, 1), (2, 2), (2, 2)),) * 2
    trunk_layers = ((2, 4), (2, 8))

    def branch_channels(self, mask_channels: int, image_channels: int) -> Sequence[int]:
        """Return the channels of mask and reference."""
        return (mask_channels, mask_channels)

    def forward(self, mask: Tensor, reference: Tensor) -> Tensor:
        """Return a raw distance ``(N, 1)``.

        Args:
            mask: ``(N, mask_channels, H, W)`` in [0, 1], the generator's.
            reference: ``(N, mask_channels, H, W)``, the reference mask.

        Raises:
            ValueError: for sizes that differ, or that the critic was not built for.
        """
        require_same_grid(mask, reference)
        return self.judge(mask, reference)

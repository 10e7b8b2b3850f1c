"""SCAN's critic (Dai 2018), which Gaál 2020 takes over unchanged."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from lightning_modules.critics.inputs import join_mask
from lightning_modules.generators.blocks import require_multiple
from lightning_modules.generators.scan import SCAN_WIDTHS, ScanTrunk


class ScanCritic(nn.Module):
    """Image-level critic that mirrors SCAN's generator without its transposed convolution.

    The trunk is followed by a 1x1 convolution to one channel and a mean over all positions.
    The image is fused early, since Gaál 2020 writes D(x, y). It has 253 k parameters at four
    masks and one image.

    Args:
        mask_channels: channels of the mask.
        image_channels: channels of the image.
        mask_only: judge the mask without the image.
        widths: feature maps of the pooled stages.

    Attributes:
        multiple: H and W of the input must be multiples of this, 16 for four widths.
    """

    def __init__(
        self,
        mask_channels: int,
        image_channels: int = 1,
        mask_only: bool = False,
        widths: Sequence[int] = SCAN_WIDTHS,
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        self.mask_only = mask_only
        self.trunk = ScanTrunk(mask_channels + (0 if mask_only else image_channels), widths)
        self.score = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return logits ``(N, 1)``, high for a reference mask.

        Args:
            image: ``(N, image_channels, H, W)``.
            mask: ``(N, mask_channels, H, W)``, one-hot or probabilities in [0, 1].

        Raises:
            ValueError: where the two differ in size or H or W is no multiple of
                ``self.multiple``.
        """
        x = join_mask(image, mask, self.mask_only)
        require_multiple(x, self.multiple, type(self).__name__)
        logits: Tensor = self.score(self.trunk(x)).mean(dim=(2, 3))
        return logits

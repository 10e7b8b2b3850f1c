"""How critics take their image and mask."""

from __future__ import annotations

import torch
from torch import Tensor


def join_mask(image: Tensor, mask: Tensor, mask_only: bool) -> Tensor:
    """Concatenate image ``(N, I, H, W)`` and mask ``(N, C, H, W)``, or return the mask alone.

    Raises:
        ValueError: where batch or size differ.
    """
    require_same_grid(image, mask)
    return mask if mask_only else torch.cat([image, mask], dim=1)


def require_same_grid(image: Tensor, mask: Tensor) -> None:
    """Raise unless two batches have the same N, H and W.

    Raises:
        ValueError: giving both shapes.
    """
    if image.shape[0] != mask.shape[0] or image.shape[2:] != mask.shape[2:]:
        raise ValueError(
            f"a critic's two inputs must agree in N, H and W: found {tuple(image.shape)} "
            f"and {tuple(mask.shape)}"
        )

"""Predictions for mirror images, mirrored back."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

OPPOSITE = {"left_lung": "right_lung", "right_lung": "left_lung"}


def mirrored_back(probabilities: Tensor, structures: Sequence[str]) -> Tensor:
    """Return what a mirror image's prediction says of the image.

    Left and right lung change places in a mirror, and so do their channels here.

    Args:
        probabilities: ``(N, C, H, W)``, predicted for mirror images.
        structures: the channels' names.
    """
    both = set(OPPOSITE) <= set(structures)
    names = [OPPOSITE.get(name, name) if both else name for name in structures]
    places = [list(structures).index(name) for name in names]
    return probabilities.flip(-1)[:, places]

"""Predictions for mirror images, mirrored back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def views(
    predict: Callable[[Tensor], Tensor], image: Tensor, structures: Sequence[str], mirror: bool
) -> tuple[Tensor, Tensor]:
    """Return the prediction, and what the mirror image gives, mirrored back.

    How far the second is from the first tells how sure the prediction is.

    Args:
        predict: images to probabilities ``(N, C, H, W)``, as a network sees them once.
        image: ``(N, 1, H, W)``.
        structures: the channels' names.
        mirror: whether the prediction is the mean of both.

    Returns:
        Probabilities ``(N, C, H, W)`` in [0, 1], twice.
    """
    mirrored = mirrored_back(predict(image.flip(-1)), structures)
    own = predict(image)
    return ((own + mirrored) / 2 if mirror else own), mirrored

"""Segmentation losses: how far a generator's mask is from the reference mask.

Each loss is a module called as ``loss(logits, probabilities, target)`` with three tensors
``(N, C, H, W)``: the generator's raw output, the same after its activation (softmax, sigmoid or
(tanh + 1) / 2) in [0, 1], and the reference, one-hot or soft (mixup) in [0, 1]. It returns a
scalar: every image gets a loss of its own, and the batch their mean, so that neither the batch
size nor the number of processes changes what an image weighs.

Losses are computed in float32 at least, whatever the precision of the generator.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from contract.errors import UserError

_SMALL = 1e-6


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return half precision as float32, and float32 or float64 as it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """Have a device's operations keep their precision; ``meta`` knows no other."""
    device = tensor.device.type
    if not torch.amp.is_autocast_available(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)


class SegmentationLoss(nn.Module, ABC):
    """What all losses share: the check of shapes, the precision and the mean over the batch."""

    def forward(self, logits: Tensor, probabilities: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of the images of a batch.

        Args:
            logits: raw output ``(N, C, H, W)``.
            probabilities: activated output ``(N, C, H, W)``, in [0, 1].
            target: reference ``(N, C, H, W)``, in [0, 1].

        Returns:
            A scalar.

        Raises:
            ValueError: if the three shapes differ or are not ``(N, C, H, W)``.
        """
        shapes = [tuple(tensor.shape) for tensor in (logits, probabilities, target)]
        if len(set(shapes)) > 1 or target.dim() != 4:
            raise ValueError(
                "expected logits, probabilities and target of one shape (N, C, H, W), "
                f"found {', '.join(map(str, shapes))}"
            )
        with without_autocast(logits):
            wide = map(at_least_float32, (logits, probabilities, target))
            return self.per_image(*wide).mean()

    @abstractmethod
    def per_image(self, logits: Tensor, probabilities: Tensor, target: Tensor) -> Tensor:
        """Return one loss an image, ``(N,)``, from tensors ``(N, C, H, W)`` of full precision."""


class FocalTversky(SegmentationLoss):
    r"""Focal Tversky loss, :math:`\sum_c (1 - TI_c)^{exponent}`.

    :math:`TI_c = (TP + s) / (TP + \alpha FN + \beta FP + s)`, with the soft counts
    :math:`TP = \sum p g`, :math:`FN = \sum (1 - p) g` and :math:`FP = \sum p (1 - g)` over the
    pixels of one image. Classes are summed, images averaged.

    Source: Abraham and Khan, "A novel focal Tversky loss function", ISBI 2019. The
    exponent is their :math:`1 / \gamma` = 0.75 and alpha weights false negatives, as in their
    published code. Gaal et al. 2020 and Maga 2021, whose "0.675" is the exponent and
    whose weights are 0.6 and 0.4, use the same loss.

    Args:
        alpha: weight of false negatives.
        beta: weight of false positives.
        exponent: power of ``1 - TI``; below 1 it lifts the gradient of nearly solved images.
        smooth: pixels added to both sides of the fraction, so that an absent class scores.
        include_background: whether channel 0 counts; switch off only where it is background.

    Raises:
        UserError: if a weight is negative, or the exponent or ``smooth`` is not positive.
    """

    def __init__(
        self,
        alpha: float = 0.7,
        beta: float = 0.3,
        exponent: float = 0.75,
        smooth: float = 1.0,
        include_background: bool = True,
    ) -> None:
        super().__init__()
        in_range = min(alpha, beta) >= 0 < min(exponent, smooth)
        found = f"alpha {alpha}, beta {beta}, exponent {exponent} and smooth {smooth}"
        _require(in_range, self, found)
        self.alpha, self.beta, self.exponent, self.smooth = alpha, beta, exponent, smooth
        self.include_background = include_background

    def per_image(self, logits: Tensor, probabilities: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each image, ``(N,)``; ``logits`` are not used."""
        p, g = _channels(self.include_background, probabilities, target)
        hits = _sum(p * g)
        errors = self.alpha * _sum((1 - p) * g) + self.beta * _sum(p * (1 - g))
        missing = errors / (hits + errors + self.smooth)  # 1 - TI without the cancellation
        # The power's slope is infinite at a perfect mask, so the last stretch is a straight line.
        return (missing * missing.clamp_min(_SMALL) ** (self.exponent - 1)).sum(dim=1)


class SoftDice(SegmentationLoss):
    r"""Soft Dice loss, :math:`1 - (2 \sum g p + s) / (\sum g + \sum p + s)`.

    Sums run over the pixels of one image and class; classes and images are averaged.

    Source: Drozdzal et al., "The importance of skip connections in biomedical image
    segmentation", 2016, with ``smooth``.

    Args:
        smooth: pixels added to both sides of the fraction, so that an absent class scores.
        include_background: whether channel 0 counts; switch off only where it is background.

    Raises:
        UserError: if ``smooth`` is not positive.
    """

    def __init__(self, smooth: float = 1.0, include_background: bool = True) -> None:
        super().__init__()
        _require(smooth > 0, self, f"smooth {smooth}")
        self.smooth, self.include_background = smooth, include_background

    def per_image(self, logits: Tensor, probabilities: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each image, ``(N,)``; ``logits`` are not used."""
        p, g = _channels(self.include_background, probabilities, target)
        difference, total = self._terms(p, g)
        return (_sum(difference) / (_sum(total) + self.smooth)).mean(dim=1)

    def _terms(self, p: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Return total - 2gp a pixel, written without cancellation, then the total."""
        return p * (1 - g) + g * (1 - p), p + g


class SquaredDice(SoftDice):
    r"""Dice loss with squares below, :math:`1 - (2 \sum g p + s) / (\sum g^2 + \sum p^2 + s)`.

    A perfect mask, soft or hard, gives 0. Classes and images are averaged.

    Source: Zhang et al., "DEFU-Net", 2020, whose loss is this less the constant 1; the squares are
    those of Milletari et al., "V-Net", 2016, section 3.

    Args:
        smooth: pixels added to both sides of the fraction; 1 in the paper.
        include_background: whether channel 0 counts; switch off only where it is background.

    Raises:
        UserError: if ``smooth`` is not positive.
    """

    def _terms(self, p: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        return (p - g).square(), p.square() + g.square()


class CrossEntropy(SegmentationLoss):
    """Cross-entropy, averaged over pixels.

    One channel: binary, from the logit of the foreground. More: over the softmax of the
    channels, which must be exclusive classes with background first. Soft targets are accepted.
    """

    def per_image(self, logits: Tensor, probabilities: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each image, ``(N,)``; ``probabilities`` are not used."""
        if logits.shape[1] == 1:
            pixels = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        else:
            pixels = functional.cross_entropy(logits, target, reduction="none")
        return pixels.flatten(1).mean(dim=1)


class L1(SegmentationLoss):
    """Mean absolute difference of the masks, times ``weight * scale``.

    Source: Isola et al., "Image-to-image translation with conditional adversarial networks",
    CVPR 2017, section 3.1.

    Args:
        weight: the paper's lambda, 100.
        scale: 2 where the paper's masks span [-1, 1], since they differ there by twice what
            probabilities do; 1 for masks in [0, 1].

    Raises:
        UserError: if a factor is negative.
    """

    def __init__(self, weight: float = 100.0, scale: float = 2.0) -> None:
        super().__init__()
        _require(min(weight, scale) >= 0, self, f"weight {weight} and scale {scale}")
        self.weight, self.scale = weight, scale

    def per_image(self, logits: Tensor, probabilities: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each image, ``(N,)``; ``logits`` are not used."""
        return self.weight * self.scale * (probabilities - target).abs().flatten(1).mean(dim=1)


class WeightedSum(SegmentationLoss):
    """Sum of several losses, each times its weight.

    Args:
        losses: the losses.
        weights: one factor for each loss.

    Raises:
        UserError: if there is no loss, or not one weight for each that is 0 or more.
    """

    def __init__(self, losses: Sequence[SegmentationLoss], weights: Sequence[float]) -> None:
        super().__init__()
        fits = 0 < len(losses) == len(weights) and min(weights) >= 0
        _require(fits, self, f"{len(losses)} losses with the weights {list(weights)}")
        self.losses, self.weights = nn.ModuleList(losses), tuple(weights)

    def per_image(self, logits: Tensor, probabilities: Tensor, target: Tensor) -> Tensor:
        """Return the weighted sum of each image, ``(N,)``."""
        total = logits.new_zeros(len(logits))
        losses = cast("Iterable[SegmentationLoss]", self.losses)
        for loss, weight in zip(losses, self.weights, strict=True):
            total = total + weight * loss.per_image(logits, probabilities, target)
        return total


class DiceCrossEntropy(WeightedSum):
    """Soft Dice plus cross-entropy, the recipe of most present-day baselines.

    Source: Isensee et al., "nnU-Net", Nature Methods 2021, Methods, loss function.

    Args:
        dice_weight: factor of :class:`SoftDice`.
        ce_weight: factor of :class:`CrossEntropy`.
        smooth: passed to :class:`SoftDice`.
        include_background: passed to :class:`SoftDice`.

    Raises:
        UserError: if a weight is negative or ``smooth`` is not positive.
    """

    def __init__(
        self,
        dice_weight: float = 1.0,
        ce_weight: float = 1.0,
        smooth: float = 1.0,
        include_background: bool = True,
    ) -> None:
        losses = SoftDice(smooth, include_background), CrossEntropy()
        super().__init__(losses, (dice_weight, ce_weight))


def _require(condition: bool, loss: SegmentationLoss, found: str) -> None:
    if not condition:
        raise UserError(
            type(loss).__name__, found, "values in the range of the docstring", "mend the system"
        )


def _sum(tensor: Tensor) -> Tensor:
    """Sum over the pixels: ``(N, C, H, W)`` to ``(N, C)``."""
    return tensor.sum(dim=(2, 3))


def _channels(include_background: bool, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Drop channel 0 of each tensor unless the background counts."""
    if include_background:
        return tensors
    if tensors[0].shape[1] == 1:
        raise ValueError("one channel holds no background to leave out")
    return tuple(tensor[:, 1:] for tensor in tensors)

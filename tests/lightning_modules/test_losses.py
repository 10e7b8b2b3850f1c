"""Segmentation losses: hand-computed values, gradients, precision and what must always hold."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from contract.errors import UserError
from lightning_modules.losses import (
    L1,
    CrossEntropy,
    DiceCrossEntropy,
    FocalTversky,
    SegmentationLoss,
    SoftDice,
    SquaredDice,
    WeightedSum,
)

torch.set_num_threads(1)

LOSSES: dict[str, Callable[[], SegmentationLoss]] = {
    "focal_tversky": FocalTversky,
    "tversky": lambda: FocalTversky(0.6, 0.4, exponent=1.0),
    "soft_dice": SoftDice,
    "squared_dice": SquaredDice,
    "cross_entropy": CrossEntropy,
    "dice_cross_entropy": DiceCrossEntropy,
    "l1": L1,
    "sum": lambda: WeightedSum([L1(1.0, 1.0), SquaredDice()], [0.3, 2.0]),
}
every_loss = pytest.mark.parametrize("name", LOSSES)
one_or_many_channels = pytest.mark.parametrize("channels", [1, 3])


def activated(logits: Tensor) -> Tensor:
    """Sigmoid of one channel, softmax of several."""
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)


def batch(channels: int, size: int = 4, soft: bool = False) -> tuple[Tensor, Tensor]:
    """Random logits and targets ``(size, channels, 5, 7)`` in float64."""
    generator = torch.Generator().manual_seed(channels)
    noise = torch.randn(2, size, channels, 5, 7, generator=generator, dtype=torch.float64)
    if soft:
        return noise[0], activated(noise[1])
    if channels == 1:
        return noise[0], (noise[1] > 0).double()
    return noise[0], functional.one_hot(noise[1].argmax(1), channels).movedim(-1, 1).double()


def loss_of_masks(loss: SegmentationLoss, prediction: Tensor, target: Tensor) -> float:
    """Value at given probabilities ``(H, W)`` of one channel, for losses that ignore logits."""
    probabilities, reference = prediction[None, None], target[None, None]
    return float(loss(torch.zeros_like(probabilities), probabilities, reference))


PREDICTION = torch.tensor([[0.8, 0.4], [0.3, 0.0]])
TARGET = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
# True positives 1.2, false negatives 0.8, false positives 0.3.


def test_focal_tversky_by_hand() -> None:
    index = (1.2 + 1) / (1.2 + 0.7 * 0.8 + 0.3 * 0.3 + 1)
    expected = (1 - index) ** 0.75
    assert loss_of_masks(FocalTversky(), PREDICTION, TARGET) == pytest.approx(expected)
    index = (1.2 + 2) / (1.2 + 0.6 * 0.8 + 0.4 * 0.3 + 2)
    loss = FocalTversky(0.6, 0.4, 0.675, smooth=2.0)
    assert loss_of_masks(loss, PREDICTION, TARGET) == pytest.approx((1 - index) ** 0.675)


def test_focal_tversky_sums_classes_and_may_skip_the_background() -> None:
    both = torch.stack((1 - PREDICTION, PREDICTION))[None]
    target = torch.stack((1 - TARGET, TARGET))[None]
    foreground = loss_of_masks(FocalTversky(), PREDICTION, TARGET)
    background = loss_of_masks(FocalTversky(), 1 - PREDICTION, 1 - TARGET)
    total = FocalTversky()(both, both, target)
    alone = FocalTversky(include_background=False)(both, both, target)
    assert float(total) == pytest.approx(foreground + background)
    assert float(alone) == pytest.approx(foreground)


def test_dice_by_hand() -> None:
    squares = 0.64 + 0.16 + 0.09
    soft = 1 - (2 * 1.2 + 1) / (2 + 1.5 + 1)
    squared = 1 - (2 * 1.2 + 1) / (2 + squares + 1)
    assert loss_of_masks(SoftDice(), PREDICTION, TARGET) == pytest.approx(soft)
    assert loss_of_masks(SquaredDice(), PREDICTION, TARGET) == pytest.approx(squared)


def test_l1_by_hand() -> None:
    mean = (0.2 + 0.6 + 0.3 + 0.0) / 4
    assert loss_of_masks(L1(100, 2), PREDICTION, TARGET) == pytest.approx(200 * mean)
    tanh = functional.l1_loss(2 * PREDICTION - 1, 2 * TARGET - 1)
    assert loss_of_masks(L1(100, 2), PREDICTION, TARGET) == pytest.approx(100 * float(tanh))


def test_cross_entropy_by_hand() -> None:
    binary = torch.tensor([[[[math.log(3.0), 0.0]]]])  # probabilities 3/4 and 1/2
    found = CrossEntropy()(binary, binary.sigmoid(), torch.tensor([[[[1.0, 0.0]]]]))
    assert float(found) == pytest.approx(-(math.log(3 / 4) + math.log(1 / 2)) / 2)
    logits = torch.tensor([2.0, 3.0, 5.0]).log().view(1, 3, 1, 1)
    target = torch.tensor([0.0, 0.25, 0.75]).view(1, 3, 1, 1)
    expected = -(0.25 * math.log(0.3) + 0.75 * math.log(0.5))
    assert float(CrossEntropy()(logits, logits.softmax(1), target)) == pytest.approx(expected)


@one_or_many_channels
def test_dice_cross_entropy_is_its_parts(channels: int) -> None:
    logits, target = batch(channels)
    arguments = logits, activated(logits), target
    parts = 0.3 * SoftDice()(*arguments) + 2.0 * CrossEntropy()(*arguments)
    torch.testing.assert_close(DiceCrossEntropy(0.3, 2.0)(*arguments), parts)


@every_loss
@one_or_many_channels
@pytest.mark.parametrize("soft", [False, True])
def test_gradients_are_right(name: str, channels: int, soft: bool) -> None:
    logits, target = (part[..., :3, :4] for part in batch(channels, size=2, soft=soft))
    loss = LOSSES[name]()
    raw = logits.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda raw: loss(raw, activated(raw), target), raw)


@every_loss
@one_or_many_channels
@pytest.mark.parametrize("soft", [False, True])
def test_batch_loss_is_the_mean_of_the_images(name: str, channels: int, soft: bool) -> None:
    logits, target = batch(channels, soft=soft)
    loss, probabilities = LOSSES[name](), activated(logits)
    images = [
        loss(logits[i : i + 1], probabilities[i : i + 1], target[i : i + 1]) for i in range(4)
    ]
    torch.testing.assert_close(loss(logits, probabilities, target), torch.stack(images).mean())
    assert loss(logits, probabilities, target).shape == ()


@every_loss
@one_or_many_channels
def test_a_better_mask_costs_less(name: str, channels: int) -> None:
    _, target = batch(channels)
    loss = LOSSES[name]()
    costs = []
    for certainty in (-6.0, -1.0, 0.0, 1.0, 6.0):
        logits = certainty * (2 * target - 1)
        costs.append(float(loss(logits, activated(logits), target)))
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) == 5


@pytest.mark.parametrize("name", ["focal_tversky", "tversky", "soft_dice", "squared_dice", "l1"])
@one_or_many_channels
@pytest.mark.parametrize("empty", [False, True])
def test_perfect_masks_cost_nothing(name: str, channels: int, empty: bool) -> None:
    _, target = batch(channels)
    target = torch.zeros_like(target) if empty else target
    perfect = target.float().requires_grad_()
    found = LOSSES[name]()(perfect, perfect, target.float())
    assert float(found) == pytest.approx(0, abs=1e-6)
    (gradient,) = torch.autograd.grad(found, perfect)
    assert gradient.isfinite().all()


def test_squared_dice_of_a_perfect_soft_mask_is_zero() -> None:
    assert loss_of_masks(SquaredDice(), PREDICTION, PREDICTION) == pytest.approx(0, abs=1e-6)
    assert loss_of_masks(SoftDice(), PREDICTION, PREDICTION) > 0.1


@pytest.mark.parametrize("alpha", [0.5, 0.6, 0.7, 0.9])
def test_alpha_weights_false_negatives(alpha: float) -> None:
    target = torch.zeros(10, 10)
    target[2:7, 2:7] = 1
    small, shifted = target.clone(), target.clone()
    small[2, 2:7] = 0  # the same five pixels are missed, or are too many
    shifted[8, 2:7] = 1
    loss = FocalTversky(alpha, 1 - alpha)
    missed, extra = loss_of_masks(loss, small, target), loss_of_masks(loss, target, small)
    if alpha == 0.5:
        assert missed == pytest.approx(extra)
    else:
        assert missed > extra
        assert missed > loss_of_masks(loss, shifted, target)


@every_loss
@one_or_many_channels
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(name: str, channels: int, dtype: torch.dtype) -> None:
    _, target = batch(channels)
    target = target.float().repeat(1, 1, 60, 60)
    logits = (3 * (2 * target - 1) + torch.linspace(-1, 1, 420)).to(dtype).requires_grad_()
    loss = LOSSES[name]()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        probabilities = activated(logits)
        found = loss(logits, probabilities, target.to(dtype))
    expected = loss(logits.double(), probabilities.double(), target.double())
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(expected), rel=1e-4)
    found.backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


@every_loss
@one_or_many_channels
def test_extreme_logits_stay_finite(name: str, channels: int) -> None:
    _, target = batch(channels)
    for sign in (-1, 1):
        logits = (sign * 1e4 * (2 * target - 1)).float().requires_grad_()
        found = LOSSES[name]()(logits, activated(logits), target.float())
        (gradient,) = torch.autograd.grad(found, logits)
        assert found.isfinite() and gradient.isfinite().all()


@every_loss
def test_shapes_that_would_broadcast_are_refused(name: str) -> None:
    logits, target = batch(3)
    loss = LOSSES[name]()
    with pytest.raises(ValueError, match="one shape"):
        loss(logits, activated(logits), target[:, :1])
    with pytest.raises(ValueError, match="one shape"):
        loss(logits[0], activated(logits)[0], target[0])


def test_one_channel_has_no_background() -> None:
    logits, target = batch(1)
    for loss in (FocalTversky(include_background=False), SoftDice(include_background=False)):
        with pytest.raises(ValueError, match="background"):
            loss(logits, activated(logits), target)


@pytest.mark.parametrize(
    "build",
    [
        lambda: FocalTversky(alpha=-0.1),
        lambda: FocalTversky(exponent=0.0),
        lambda: FocalTversky(smooth=0.0),
        lambda: SquaredDice(smooth=0.0),
        lambda: L1(weight=-1.0),
        lambda: DiceCrossEntropy(ce_weight=-1.0),
        lambda: WeightedSum([], []),
        lambda: WeightedSum([SoftDice()], [1.0, 2.0]),
    ],
)
def test_settings_out_of_range_are_refused(build: Callable[[], SegmentationLoss]) -> None:
    with pytest.raises(UserError):
        build()

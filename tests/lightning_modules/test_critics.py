"""Critics: parameter counts, shapes, size errors, inputs and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.critics.scan import ScanCritic

torch.set_num_threads(1)


def parameters(network: nn.Module) -> int:
    """Count a network's parameters."""
    return sum(p.numel() for p in network.parameters())


COUNTS: dict[str, tuple[Callable[[], nn.Module], float]] = {
    "scan, 4 masks + image": (lambda: ScanCritic(mask_channels=4), 0.253),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_count_is_the_published_one(name: str) -> None:
    build, millions = COUNTS[name]
    with torch.device("meta"):
        assert parameters(build()) == pytest.approx(millions * 1e6, rel=0.01)


@pytest.mark.parametrize("size", [(224, 224), (512, 512), (256, 128)])
@pytest.mark.parametrize("mask_only", [False, True])
def test_scan_critic_gives_one_logit_an_image(size: tuple[int, int], mask_only: bool) -> None:
    with torch.device("meta"):
        critic = ScanCritic(mask_channels=4, image_channels=2, mask_only=mask_only)
        assert critic(torch.empty(3, 2, *size), torch.empty(3, 4, *size)).shape == (3, 1)


def test_scan_critic_refuses_sizes_it_cannot_halve() -> None:
    critic = ScanCritic(mask_channels=1, widths=(2, 2, 2, 2))
    with pytest.raises(ValueError, match=r"ScanCritic .* multiples of 16: found 40x32"):
        critic(torch.zeros(2, 1, 40, 32), torch.zeros(2, 1, 40, 32))


TINY_CRITICS: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "scan": (lambda: ScanCritic(2, widths=(2, 3, 4, 5)), True),
    "scan_mask_only": (lambda: ScanCritic(2, mask_only=True, widths=(2, 3, 4, 5)), False),
}
"""Tiny critic of 2 mask channels, and whether it sees the image."""


@pytest.mark.parametrize("name", TINY_CRITICS)
def test_gradient_reaches_every_parameter_and_the_mask(name: str) -> None:
    torch.manual_seed(0)
    build, sees_image = TINY_CRITICS[name]
    critic = build()
    image = torch.randn(3, 1, 64, 64, requires_grad=True)
    mask = torch.rand(3, 2, 64, 64, requires_grad=True)
    logits: Tensor = critic(image, mask)
    torch.autograd.backward((logits - torch.randn_like(logits)).square().mean())
    without = [n for n, p in critic.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    assert mask.grad is not None and mask.grad.any()
    assert (image.grad is not None and bool(image.grad.any())) == sees_image


@pytest.mark.parametrize("name", TINY_CRITICS)
def test_inputs_of_different_size_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must agree in N, H and W"):
        TINY_CRITICS[name][0]()(torch.zeros(1, 1, 64, 64), torch.zeros(1, 2, 64, 32))

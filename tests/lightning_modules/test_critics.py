"""Critics: parameter counts, shapes, size errors, inputs and gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.critics.lgan import (
    LganBasicCritic,
    LganCritic,
    LganEarlyFusionCritic,
    LganLateFusionCritic,
    LganProductCritic,
    LganRegressionCritic,
)
from lightning_modules.critics.patch import DESIGNS, PatchCritic
from lightning_modules.critics.scan import ScanCritic

torch.set_num_threads(1)


def parameters(network: nn.Module) -> int:
    """Count a network's parameters."""
    return sum(p.numel() for p in network.parameters())


COUNTS: dict[str, tuple[Callable[[], nn.Module], float]] = {
    "scan, 4 masks and an image": (lambda: ScanCritic(mask_channels=4), 0.253),
    "patch94, a mask and an image": (lambda: PatchCritic(mask_channels=1), 2.77),
    "lgan basic": (lambda: LganBasicCritic(mask_channels=1), 51.8),
    "lgan product": (lambda: LganProductCritic(mask_channels=1), 51.8),
    "lgan early fusion": (lambda: LganEarlyFusionCritic(mask_channels=1), 51.8),
    "lgan late fusion": (lambda: LganLateFusionCritic(mask_channels=1), 104.4),
    "lgan regression": (lambda: LganRegressionCritic(mask_channels=1), 28.0),
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
    **{
        design: (partial(PatchCritic, 2, design=design, base_width=2), True) for design in DESIGNS
    },
    "patch_mask_only": (lambda: PatchCritic(2, mask_only=True, base_width=2), False),
    "patch_image_level": (lambda: PatchCritic(2, image_level=True, base_width=2), True),
    "lgan_basic": (lambda: LganBasicCritic(2, 1, (64, 64), 2, 3), False),
    "lgan_product": (lambda: LganProductCritic(2, 1, (64, 64), 2, 3), True),
    "lgan_early_fusion": (lambda: LganEarlyFusionCritic(2, 1, (64, 64), 2, 3), True),
    "lgan_late_fusion": (lambda: LganLateFusionCritic(2, 1, (64, 64), 2, 3), True),
    "lgan_without_norm": (
        lambda: LganEarlyFusionCritic(2, 1, (64, 64), 2, 3, norm="none"), True,
    ),
}  # fmt: skip
"""Tiny critic of two mask channels, and whether it sees the image."""


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


@pytest.mark.parametrize(
    ("design", "field", "logits_at_512"),
    [("pixel", 1, 512), ("patch22", 22, 64), ("patch46", 46, 32), ("patch94", 94, 16),
     ("pix2pix70", 70, 62)],
)  # fmt: skip
def test_one_patch_logit_sees_exactly_its_receptive_field(
    design: str, field: int, logits_at_512: int
) -> None:
    # All-positive weights and no activation: a pixel's gradient is zero only outside the field.
    critic = PatchCritic(1, design=design, base_width=2, norm="none", activation="none").double()
    for parameter in critic.parameters():
        nn.init.constant_(parameter, 0.1)
    mask = torch.zeros(1, 1, 512, 512, dtype=torch.float64, requires_grad=True)
    logits = critic(torch.zeros_like(mask), mask)
    assert logits.shape == (1, 1, logits_at_512, logits_at_512)
    middle = logits_at_512 // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], mask)
    rows, columns = torch.nonzero(gradient[0, 0], as_tuple=True)
    assert len(rows) == field * field
    assert int(rows.max() - rows.min()) + 1 == int(columns.max() - columns.min()) + 1 == field
    assert critic.receptive_field == field


def test_neighbouring_logits_of_patch94_are_32_pixels_apart() -> None:
    critic = PatchCritic(1, base_width=2, norm="none", activation="none").double()
    for parameter in critic.parameters():
        nn.init.constant_(parameter, 0.1)
    mask = torch.zeros(1, 1, 256, 256, dtype=torch.float64, requires_grad=True)
    logits = critic(torch.zeros_like(mask), mask)
    tops = []
    for row in (3, 4):
        (gradient,) = torch.autograd.grad(logits[0, 0, row, 4], mask, retain_graph=True)
        tops.append(int(torch.nonzero(gradient[0, 0])[0, 0]))
    assert tops[1] - tops[0] == 32


def test_layers_of_the_patch_designs() -> None:
    def layers(design: str, kind: type[nn.Module]) -> int:
        return sum(isinstance(m, kind) for m in PatchCritic(1, 1, design, 2).modules())

    counts = {d: (layers(d, nn.Conv2d), layers(d, nn.BatchNorm2d)) for d in DESIGNS}
    assert counts == {
        "pixel": (3, 1), "patch22": (3, 1), "patch46": (4, 2), "patch94": (5, 4),
        "pix2pix70": (5, 3),
    }  # fmt: skip
    assert layers("patch94", nn.ReLU) == 4 and layers("pix2pix70", nn.LeakyReLU) == 4


def test_image_level_logit_is_the_mean_of_the_patches() -> None:
    torch.manual_seed(1)
    patches = PatchCritic(1, base_width=2).eval()
    whole = PatchCritic(1, base_width=2, image_level=True).eval()
    whole.load_state_dict(patches.state_dict())
    image, mask = torch.randn(2, 3, 1, 96, 64).unbind()
    torch.testing.assert_close(whole(image, mask), patches(image, mask).mean(dim=(2, 3)))


def test_patch_critic_refuses_what_it_cannot_take() -> None:
    with pytest.raises(ValueError, match="unknown design 'patch71'"):
        PatchCritic(1, design="patch71")
    tiny = torch.zeros(1, 1, 64, 24)
    with pytest.raises(ValueError, match=r"no logit from 64x24"):
        PatchCritic(1, base_width=2)(tiny, tiny)
    assert PatchCritic(1, base_width=2, design="pix2pix70")(tiny, tiny).shape == (1, 1, 6, 1)


LGAN: list[type[LganCritic]] = [
    LganBasicCritic, LganProductCritic, LganEarlyFusionCritic, LganLateFusionCritic,
    LganRegressionCritic,
]  # fmt: skip


@pytest.mark.parametrize("kind", LGAN)
def test_lgan_critic_takes_the_size_that_it_was_built_for(kind: type[LganCritic]) -> None:
    with torch.device("meta"):
        x = torch.empty(2, 1, 224, 224)
        assert kind(1)(x, x).shape == (2, 1)
        odd = torch.empty(2, 1, 75, 50)
        assert kind(1, image_size=(75, 50), base_width=2, hidden=3)(odd, odd).shape == (2, 1)
        with pytest.raises(ValueError, match=rf"{kind.__name__} was built for 224x224 .* 75x50"):
            kind(1)(odd, odd)


@pytest.mark.parametrize(("kind", "fields"), [
    (LganBasicCritic, 50_176), (LganLateFusionCritic, 100_352), (LganRegressionCritic, 25_088),
])  # fmt: skip
def test_lgan_fully_connected_inputs_at_224(kind: type[LganCritic], fields: int) -> None:
    with torch.device("meta"):
        first = next(m for m in kind(1).modules() if isinstance(m, nn.Linear))
    assert (first.in_features, first.out_features) == (fields, 1024)


def test_lgan_basic_critic_ignores_the_image() -> None:
    critic = LganBasicCritic(1, image_size=32, base_width=2, hidden=3).eval()
    image, mask = torch.randn(2, 2, 1, 32, 32).unbind()
    assert torch.equal(critic(image, mask), critic(-image, mask))


def test_lgan_product_critic_sees_only_the_image_inside_the_mask() -> None:
    critic = LganProductCritic(1, image_size=32, base_width=2, hidden=3).eval()
    image, mask = torch.randn(2, 1, 32, 32), torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:24, 8:24] = 1
    outside = image + torch.randn_like(image) * (1 - mask)
    assert torch.equal(critic(image, mask), critic(outside, mask))
    assert not torch.equal(critic(image, mask), critic(image + mask, mask))
    with pytest.raises(ValueError, match="one-channel image, found 3"):
        LganProductCritic(1, image_channels=3)


def test_lgan_late_fusion_image_takes_the_longer_branch() -> None:
    image_branch, mask_branch = LganLateFusionCritic(1, 3, 32, 2, 3).branches
    lengths = [
        sum(isinstance(m, nn.Conv2d) for m in b.modules()) for b in (image_branch, mask_branch)
    ]
    assert lengths == [2, 1]


def test_lgan_regression_critic_trains_both_branches() -> None:
    torch.manual_seed(2)
    critic = LganRegressionCritic(2, image_size=64, base_width=2, hidden=3)
    mask, reference = torch.rand(2, 3, 2, 64, 64).unbind()
    score = critic(mask, reference)
    torch.autograd.backward((score - torch.randn_like(score)).square().mean())
    assert [n for n, p in critic.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert not torch.equal(critic.eval()(mask, reference), critic(reference, mask))

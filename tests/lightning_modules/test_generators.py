"""Generators: parameter counts, shapes, size errors, gradients and what sets each apart."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.prediction.memory_format import lay_out_kernels
from lightning_modules.generators.attention_bcdu_net import AttentionBCDUNet
from lightning_modules.generators.attention_unet import (
    AttentionGate,
    AttentionUNet,
    GridAttentionGate,
)
from lightning_modules.generators.bcdu_net import BCDUNet
from lightning_modules.generators.conv_lstm import BidirectionalConvLSTM
from lightning_modules.generators.defu_net import DEFUNet
from lightning_modules.generators.pix2pix import Pix2PixUNet
from lightning_modules.generators.r2u_net import AttR2UNet, R2UNet
from lightning_modules.generators.residual_unet import IncepResUNet, ResUNet
from lightning_modules.generators.scan import ScanFCN
from lightning_modules.generators.unet import UNet

torch.set_num_threads(1)


Builder = Callable[..., nn.Module]


class Network(NamedTuple):
    """One generator: its published size, and a tiny build of it for real passes."""

    full: Builder
    millions: float
    classes: int
    """The number of classes that the parameter count assumes."""
    tiny: Builder
    multiple: int


WIDTHS = (2, 4, 6, 8, 10)
FOURS = (4, 4, 8, 12, 12)
BARE = partial(UNet, norm="none")
LGAN = partial(UNet, norm="none", activation="leaky_relu", initialisation="normal")
R2U_KERAS = partial(R2UNet, share_weights=False, up_convolution=False)
ATT_R2U_KERAS = partial(AttR2UNet, share_weights=False, up_convolution=False)


def network(
    build: Builder, millions: float, classes: int, multiple: int, **tiny: object
) -> Network:
    """Describe one network by its builder and what shrinks it."""
    return Network(build, millions, classes, partial(build, **tiny), multiple)


NETWORKS = {
    "unet_batch_norm": network(UNet, 31.04, 1, 16, widths=WIDTHS),
    "unet_without_norm": network(BARE, 31.03, 1, 16, widths=WIDTHS),
    "unet_of_lgan": network(LGAN, 31.03, 1, 16, widths=WIDTHS),
    "attention_unet": network(AttentionUNet, 34.88, 4, 16, widths=WIDTHS),
    "scan_fcn": network(ScanFCN, 0.268, 4, 16, widths=(2, 3, 4, 5)),
    "pix2pix_9": network(Pix2PixUNet, 67.0, 1, 512, base_width=2),
    "pix2pix_8": network(partial(Pix2PixUNet, num_downs=8), 54.4, 1, 256, base_width=2),
    "defu_net": network(DEFUNet, 45.6, 1, 16, widths=FOURS),
    "defu_net_shared": network(partial(DEFUNet, share_weights=True), 20.4, 1, 16, widths=FOURS),
    "res_unet": network(ResUNet, 8.2, 1, 8, widths=FOURS[:4]),
    "bcdu_net_d3": network(BCDUNet, 20.7, 1, 8, widths=FOURS[:4]),
    "bcdu_net_d1": network(partial(BCDUNet, dense_pairs=1), 8.9, 1, 8, widths=FOURS[:4]),
    "r2u_net": network(R2UNet, 39.1, 1, 16, widths=WIDTHS),
    "att_r2u_net": network(AttR2UNet, 39.4, 1, 16, widths=WIDTHS),
    "r2u_net_keras": network(R2U_KERAS, 96.0, 1, 16, widths=WIDTHS),
    "att_r2u_net_keras": network(ATT_R2U_KERAS, 96.5, 1, 16, widths=WIDTHS),
}

FORMS: dict[str, Builder] = {
    "attention_unet_grid": partial(AttentionUNet, widths=WIDTHS, gate="grid"),
    "attention_bcdu_net": partial(AttentionBCDUNet, widths=FOURS),
    "attention_bcdu_net_grid": partial(AttentionBCDUNet, widths=FOURS, gate="grid"),
    "bcdu_net_bidirectional": partial(BCDUNet, widths=FOURS[:4], bidirectional=True),
    "incep_res_unet": partial(IncepResUNet, widths=FOURS[:4]),
    "r2u_net_bare": partial(R2UNet, widths=WIDTHS[:3], norm="none"),
    "pix2pix_4": partial(Pix2PixUNet, base_width=4, num_downs=4),
    "unet_small_modern": partial(UNet, widths=(4, 8), norm="instance", upsampling="bilinear"),
    "unet_nearest_conv": partial(UNet, widths=(4, 8), upsampling="nearest_conv"),
}
"""Further forms, of which no parameter count is published."""

TINY_BUILDS = {name: network.tiny for name, network in NETWORKS.items()} | FORMS
SMALL_INPUT = {n: b for n, b in TINY_BUILDS.items() if n not in ("pix2pix_9", "pix2pix_8")}
"""Those that take images of 64x64."""


def silent_parameters(generator: nn.Module) -> list[str]:
    """Name the parameters that no gradient has reached."""
    named = generator.named_parameters()
    return [name for name, p in named if p.grad is None or not p.grad.any()]


def parameters(network: nn.Module) -> int:
    """Count a network's parameters."""
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_parameter_count_is_the_published_one(name: str) -> None:
    with torch.device("meta"):
        network = NETWORKS[name].full(classes=NETWORKS[name].classes)
    assert parameters(network) == pytest.approx(NETWORKS[name].millions * 1e6, rel=0.01)


@pytest.mark.parametrize(
    ("size", "classes"),
    [((224, 224), 1), ((256, 256), 4), ((512, 320), 4)],
)
@pytest.mark.parametrize("name", SMALL_INPUT)
def test_logits_have_the_size_of_the_image(name: str, size: tuple[int, int], classes: int) -> None:
    with torch.device("meta"):
        logits = SMALL_INPUT[name](in_channels=3, classes=classes)(torch.empty(2, 3, *size))
    assert logits.shape == (2, classes, *size)


@pytest.mark.parametrize("name", NETWORKS)
def test_full_size_network_takes_512(name: str) -> None:
    with torch.device("meta"):
        logits = NETWORKS[name].full()(torch.empty(1, 1, 512, 512))
    assert logits.shape == (1, 2, 512, 512)


@pytest.mark.parametrize("name", NETWORKS)
def test_size_error_names_the_multiple_the_size_and_the_network(name: str) -> None:
    multiple = NETWORKS[name].multiple
    with torch.device("meta"):
        generator = NETWORKS[name].tiny()
        assert generator.multiple == multiple
        with pytest.raises(ValueError, match=rf"multiples of {multiple}: found 513x512") as error:
            generator(torch.empty(1, 1, 513, 512))
    assert type(generator).__name__ in str(error.value)


@pytest.mark.parametrize("name", SMALL_INPUT)
def test_output_does_not_depend_on_how_kernels_lie_in_memory(name: str) -> None:
    """``predict`` lets channels lie side by side, which a CPU convolves faster."""
    torch.manual_seed(0)
    generator = SMALL_INPUT[name](classes=3).eval()
    image = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        expected = generator(image)
        lay_out_kernels(generator, torch.device("cpu"))
        found = generator(image)
    kernels = [parameter for parameter in generator.parameters() if parameter.dim() == 4]
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in kernels)
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", SMALL_INPUT)
def test_gradient_reaches_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    generator = SMALL_INPUT[name](classes=3).train()
    logits = generator(torch.randn(2, 1, 64, 64))
    loss = functional.cross_entropy(logits, torch.randint(3, (2, 64, 64)))
    torch.autograd.backward(loss)
    assert torch.isfinite(logits).all()
    assert silent_parameters(generator) == []


def test_gradient_reaches_every_parameter_of_nine_levels() -> None:
    torch.manual_seed(0)
    generator = Pix2PixUNet(base_width=1).train()
    torch.autograd.backward(generator(torch.randn(2, 1, 512, 512)).square().mean())
    # 1x1 maps of a channel each: batch normalisation may silence the odd weight, never a level.
    assert [n for n, p in generator.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", ["pix2pix_4", "bcdu_net_d3", "attention_bcdu_net", "unet_of_lgan"])
def test_seed_repeats_weights_dropout_and_output(name: str) -> None:
    def once(seed: int) -> Tensor:
        torch.manual_seed(seed)
        logits: Tensor = SMALL_INPUT[name]().train()(torch.ones(2, 1, 64, 64))
        return logits

    assert torch.equal(once(7), once(7))
    assert not torch.equal(once(7), once(8))


def test_unet_of_lgan_has_leaky_units_and_no_norm() -> None:
    network = UNet(widths=(2, 4), norm="none", activation="leaky_relu")
    kinds = [type(m) for m in network.modules()]
    assert nn.LeakyReLU in kinds and nn.ReLU not in kinds and nn.BatchNorm2d not in kinds


def test_attention_unet_gates_all_skips_and_grid_all_but_the_finest() -> None:
    for gate, kind, count in [("additive", AttentionGate, 4), ("grid", GridAttentionGate, 3)]:
        network = AttentionUNet(widths=WIDTHS, gate=gate)  # type: ignore[arg-type]
        assert sum(isinstance(module, kind) for module in network.modules()) == count


def test_scan_has_the_published_number_of_weight_layers() -> None:
    with torch.device("meta"):
        network = ScanFCN(classes=4)
    convolutions = [
        n for n, m in network.named_modules()
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d) and not n.endswith("shortcut")
    ]  # fmt: skip
    assert len(convolutions) == 21


def test_attention_bcdu_net_has_a_bidirectional_convlstm_in_each_gate() -> None:
    gates = [m for m in AttentionBCDUNet(widths=FOURS).modules() if isinstance(m, AttentionGate)]
    assert len(gates) == 4
    assert all(isinstance(gate.merge, BidirectionalConvLSTM) for gate in gates)


def test_pix2pix_reaches_one_pixel_and_has_dropout_on_the_three_deepest_levels() -> None:
    with torch.device("meta"):
        generator = Pix2PixUNet(base_width=2)
        x = torch.empty(1, 1, 512, 512)
        for down in generator.downs:
            x = down(x)
    assert x.shape == (1, 16, 1, 1)
    rates = [m.p for m in generator.modules() if isinstance(m, nn.Dropout)]
    assert rates == [0.5] * 3 + [0.0] * 5
    with pytest.raises(ValueError, match="at least 2, found 1"):
        Pix2PixUNet(num_downs=1)


def test_pix2pix_weights_are_normal_with_std_two_hundredths() -> None:
    torch.manual_seed(0)
    generator = Pix2PixUNet(base_width=8, num_downs=4)
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    weights = [m.weight.flatten() for m in generator.modules() if isinstance(m, kinds)]
    assert torch.cat(weights).std().item() == pytest.approx(0.02, rel=0.05)


def test_bcdu_net_drops_the_coarsest_skip_but_not_the_pooled_path() -> None:
    torch.manual_seed(0)
    generator = BCDUNet(widths=FOURS[:4], dense_pairs=1, dropout=0.5).train()
    pooled: list[Tensor] = []
    generator.bottom.register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0]))
    skips: list[Tensor] = []
    generator.drop_skip.register_forward_hook(lambda *args: skips.append(args[2]))
    x = torch.randn(1, 1, 32, 32)
    generator(x)
    generator(x)
    assert torch.equal(pooled[0], pooled[1])
    assert not torch.equal(skips[0], skips[1])


def test_sharing_weights_leaves_one_convolution_a_recurrence() -> None:
    shared, own = R2UNet(widths=(4, 8)), R2UNet(widths=(4, 8), share_weights=False)

    def convolutions(generator: nn.Module) -> int:
        return sum(
            isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in generator.modules()
        )

    recurrences = 2 * 3  # two in each of the three stages
    assert convolutions(own) - convolutions(shared) == 2 * recurrences


def test_inception_paths_need_widths_in_fours() -> None:
    with pytest.raises(ValueError, match=r"multiples of 4: found \(4, 6, 8, 8, 8\)"):
        DEFUNet(widths=(4, 6, 8, 8, 8))
    with pytest.raises(ValueError, match="multiples of 4"):
        IncepResUNet(widths=(4, 6, 8, 8))

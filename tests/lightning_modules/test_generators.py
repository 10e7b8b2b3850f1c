"""Generators: parameter counts, shapes, size errors, gradients and the blocks' formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.generators.attention_unet import (
    AttentionGate,
    AttentionUNet,
    GridAttentionGate,
)
from lightning_modules.generators.blocks import (
    ConvNormAct,
    Upsampling,
    initialise,
    make_activation,
    make_norm,
    require_multiple,
)
from lightning_modules.generators.scan import ScanFCN
from lightning_modules.generators.unet import UNet

torch.set_num_threads(1)


@dataclass(frozen=True)
class Network:
    """One generator: its published size, and a tiny build of it for real passes."""

    full: Callable[[int], nn.Module]
    """Builds the full-size network from the number of classes."""
    millions: float
    classes: int
    """The number of classes that the parameter count assumes."""
    tiny: Callable[[int], nn.Module]
    multiple: int


TINY = (2, 4, 6, 8, 10)

NETWORKS = {
    "unet_batch_norm": Network(
        lambda c: UNet(classes=c), 31.04, 1, lambda c: UNet(classes=c, widths=TINY), 16
    ),
    "unet_without_norm": Network(
        lambda c: UNet(classes=c, norm="none"),
        31.03,
        1,
        lambda c: UNet(classes=c, norm="none", widths=TINY),
        16,
    ),
    "unet_of_lgan": Network(
        lambda c: UNet(classes=c, norm="none", activation="leaky_relu", initialisation="normal"),
        31.03,
        1,
        lambda c: UNet(classes=c, norm="none", activation="leaky_relu", widths=TINY),
        16,
    ),
    "attention_unet": Network(
        lambda c: AttentionUNet(classes=c),
        34.88,
        4,
        lambda c: AttentionUNet(classes=c, widths=TINY),
        16,
    ),
    "scan_fcn": Network(
        lambda c: ScanFCN(classes=c),
        0.268,
        4,
        lambda c: ScanFCN(classes=c, widths=(2, 3, 4, 5)),
        16,
    ),
}

FORMS = {
    "attention_unet_grid": lambda c: AttentionUNet(classes=c, widths=TINY, gate="grid"),
    "unet_small_modern": lambda c: UNet(
        classes=c, widths=(4, 8, 12), norm="instance", upsampling="bilinear"
    ),
    "unet_nearest_conv": lambda c: UNet(classes=c, widths=(4, 8, 12), upsampling="nearest_conv"),
}
"""Further forms, of which no parameter count is published."""

TINY_BUILDS: dict[str, Callable[[int], nn.Module]] = {
    **{name: network.tiny for name, network in NETWORKS.items()},
    **FORMS,
}


def parameters(network: nn.Module) -> int:
    """Count a network's parameters."""
    return sum(p.numel() for p in network.parameters())


def multiple_of(network: nn.Module) -> int:
    """Return the documented multiple of a generator's input size."""
    return cast(int, network.multiple)


@pytest.mark.parametrize("name", NETWORKS)
def test_parameter_count_is_the_published_one(name: str) -> None:
    with torch.device("meta"):
        network = NETWORKS[name].full(NETWORKS[name].classes)
    assert parameters(network) == pytest.approx(NETWORKS[name].millions * 1e6, rel=0.01)


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("size", [(224, 224), (256, 256), (512, 512), (512, 256), (64, 192)])
@pytest.mark.parametrize("name", TINY_BUILDS)
def test_logits_have_the_size_of_the_image(name: str, size: tuple[int, int], classes: int) -> None:
    with torch.device("meta"):
        network = TINY_BUILDS[name](classes)
        if size[0] % multiple_of(network) or size[1] % multiple_of(network):
            pytest.skip(f"{size} is no multiple of {multiple_of(network)}")
        logits = network(torch.empty(2, 1, *size))
    assert logits.shape == (2, classes, *size)


@pytest.mark.parametrize("name", NETWORKS)
def test_full_size_network_takes_512(name: str) -> None:
    with torch.device("meta"):
        logits = NETWORKS[name].full(2)(torch.empty(1, 1, 512, 512))
    assert logits.shape == (1, 2, 512, 512)


@pytest.mark.parametrize("name", NETWORKS)
def test_size_error_names_the_multiple_the_size_and_the_network(name: str) -> None:
    multiple = NETWORKS[name].multiple
    with torch.device("meta"):
        network = NETWORKS[name].tiny(2)
        assert network.multiple == multiple
        with pytest.raises(ValueError, match=rf"multiples of {multiple}: found 513x512") as error:
            network(torch.empty(1, 1, 513, 512))
    assert type(network).__name__ in str(error.value)


@pytest.mark.parametrize("name", TINY_BUILDS)
def test_gradient_reaches_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    network = TINY_BUILDS[name](3).train()
    size = max(32, 2 * multiple_of(network))
    logits = network(torch.randn(2, 1, size, size))
    loss = functional.cross_entropy(logits, torch.randint(3, (2, size, size)))
    torch.autograd.backward(loss)
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", TINY_BUILDS)
def test_seed_repeats_weights_and_output(name: str) -> None:
    def once() -> Tensor:
        torch.manual_seed(7)
        network = TINY_BUILDS[name](2).train()
        size = max(32, 2 * multiple_of(network))
        logits: Tensor = network(torch.randn(2, 1, size, size))
        return logits

    assert torch.equal(once(), once())


def test_require_multiple() -> None:
    require_multiple(torch.empty(1, 1, 32, 48), 16, "Net")
    with pytest.raises(ValueError, match=r"Net .* multiples of 16: found 32x40"):
        require_multiple(torch.empty(1, 1, 32, 40), 16, "Net")
    with pytest.raises(ValueError, match="found 0x16"):
        require_multiple(torch.empty(1, 1, 0, 16), 16, "Net")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown norm 'layer'"):
        make_norm("layer", 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown activation 'gelu'"):
        make_activation("gelu")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown up-sampling 'cubic'"):
        Upsampling(2, 2, "cubic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown initialisation 'xavier'"):
        initialise(nn.Conv2d(1, 1, 1), "xavier")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown gate 'soft'"):
        AttentionUNet(gate="soft")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least two levels"):
        UNet(widths=(8,))


def test_convolution_has_a_bias_only_without_norm() -> None:
    with_norm, without = ConvNormAct(1, 2), ConvNormAct(1, 2, norm="none")
    assert with_norm[0].bias is None and without[0].bias is not None


@pytest.mark.parametrize("kind", ["deconv", "nearest", "bilinear", "nearest_conv", "bilinear_conv"])
def test_upsampling_doubles_the_size(kind: str) -> None:
    up = Upsampling(4, 2, kind)  # type: ignore[arg-type]
    assert up(torch.randn(1, 4, 3, 5)).shape == (1, up.out_channels, 6, 10)
    assert up.out_channels == (4 if kind in ("nearest", "bilinear") else 2)


def test_normal_initialisation_has_the_std_asked_for() -> None:
    torch.manual_seed(0)
    network = UNet(widths=(16, 32), initialisation="normal")
    weights = torch.cat([m.weight.flatten() for m in network.modules() if isinstance(m, nn.Conv2d)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.05)
    assert network.head.bias is not None and not network.head.bias.any()


def test_unet_of_lgan_has_leaky_units_and_no_norm() -> None:
    network = UNet(widths=(2, 4), norm="none", activation="leaky_relu")
    kinds = [type(m) for m in network.modules()]
    assert nn.LeakyReLU in kinds and nn.ReLU not in kinds and nn.BatchNorm2d not in kinds


def normalised(x: Tensor) -> Tensor:
    """Batch-normalise as a fresh layer in training does."""
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), False, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5)


def test_attention_gate_formula() -> None:
    torch.manual_seed(1)
    gate = AttentionGate(skip_channels=3, gating_channels=5, inner_channels=2).double()
    x, g = torch.randn(2, 3, 4, 4).double(), torch.randn(2, 5, 4, 4).double()

    def project(block: nn.Sequential, z: Tensor) -> Tensor:
        weight = cast(Tensor, block[0].weight)[:, :, 0, 0]
        return normalised(torch.einsum("oc,nchw->nohw", weight, z))

    alpha = torch.sigmoid(
        project(gate.psi, (project(gate.w_x, x) + project(gate.w_g, g)).clamp(min=0))
    )
    assert alpha.shape == (2, 1, 4, 4)
    torch.testing.assert_close(gate.coefficients(x, g), alpha)
    torch.testing.assert_close(gate(x, g), alpha * x)


def test_grid_gate_formula_on_constant_maps() -> None:
    gate = GridAttentionGate(skip_channels=1, gating_channels=1, inner_channels=1)
    assert gate.w_g.bias is not None and gate.psi.bias is not None and gate.w_x.bias is None
    for tensor, value in [
        (gate.w_x.weight, 0.25), (gate.w_g.weight, 2.0), (gate.w_g.bias, 0.5),
        (gate.psi.weight, -1.0), (gate.psi.bias, 0.25),
    ]:  # fmt: skip
        nn.init.constant_(tensor, value)
    # W_x x = 4 * 0.25 * 3 = 3; W_g g = 2 * -1 + 0.5 = -1.5; psi = -1 * 1.5 + 0.25 = -1.25
    alpha = gate.coefficients(torch.full((1, 1, 4, 4), 3.0), torch.full((1, 1, 2, 2), -1.0))
    torch.testing.assert_close(alpha, torch.sigmoid(torch.tensor(-1.25)).expand(1, 1, 4, 4))


def test_attention_unet_gates_all_skips_and_grid_all_but_the_finest() -> None:
    assert len(AttentionUNet(widths=TINY).gates) == 4
    assert len(AttentionUNet(widths=TINY, gate="grid").gates) == 3


def test_scan_has_the_published_number_of_weight_layers() -> None:
    with torch.device("meta"):
        network = ScanFCN(classes=4)
    convolutions = [
        n for n, m in network.named_modules()
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d) and not n.endswith("shortcut")
    ]  # fmt: skip
    assert len(convolutions) == 21

"""Generators' blocks, each against its formula computed independently."""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.generators.attention_unet import (
    AttentionGate,
    AttentionUNet,
    GridAttentionGate,
)
from lightning_modules.generators.bcdu_net import RaisedThenSkip
from lightning_modules.generators.blocks import (
    ConvNormAct,
    Upsampling,
    initialise,
    make_activation,
    make_norm,
    require_multiple,
)
from lightning_modules.generators.conv_lstm import BidirectionalConvLSTM, ConvLSTM, hard_sigmoid
from lightning_modules.generators.defu_net import DEFUNet, DenselyConnectedRecurrentBlock
from lightning_modules.generators.inception import DilatedInception, HalvingConv
from lightning_modules.generators.recurrent import RecurrentConv
from lightning_modules.generators.scan import ResidualBlock
from lightning_modules.generators.unet import UNet

torch.set_num_threads(1)


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
    with pytest.raises(ValueError, match="0 or more channels, found -1"):
        UNet(stem=-1)


def test_a_stem_halves_the_side_that_the_levels_work_on() -> None:
    network = UNet(widths=(2, 4), stem=3).eval()
    assert network.multiple == 4
    made: list[Tensor] = []
    network.head.register_forward_hook(lambda _, given, logits: made.append(logits))
    logits = network(torch.randn(1, 1, 8, 12))
    assert made[0].shape == (1, 2, 4, 6)
    enlarged = [cv2.resize(one.numpy(), (12, 8)) for one in made[0][0].detach()]
    torch.testing.assert_close(logits[0].detach().numpy(), np.stack(enlarged))
    with pytest.raises(ValueError, match="multiple"):
        network(torch.randn(1, 1, 8, 6))


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


def normalised(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Batch-normalise as a fresh layer in training does."""
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), False, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps)


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


def test_convlstm_by_hand_on_single_pixels() -> None:
    lstm = ConvLSTM(1, 1, kernel=1)
    assert lstm.from_input.bias is not None
    with torch.no_grad():  # rows: input gate, forget gate, candidate, output gate
        lstm.from_input.weight.copy_(torch.tensor([0.5, -1.0, 2.0, 1.0]).view(4, 1, 1, 1))
        lstm.from_hidden.weight.copy_(torch.tensor([1.0, 0.5, -0.5, 0.25]).view(4, 1, 1, 1))
        lstm.from_input.bias.copy_(torch.tensor([0.0, 1.0, 0.0, 0.1]))

    def sigmoid(z: float) -> float:
        return 1 / (1 + math.exp(-z))

    c1 = sigmoid(0.5 * 0.3) * math.tanh(2 * 0.3)
    h1 = sigmoid(0.3 + 0.1) * math.tanh(c1)
    forget = sigmoid(-1 * -0.7 + 0.5 * h1 + 1)
    candidate = math.tanh(2 * -0.7 - 0.5 * h1)
    c2 = forget * c1 + sigmoid(0.5 * -0.7 + h1) * candidate
    h2 = sigmoid(-0.7 + 0.25 * h1 + 0.1) * math.tanh(c2)
    first, second = torch.full((1, 1, 1, 1), 0.3), torch.full((1, 1, 1, 1), -0.7)
    assert lstm([first]).item() == pytest.approx(h1, abs=1e-6)
    assert lstm([first, second]).item() == pytest.approx(h2, abs=1e-6)


def test_convlstm_starts_with_an_open_forget_gate_and_orthogonal_recurrence() -> None:
    lstm = ConvLSTM(3, 2, kernel=1)
    assert lstm.from_input.bias is not None
    assert lstm.from_input.bias.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    recurrent = lstm.from_hidden.weight[:, :, 0, 0]
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(2))
    with pytest.raises(ValueError, match="empty sequence"):
        lstm([])


def test_hard_sigmoid_is_keras() -> None:
    x = torch.tensor([-3.0, -2.5, 0.0, 1.0, 2.5, 3.0])
    torch.testing.assert_close(hard_sigmoid(x), torch.tensor([0.0, 0.0, 0.5, 0.7, 1.0, 1.0]))
    soft, hard = ConvLSTM(1, 1), ConvLSTM(1, 1, hard_gates=True)
    hard.load_state_dict(soft.state_dict())
    x = torch.randn(1, 1, 4, 4)
    assert not torch.allclose(soft([x]), hard([x]))


def test_bidirectional_convlstm_combines_the_last_states_of_both_orders() -> None:
    torch.manual_seed(3)
    block = BidirectionalConvLSTM(2, 4)
    g, x = torch.randn(2, 1, 2, 5, 5).unbind()
    w_f, w_b = torch.chunk(block.combine.weight, 2, dim=1)
    y = functional.conv2d(block.forwards([g, x]), w_f, padding=1)
    y = y + functional.conv2d(block.backwards([x, g]), w_b, block.combine.bias, padding=1)
    torch.testing.assert_close(block(g, x), torch.tanh(y))
    assert not torch.allclose(block(g, x), block(x, g))


def test_recurrent_convolution_applies_its_function_three_times() -> None:
    torch.manual_seed(4)
    x = torch.randn(1, 2, 6, 6)
    for share_weights in (True, False):
        block = RecurrentConv(2, share_weights).eval()
        a, b, c = block.functions
        torch.testing.assert_close(block(x), c(b(a(x) + x) + x))
        assert len({id(f[0]) for f in block.functions}) == (1 if share_weights else 3)
        assert len({id(f[1]) for f in block.functions}) == 3


def test_recurrent_convolution_in_testing_is_the_one_that_was_trained() -> None:
    torch.manual_seed(5)
    block = RecurrentConv(4)
    x = torch.randn(8, 4, 16, 16)
    for _ in range(200):
        trained = block(x)
    tested = block.eval()(x)
    assert (tested - trained).abs().mean() < 0.02 * trained.abs().mean()


@pytest.mark.parametrize("channels", [2, 3])
def test_dcrc_block_against_its_layer_list(channels: int) -> None:
    torch.manual_seed(5)
    block = DenselyConnectedRecurrentBlock(channels, 3).double()
    weights = list(block.named_parameters())

    def conv(z: Tensor, name: str) -> Tensor:
        weight, bias = (dict(weights).get(f"{name}.{kind}") for kind in ("weight", "bias"))
        assert weight is not None
        return functional.conv2d(z, weight, bias, padding=weight.shape[-1] // 2)

    def leaky(z: Tensor) -> Tensor:
        return torch.where(z > 0, z, 0.3 * z)

    def cbl(z: Tensor, name: str) -> Tensor:
        return leaky(normalised(conv(z, f"{name}.0"), eps=1e-3))

    x = torch.randn(2, channels, 8, 8).double()
    s = x if channels == 3 else conv(x, "skip")
    u, kept = s, []
    for unit in range(2):
        a = cbl(u, f"recurrences.{unit}.functions.0")
        a = cbl(a + u, f"recurrences.{unit}.functions.1")
        a = cbl(a + u, f"recurrences.{unit}.functions.2")
        u = leaky(conv(torch.cat([a, s], 1), f"reductions.{unit}.0"))
        kept.append(u)
    expected = leaky(conv(torch.cat([kept[1], kept[0], s], 1), "output.0"))
    torch.testing.assert_close(block(x), expected)


def test_halving_convolution_pads_bottom_and_right() -> None:
    conv = HalvingConv(1, 1)
    nn.init.ones_(cast(Tensor, conv[1].weight))
    nn.init.zeros_(cast(Tensor, conv[1].bias))
    sums = conv(torch.arange(16.0).view(1, 1, 4, 4))[0, 0]
    # rows 0-2 and 2-3 (the rest padding), columns alike
    assert sums.tolist() == [[45.0, 39.0], [66.0, 50.0]]


def test_inception_averages_without_the_padding_and_dilates_as_published() -> None:
    torch.manual_seed(6)
    block = DilatedInception(2, 3)
    x = torch.randn(1, 2, 8, 6)
    assert block(x).shape == (1, 12, 4, 3)
    average, wide, _ = cast(nn.Sequential, block.branches[2])
    means = average(x)
    torch.testing.assert_close(means[0, 0, 0, 0], x[0, 0, 0:3, 0:3].mean())
    torch.testing.assert_close(means[0, 1, 3, 2], x[0, 1, 6:8, 4:6].mean())
    tall = cast(nn.Sequential, block.branches[3])[2]
    assert wide.dilation == (1, 2) and tall.dilation == (3, 1)


def test_defu_net_recurrent_path_never_sees_the_inception_path() -> None:
    torch.manual_seed(7)
    network = DEFUNet(widths=(4, 4, 8, 8, 8)).eval()
    seen: list[Tensor] = []
    network.recurrent_path[3].register_forward_hook(lambda *args: seen.append(args[2]))
    bottoms: list[Tensor] = []
    network.bottom.register_forward_hook(lambda *args: bottoms.append(args[2]))
    x = torch.randn(1, 1, 32, 32)
    network(x)
    for parameter in network.inception_path.parameters():
        nn.init.normal_(parameter)
    network(x)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(bottoms[0], bottoms[1])


def test_residual_block_is_identity_plus_two_convolutions() -> None:
    torch.manual_seed(8)
    block = ResidualBlock(2, 2)
    x = torch.randn(2, 2, 5, 5)
    first, second = (block.residual[i][0].weight for i in range(2))  # type: ignore[index]
    y = functional.conv2d(x, cast(Tensor, first), padding=1)
    y = functional.conv2d(normalised(y).clamp(min=0), cast(Tensor, second), padding=1)
    torch.testing.assert_close(block(x), (normalised(y) + x).clamp(min=0))


@pytest.mark.parametrize("kind", [AttentionGate, GridAttentionGate])
def test_gate_merges_the_gating_signal_before_the_skip(
    kind: type[AttentionGate | GridAttentionGate],
) -> None:
    torch.manual_seed(9)
    merge = BidirectionalConvLSTM(4, 4)
    gate = kind(2, 3, 4, merge).eval()
    read: list[tuple[Tensor, ...]] = []
    merge.register_forward_pre_hook(lambda _, inputs: read.append(inputs))
    half = 4 if kind is GridAttentionGate else 8
    x, g = torch.randn(1, 2, 8, 8), torch.randn(1, 3, half, half)
    gate(x, g)
    torch.testing.assert_close(read[0][0], gate.w_g(g))
    assert torch.equal(read[0][1], gate.w_x(x))


def test_bcdu_net_reads_the_raised_map_before_the_skip() -> None:
    torch.manual_seed(10)
    merge = RaisedThenSkip(4)
    skip, raised = torch.randn(2, 1, 4, 6, 6).unbind()
    state = merge.lstm.step(skip, merge.lstm.step(raised, None))
    assert torch.equal(merge(skip, raised), state[0])

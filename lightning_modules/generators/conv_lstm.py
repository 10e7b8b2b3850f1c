"""Convolutional LSTM over a short sequence of feature maps (Shi 2015, without peepholes)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

State = tuple[Tensor, Tensor]
"""Hidden state and cell state, each ``(N, hidden_channels, H, W)``."""


def hard_sigmoid(x: Tensor) -> Tensor:
    """Return Keras's piecewise linear sigmoid, clip(0.2 x + 0.5, 0, 1)."""
    return torch.clamp(0.2 * x + 0.5, 0.0, 1.0)


class ConvLSTM(nn.Module):
    """Reads a sequence of maps and returns the last hidden state; zero initial states.

    Per step, with convolutions that keep the size: i, f, o = gate(W x + U h + b), candidate =
    tanh(W x + U h + b), c' = f c + i candidate, h' = o tanh(c').

    Args:
        in_channels: channels of each map.
        hidden_channels: channels of the states.
        kernel: side of the square kernels.
        hard_gates: Keras's hard sigmoid for the gates instead of the logistic function.
    """

    def __init__(
        self, in_channels: int, hidden_channels: int, kernel: int = 3, hard_gates: bool = False
    ) -> None:
        super().__init__()
        self.hidden_channels = hidden_channels
        self.gate = hard_sigmoid if hard_gates else torch.sigmoid
        padding = kernel // 2
        self.from_input = nn.Conv2d(in_channels, 4 * hidden_channels, kernel, padding=padding)
        self.from_hidden = nn.Conv2d(
            hidden_channels, 4 * hidden_channels, kernel, padding=padding, bias=False
        )
        self.reset_recurrence()

    def reset_recurrence(self) -> None:
        """Make the recurrent weights orthogonal, the forget gate's bias 1 and the others 0."""
        nn.init.orthogonal_(self.from_hidden.weight)
        if self.from_input.bias is not None:
            nn.init.zeros_(self.from_input.bias)
            forget = slice(self.hidden_channels, 2 * self.hidden_channels)
            nn.init.ones_(self.from_input.bias[forget])

    def step(self, x: Tensor, state: State | None) -> State:
        """Advance the state by one map ``(N, in_channels, H, W)``; None is the zero state."""
        sums = self.from_input(x)
        if state is not None:
            sums = sums + self.from_hidden(state[0])
        enter, forget, candidate, leave = sums.chunk(4, dim=1)
        cell = self.gate(enter) * torch.tanh(candidate)
        if state is not None:
            cell = cell + self.gate(forget) * state[1]
        return self.gate(leave) * torch.tanh(cell), cell

    def forward(self, sequence: Sequence[Tensor]) -> Tensor:
        """Return the last hidden state ``(N, hidden_channels, H, W)``.

        Raises:
            ValueError: for an empty sequence.
        """
        state: State | None = None
        for x in sequence:
            state = self.step(x, state)
        if state is None:
            raise ValueError("a ConvLSTM needs at least one map, found an empty sequence")
        return state[0]


class BidirectionalConvLSTM(nn.Module):
    """tanh(W_f H_f + W_b H_b + b) of two maps read in both orders (Song 2018, as in BCDU-Net).

    H_f is the last state of the pass over (first, second), H_b of that over (second, first).

    Args:
        in_channels: channels of each map.
        out_channels: channels out; each direction has half of them.
        kernel: side of the square kernels.
        hard_gates: see :class:`ConvLSTM`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, hard_gates: bool = False
    ) -> None:
        super().__init__()
        hidden = max(1, out_channels // 2)
        self.forwards = ConvLSTM(in_channels, hidden, kernel, hard_gates)
        self.backwards = ConvLSTM(in_channels, hidden, kernel, hard_gates)
        self.combine = nn.Conv2d(2 * hidden, out_channels, kernel, padding=kernel // 2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ``(N, out_channels, H, W)`` of two ``(N, in_channels, H, W)``."""
        states = [self.forwards([first, second]), self.backwards([second, first])]
        return torch.tanh(self.combine(torch.cat(states, dim=1)))

"""Whether an exported file computes what PyTorch computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.exporting.graph import OutputGraph
from contract.errors import UserError
from lightning_modules.activations import Activation, hard_masks

LARGEST_GAP = 1e-4
"""How far a probability may be from PyTorch's."""
TIE = 1e-5
"""Where PyTorch's own margin is less than this, rounding alone decides on a pixel: such pixels are
counted, and may fall on either side. Two runtimes sum in different orders."""
TOGETHER = 3
"""Films that are handed over at a time; the first is alone, since any number must do."""


@dataclass(frozen=True)
class Comparison:
    """How far a file's outputs are from PyTorch's.

    Attributes:
        films: number of films.
        largest: the largest difference of a probability.
        pixels: number of pixels of the network's squares.
        differing: those of another structure.
        ties: those among them that rounding alone decides on, see ``TIE``.
    """

    films: int
    largest: float
    pixels: int
    differing: int
    ties: int

    @property
    def holds(self) -> bool:
        """Whether probabilities are close and masks equal, ties aside."""
        return self.largest <= LARGEST_GAP and self.differing == self.ties

    @property
    def told(self) -> str:
        """The same in words."""
        of_pixels = f"{self.differing} of {self.pixels} pixels" if self.differing else "no pixel"
        ties = f" ({self.ties} of them ties)" if self.ties else ""
        return f"probabilities differ by at most {self.largest:.1e}, masks in {of_pixels}{ties}"


def compare(
    graph: OutputGraph,
    run: Callable[[Tensor], tuple[Tensor, ...]],
    images: Tensor,
    activation: Activation,
) -> Comparison:
    """Compare all outputs on films, one film alone and some together.

    Args:
        graph: what PyTorch computes.
        run: computes the file.
        images: ``(N, 1, H, W)``.
        activation: the output's kind.

    Raises:
        UserError: if the file computes nothing, or other shapes, for some number of films.
    """
    largest, differing, ties = 0.0, 0, 0
    for part in (images[:1], *torch.split(images[1:], TOGETHER)):
        expected = graph.outputs(part)
        try:
            found = run(part)
        except Exception as error:  # runtimes raise many kinds
            said = next(iter(str(error).strip().splitlines()), "")
            raise _unlike(part, f"{type(error).__name__}: {said}") from error
        if [one.shape for one in found] != [one.shape for one in expected]:
            raise _unlike(part, f"outputs of shape {[tuple(one.shape) for one in found]}")
        for own, other in zip(expected, found, strict=True):
            # A difference that is no number must not pass for a small one.
            gap = (own - other).abs().max().nan_to_num(nan=float("inf"))
            largest = max(largest, float(gap))
            unlike = hard_masks(own, activation) != hard_masks(other, activation)
            differing += int(unlike.any(dim=1).sum())
            ties += int((unlike.any(dim=1) & (_margin(own, unlike, activation) < TIE)).sum())
    side = images.shape[2] * images.shape[3]
    return Comparison(len(images), largest, len(images) * side, differing, ties)


def _margin(probabilities: Tensor, unlike: Tensor, activation: Activation) -> Tensor:
    """Return how clear each pixel's structure is, ``(N, H, W)``.

    Args:
        probabilities: ``(N, C, H, W)``.
        unlike: the channels that are in doubt, ``(N, C, H, W)``.
        activation: softmax is clear by the lead of its highest probability, others by each
            doubtful channel's distance from the threshold.
    """
    if activation == "softmax":
        first, second = probabilities.topk(2, dim=1).values.unbind(dim=1)
        return first - second
    return (probabilities - 0.5).abs().where(unlike, 0).amax(dim=1)


def _unlike(images: Tensor, found: str) -> UserError:
    return UserError(
        f"the exported file on {len(images)} film(s)", found, "what PyTorch computes for them"
    )

"""What predicts, whether trained here or exported: the one shape that films are handed to."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from contract.errors import UserError
from datamodules.preprocessing import Preprocessing
from lightning_modules.activations import Activation


class Predictor(Protocol):
    """Networks that predict together, loaded.

    Attributes:
        preprocessing: film to network input.
        structures: names of the output channels in order.
        activation: the output's kind.
    """

    preprocessing: Preprocessing
    structures: tuple[str, ...]
    activation: Activation

    def __len__(self) -> int:
        """Return how many networks predict together."""
        ...

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return each network's probabilities ``(M, N, C, H, W)`` for ``(N, 1, H, W)``.

        The second are those for the mirror images, mirrored back.

        Raises:
            UserError: if an output is not finite.
        """
        ...


class Model(Protocol):
    """What can be named to predict, and is loaded when it is needed."""

    @property
    def name(self) -> str:
        """What it is called, for people."""
        ...

    @property
    def label(self) -> str:
        """What it is, for people who choose one from a list."""
        ...

    @property
    def system(self) -> str:
        """The system's name."""
        ...

    @property
    def phantom(self) -> bool:
        """Whether it was trained on synthetic films."""
        ...

    @property
    def unit(self) -> str:
        """What it was trained on: an ``image`` (a film), or a CT ``scan``."""
        ...

    def load(self, device: str = "auto") -> Predictor:
        """Return it ready to predict.

        Args:
            device: a torch device, or ``auto``.

        Raises:
            UserError: if it cannot be loaded, or there is no such device.
        """
        ...


def require_finite(*views: Tensor) -> None:
    """Refuse probabilities that are not finite.

    Raises:
        UserError: if one is not.
    """
    if not all(view.isfinite().all() for view in views):
        raise UserError(
            "the trained network", "an output that is not finite", "probabilities",
            "its training diverged; choose another cell",
        )  # fmt: skip

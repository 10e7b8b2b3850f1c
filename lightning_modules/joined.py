"""Processes that train together and exchange the gradients of one network at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from pytorch_lightning.overrides.distributed import prepare_for_backward
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@runtime_checkable
class StepsApart(Protocol):
    """A module under manual optimisation whose networks take their steps one after another.

    Attributes:
        networks: the networks; each step calls ``NetworkDDPStrategy.exchanging``.
    """

    networks: Sequence[nn.Module]


class NetworkDDPStrategy(DDPStrategy):
    """DDP that exchanges the gradients of the network that steps, once a step.

    Lightning's own joins the whole module: each backward pass, also of a part of a batch, then
    exchanges the gradients of generator and critic both. Here each network is joined apart. The
    module itself is not wrapped, so that its checkpoints' keys are those of one process. Any other
    module is joined as by Lightning.

    Args:
        given: arguments of ``DDPStrategy``.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.joined: list[DistributedDataParallel] = []
        """One for each of the module's networks that trains; none for other modules."""
        self._exchanged: DistributedDataParallel | None = None

    def configure_ddp(self) -> None:
        """Join each network, or the whole module where it does not step them apart."""
        if not isinstance(self.model, StepsApart):
            super().configure_ddp()
            return
        self.joined = [
            self._setup_model(network)
            for network in self.model.networks
            if any(parameter.requires_grad for parameter in network.parameters())
        ]

    @contextmanager
    def exchanging(self, network: nn.Module | None) -> Iterator[None]:
        """Let the backward pass within exchange the gradients that a network has collected.

        Args:
            network: the network that steps; none in all parts of its batch but the last.
        """
        found = [one for one in self.joined if one.module is network]
        self._exchanged = found[0] if found else None
        try:
            yield
        finally:
            self._exchanged = None

    def pre_backward(self, closure_loss: Tensor) -> None:
        """Prepare the exchange."""
        if not self.joined:
            super().pre_backward(closure_loss)
        elif self._exchanged is not None:
            prepare_for_backward(self._exchanged, closure_loss)

    def teardown(self) -> None:
        """Forget the networks."""
        self.joined = []
        super().teardown()

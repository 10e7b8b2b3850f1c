"""Counts what one step of a system costs: it is made on tensors that have a shape and no content.

Each system takes one real step of its generator and its critic (torch's ``meta`` device), at its
own size and batch. Operations are counted as ``torch.utils.flop_counter`` does, two for a
multiplication with its addition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from benchmark.planning.flops import Flops
from benchmark.planning.step_cost import CONTEXT_BYTES, STATE_BYTES, TEMPORARIES, StepCost
from contract.errors import UserError
from lightning_modules.activations import activate
from lightning_modules.adversarial import AdversarialSegmenter
from lightning_modules.segmenter import Segmenter


def count_step(model: Mapping[str, Any], batch: int, size: int, where: str) -> StepCost:
    """Count what one step of a system costs.

    Args:
        model: class path and arguments of its module.
        batch: images of a step.
        size: pixels a side.
        where: what names it in messages.

    Raises:
        UserError: if the module cannot be built.
    """
    module = _on_meta(model, where)
    parameters = _count(module)
    if not isinstance(module, AdversarialSegmenter):
        return StepCost(parameters)  # it trains without gradients
    module.train()
    shape = (batch, len(module.structures), size, size)
    image = torch.empty(batch, 1, size, size, device="meta")
    target = torch.empty(shape, device="meta")
    kept: dict[int, torch.UntypedStorage] = {}  # held: numbers of freed ones come again

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, torch.nn.Parameter):
            kept[storage._cdata] = storage
        return tensor

    with _usual_algorithms():
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            generator = _generator_flop(module, image, target, module.critic is not None)
        critic = _critic_flop(module, image, target) if module.critic is not None else 0.0
        pretraining = generator
        if module.critic is not None and module.pretrain_epochs:
            pretraining = _generator_flop(module, image, target, adversarial=False)
    held = sum(storage.nbytes() for storage in kept.values()) + STATE_BYTES * parameters
    return StepCost(
        _count(module.generator),
        _count(module.critic) if module.critic is not None else 0,
        pretraining, generator, critic, CONTEXT_BYTES + TEMPORARIES * held,
    )  # fmt: skip


@contextmanager
def _usual_algorithms() -> Iterator[None]:
    """Count what trainings do by default, whatever this process trained before."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


def _on_meta(model: Mapping[str, Any], where: str) -> Segmenter:
    """Build a module without content; where building it looks at numbers, empty it afterwards."""
    try:
        with torch.device("meta"):
            module = Segmenter.from_config(model, where)
    except UserError:  # also where a library asks for a number of ``meta``
        module = Segmenter.from_config(model, where)
    return module.to("meta")


def _generator_flop(
    module: AdversarialSegmenter, image: Tensor, target: Tensor, adversarial: bool
) -> float:
    if module.critic is not None:
        module.critic.requires_grad_(False)
    with Flops() as flops:
        logits = module.logits(image)
        fake = activate(logits, module.activation)
        loss = module.segmentation_loss(logits, fake, target)
        if adversarial:
            assert module.critic is not None and module.objective is not None
            loss = loss + module.objective.generator_loss(module.critic, image, fake, target)
        loss.backward()  # type: ignore[no-untyped-call]
    return float(flops.total)


def _critic_flop(module: AdversarialSegmenter, image: Tensor, target: Tensor) -> float:
    assert module.critic is not None and module.objective is not None
    module.critic.requires_grad_(True)
    with Flops() as flops:
        loss = module.objective.critic_loss(module.critic, image, target.clone(), target)
        loss.backward()  # type: ignore[no-untyped-call]
    return float(flops.total)


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

"""What cells cost before any is run: parameters, operations, memory and hours.

Each system takes one real step of its generator and its critic on tensors that have a shape and no
content (torch's ``meta`` device), at its own size and batch. Operations are counted as
``torch.utils.flop_counter`` does, two for a multiplication with its addition. Hours follow from
them: on a card that is not here by a rate that is assumed, and of training alone; on this machine
by what finished cells took, with all that they did.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from benchmark.cell.cell import Cell
from benchmark.planning.flops import Flops
from benchmark.start import add_code_folders
from contract.errors import UserError
from lightning_modules.activations import activate
from lightning_modules.adversarial import AdversarialSegmenter
from lightning_modules.segmenter import Segmenter

CARD = "H100"
CARD_FLOPS = 266e12
"""Operations a second that training is assumed to reach on a card, in bfloat16: 27 % of what an
H100's data sheet gives. Nothing here was measured on one."""
CONTEXT_BYTES = 1.5 * 2**30
"""CUDA's context and the work space of its libraries, assumed."""
TEMPORARIES = 1.14
"""All memory of a step over what is kept for the backward pass and the optimiser, assumed."""
STATE_BYTES = 16
"""Bytes a parameter: its value, its gradient and Adam's two moments, in 32 bits."""


@dataclass(frozen=True)
class StepCost:
    """What one step of a system costs.

    Attributes:
        generator_parameters: parameters of the generator.
        critic_parameters: parameters of the critic, 0 without one.
        pretraining_flop: operations of a generator step without the critic.
        generator_flop: operations of a generator step.
        critic_flop: operations of a critic step, 0 without one.
        peak_bytes: memory in 32 bits, estimated.
    """

    generator_parameters: int = 0
    critic_parameters: int = 0
    pretraining_flop: float = 0.0
    generator_flop: float = 0.0
    critic_flop: float = 0.0
    peak_bytes: float = 0.0

    def bytes_of_each(self, processes: int) -> float:
        """Return the memory of one of so many processes, which divide the batch among them."""
        state = STATE_BYTES * (self.generator_parameters + self.critic_parameters)
        kept = (self.peak_bytes - CONTEXT_BYTES) / TEMPORARIES - state
        return CONTEXT_BYTES + TEMPORARIES * (state + max(0.0, kept) / processes)


@dataclass(frozen=True)
class CellCost:
    """What a cell costs.

    Attributes:
        step: its system's step.
        flop: operations of its whole training.
        card_hours: hours on the card that ``CARD`` names, assumed.
        hours: hours on this machine, as cells that finished here took, None where none has.
    """

    step: StepCost
    flop: float
    card_hours: float
    hours: float | None = None

    def as_columns(self) -> dict[str, Any]:
        """Return the costs as columns of a cell's row in JSON."""
        step = {name: value for name, value in asdict(self.step).items() if name != "peak_bytes"}
        return {
            **step,
            "peak_gib": round(self.step.peak_bytes / 2**30, 2),
            "training_flop": self.flop,
            f"{CARD.lower()}_hours": self.card_hours,
            "hours": self.hours,
        }


def costs(cells: Sequence[Cell]) -> dict[str, CellCost]:
    """Return what each cell with data costs, by its name; equal steps are counted once.

    Args:
        cells: cells of one suite.
    """
    steps: dict[str, StepCost] = {}
    found: dict[str, CellCost] = {}
    for cell in cells:
        if cell.config is None:
            continue
        data = cell.config["data"]["init_args"]
        model = cell.config["model"]
        arguments = {k: v for k, v in model["init_args"].items() if k != "seed"}
        size = data["preprocessing"]["size"]
        same = [model["class_path"], arguments, size, data["batch_size"]]
        key = json.dumps(same, sort_keys=True, default=str)
        if key not in steps:
            add_code_folders(cell.config["cell"]["code_folders"])
            steps[key] = step_cost(model, data["batch_size"], size, f"{cell.system}: model")
        step = steps[key]
        flop = training_flop(step, cell)
        found[cell.name] = CellCost(step, flop, flop / CARD_FLOPS / 3600)
    return _corrected(cells, found)


def batches_too_large(cells: Iterable[Cell]) -> dict[str, tuple[int, int]]:
    """Return the batch and the fewest training cases of each system that has no whole batch."""
    found: dict[str, tuple[int, int]] = {}
    for cell in cells:
        if cell.config is None:
            continue
        batch, cases = cell.config["data"]["init_args"]["batch_size"], cell.counts[0]
        if cases < batch:
            found[cell.system] = min((batch, cases), found.get(cell.system, (batch, cases)))
    return found


def step_cost(model: Mapping[str, Any], batch: int, size: int, where: str) -> StepCost:
    """Return what one step of a system costs.

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
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, torch.nn.Parameter):
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        generator = _generator_flop(module, image, target, module.critic is not None)
    critic = _critic_flop(module, image, target) if module.critic is not None else 0.0
    pretraining = generator
    if module.critic is not None and module.pretrain_epochs:
        pretraining = _generator_flop(module, image, target, adversarial=False)
    held = sum(kept.values()) + STATE_BYTES * parameters
    return StepCost(
        _count(module.generator),
        _count(module.critic) if module.critic is not None else 0,
        pretraining, generator, critic, CONTEXT_BYTES + TEMPORARIES * held,
    )  # fmt: skip


def training_flop(step: StepCost, cell: Cell) -> float:
    """Return the operations of a cell's whole training, by its schedule."""
    assert cell.config is not None
    data, trainer = cell.config["data"]["init_args"], cell.config["trainer"]
    model = cell.config["model"]["init_args"]
    batches = cell.counts[0] // data["batch_size"]
    limit = trainer.get("limit_train_batches")
    if limit is not None:
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    epochs = trainer.get("max_epochs") or 1
    alone = epochs if step.critic_flop == 0 else min(epochs, model.get("pretrain_epochs") or 0)
    together = batches * (epochs - alone)
    turns = together // (model.get("generator_steps") or 1) * (model.get("critic_steps") or 1)
    folds = data["protocol"].get("folds") or 1
    count = folds if isinstance(folds, int) else len(folds)
    return count * float(
        batches * alone * step.pretraining_flop
        + together * step.generator_flop
        + turns * step.critic_flop
    )


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


def _corrected(cells: Iterable[Cell], found: Mapping[str, CellCost]) -> dict[str, CellCost]:
    """Add the hours that this machine takes, where cells that finished here tell its rate."""
    spent: dict[str, list[float]] = {}
    for cell in cells:
        record = cell.files.record
        own = record.is_done and record.host == platform.node()
        if cell.name in found and own and record.device and record.wall_s:
            sums = spent.setdefault(record.device, [0.0, 0.0])
            sums[0] += found[cell.name].flop
            sums[1] += record.wall_s
    if not spent:
        return dict(found)
    flop, seconds = max(spent.values())
    if not flop:
        return dict(found)
    return {
        name: CellCost(one.step, one.flop, one.card_hours, one.flop * seconds / flop / 3600)
        for name, one in found.items()
    }

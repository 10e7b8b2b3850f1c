"""What cells cost before any is run: parameters, operations, memory and hours.

Hours follow from the operations of steps: on a card that is not here by a rate that is assumed, and
of training alone; on this machine by what finished cells took, with all that they did.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmark.cell.cell import Cell
from benchmark.planning.step_cost import StepCost, step_key, tabled_steps, what_is_counted
from benchmark.start import add_code_folders

CARD = "H100"
CARD_FLOPS = 266e12
"""Operations a second that training is assumed to reach on a card, in bfloat16: 27 % of what an
H100's data sheet gives. Nothing here was measured on one."""


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
    """Return what each cell with data costs, by its name.

    Steps that no table holds are counted, equal ones once.

    Args:
        cells: cells of one suite.
    """
    steps = dict(tabled_steps())
    found: dict[str, CellCost] = {}
    for cell in cells:
        if cell.config is None:
            continue
        model, batch, size = what_is_counted(cell.config)
        key = step_key(model, batch, size)
        if key not in steps:
            from benchmark.planning.counting import count_step  # loads torch

            add_code_folders(cell.config["cell"]["code_folders"])
            steps[key] = count_step(model, batch, size, f"{cell.system}: model")
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

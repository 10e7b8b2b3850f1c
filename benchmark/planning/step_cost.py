"""What one step of a system costs, and those that were counted beforehand.

Counting loads torch and builds the network. The steps of the systems that come with the benchmark
stand in a table, by all that they depend on: where the settings of a system or the code of the
networks differ from what was counted, the table does not hold its step, and it is counted anew.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.planning.library import HERE
from contract.errors import UserError

TABLE = HERE / "systems" / "steps.csv"
"""The steps of the suite `cross_dataset`, written by ``python docs/make_steps.py``."""
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


def what_is_counted(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], int, int]:
    """Return what a cell's step depends on: its model, its batch and the side of its images."""
    data = config["data"]["init_args"]
    return config["model"], data["batch_size"], data["preprocessing"]["size"]


def step_key(model: Mapping[str, Any], batch: int, size: int) -> str:
    """Return what tells a step from every other: a digest of settings and of the networks' code.

    Args:
        model: class path and arguments of its module; its seed plays no part.
        batch: images of a step.
        size: pixels a side.
    """
    arguments = {name: value for name, value in model["init_args"].items() if name != "seed"}
    told = [model["class_path"], arguments, size, batch, _code()]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:12]


@cache
def tabled_steps() -> dict[str, StepCost]:
    """Return the steps that the table holds, by their keys.

    Raises:
        UserError: if the table is damaged.
    """
    numbers = fields(StepCost)
    try:
        with TABLE.open(newline="", encoding="utf-8") as file:
            return {
                row["key"]: StepCost(*(_number(row[one.name], str(one.type)) for one in numbers))
                for row in csv.DictReader(file)
            }
    except (KeyError, TypeError, ValueError) as error:
        found = f"a damaged table ({type(error).__name__}: {error})"
        todo = "install the package anew, or write it anew: python docs/make_steps.py"
        raise UserError(TABLE, found, "what comes with the package", todo) from None


def write_steps(steps: Iterable[tuple[str, str, StepCost]], path: Path) -> None:
    """Write a table of steps.

    Args:
        steps: of each, its system, its key and what it costs.
        path: the file.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["system", "key", *(one.name for one in fields(StepCost))])
        table.writerows([system, key, *astuple(step)] for system, key, step in steps)


def _number(text: str, kind: str) -> Any:
    return int(text) if kind == "int" else float(text)


@cache
def _code() -> str:
    """Return a digest of all code that decides what a step does, and of what counts it."""
    files = [HERE / "planning" / "counting.py", HERE / "planning" / "flops.py"]
    modules = HERE.parent / "lightning_modules"
    files += [
        modules / f"{name}.py" for name in ("activations", "adversarial", "objectives", "losses")
    ]
    files += sorted((modules / "generators").glob("*.py"))
    files += sorted((modules / "critics").glob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()

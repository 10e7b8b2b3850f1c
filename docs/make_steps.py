"""Writes benchmark/systems/steps.csv: what steps of the suite `cross_dataset` cost.

    python docs/make_steps.py

`plan --cost` and the time limits of SLURM jobs read it; what it does not hold, they count. It is
written anew when a system or the code of a network changes; a test fails where it was not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmark.planning.counting import count_step
from benchmark.planning.plan import make_plan
from benchmark.planning.step_cost import TABLE, StepCost, step_key, what_is_counted, write_steps
from datamodules.phantoms import write_phantoms


def counted_steps(runs: Path, data_root: Path) -> Iterator[tuple[str, str, StepCost]]:
    """Count each step of the suite once; yield its system, its key and what it costs.

    Args:
        runs: a folder to plan in; nothing is trained.
        data_root: a data root that holds every set.
    """
    seen: set[str] = set()
    for cell in make_plan("cross_dataset", runs, data_root).cells:
        assert cell.config is not None, cell.name
        model, batch, size = what_is_counted(cell.config)
        key = step_key(model, batch, size)
        if key not in seen:
            seen.add(key)
            yield cell.system, key, count_step(model, batch, size, cell.system)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        write_phantoms(Path(folder) / "data")
        write_steps(counted_steps(Path(folder) / "runs", Path(folder) / "data"), TABLE)

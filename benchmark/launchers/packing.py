"""How many cells of a suite fit a GPU together, by what they are estimated to need."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.cell.cell import Cell
from benchmark.gpus import memory_of_gpus
from benchmark.planning.cost import costs
from contract.errors import UserError

MOST_TOGETHER = 3
"""More cells on one GPU than this mostly wait for each other."""
GPU_SHARE = 0.9
"""Of a GPU's memory, what cells may be given by an estimate."""


def cells_that_fit(cells: Sequence[Cell], devices: int, gpus: Sequence[str]) -> tuple[int, str]:
    """Return how many cells may share a GPU, whichever they are, and why in words.

    The number depends on the suite and the machine, never on which cells are left, so that a
    repeated cell gets the same threads.

    Args:
        cells: all cells of the suite.
        devices: GPUs of a cell, among which it divides its batch.
        gpus: ids of the GPUs.

    Raises:
        UserError: if a GPU does not tell its memory, as the parts of a divided one.
    """
    memory = memory_of_gpus(gpus)
    silent = [gpu for gpu in gpus if gpu not in memory]
    if silent or not gpus:
        found = f"{', '.join(silent)}: memory unknown" if silent else "no GPU on this machine"
        todo = "say a number of cells" if silent else "say --jobs instead"
        raise UserError("--cells-per-gpu auto", found, "GPUs that nvidia-smi describes", todo)
    least = min(memory.values())
    needs = {name: cost.step.bytes_of_each(devices) for name, cost in costs(cells).items()}
    if not needs:
        return 1, "no cell has data"
    largest = max(needs, key=lambda name: needs[name])
    count = max(1, min(MOST_TOGETHER, int(GPU_SHARE * least / needs[largest])))
    need = f"{largest} needs some {needs[largest] / 2**30:.1f} of {least / 2**30:.0f} GiB"
    return count, f"{count} a GPU: of all cells {need}"

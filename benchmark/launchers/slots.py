"""What each cell gets of one machine: GPUs of its own, or CPU threads."""

from __future__ import annotations

import platform
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.cell.cell import Cell
from benchmark.gpus import CELLS_PER_GPU
from contract.errors import UserError
from contract.machine import CORES

CPU_CELLS = 4
"""Cells at a time on CPU cores alone, at most."""


@dataclass(frozen=True)
class Slot:
    """Room for one cell.

    Attributes:
        gpus: ids as ``CUDA_VISIBLE_DEVICES`` takes them; empty on a machine without GPUs.
        threads: CPU threads of each of the cell's processes.
        devices: the cell's processes, one a GPU where there are any.
        cells: how many cells the GPUs carry at a time.
    """

    gpus: tuple[str, ...]
    threads: int
    devices: int = 1
    cells: int = 1

    def environment(self) -> dict[str, str]:
        """Return the environment variables that keep a cell inside its slot."""
        if not self.gpus:
            return self.limits()
        gpus = {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus), CELLS_PER_GPU: str(self.cells)}
        return self.limits() | gpus

    def limits(self) -> dict[str, str]:
        """Return the environment variables that libraries read when they are loaded."""
        threads = str(self.threads)
        return {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, CORES: threads}


class Slots:
    """The slots of a machine, handed out so that GPUs carry equally many cells.

    Args:
        slots: all slots; several may name the same GPUs.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.all = tuple(slots)
        self._free = list(slots)
        self._lock = threading.Lock()

    def take(self) -> Slot:
        """Return the free slot whose GPUs carry the fewest cells.

        Raises:
            IndexError: if none is free.
        """
        with self._lock:
            free = Counter(slot.gpus for slot in self._free)
            slot = max(self._free, key=lambda slot: free[slot.gpus]) if self._free else None
            if slot is None:
                raise IndexError("no free slot")
            self._free.remove(slot)
            return slot

    def give_back(self, slot: Slot) -> None:
        """Free a slot again."""
        with self._lock:
            self._free.append(slot)

    def __str__(self) -> str:
        first = self.all[0]
        gpus = len({gpu for slot in self.all for gpu in slot.gpus})
        of = f"{first.devices} of {gpus} GPUs" if gpus else f"{first.devices} CPU process(es)"
        each = f"each on {of} with {first.threads} threads a process"
        told = f"up to {len(self.all)} at a time, {each}"
        unused = "" if gpus else unused_gpu()
        return f"{told}; {unused}" if unused else told


def share_out(
    gpus: Sequence[str],
    cores: int,
    devices: int = 1,
    cells_per_gpu: int | None = None,
    jobs: int | None = None,
) -> Slots:
    """Divide a machine.

    The result depends on the machine and the options alone, never on how many cells are left, so
    that a repeated cell sums in the same order.

    Args:
        gpus: the GPUs' ids; none: CPU cores are shared out.
        cores: CPU cores.
        devices: GPUs (or processes on CPU cores) a cell.
        cells_per_gpu: cells that share a GPU, or a group of ``devices`` GPUs; 1 by default, or
            what ``jobs`` needs.
        jobs: cells at a time.

    Raises:
        UserError: if the machine has fewer GPUs than a cell asks for, or only parts of GPUs.
    """
    for option, value in (("devices", devices), ("cells-per-gpu", cells_per_gpu), ("jobs", jobs)):
        if value is not None and value < 1:
            raise UserError(f"--{option} {value}", "less than one", "at least 1")
    if not gpus:
        if cells_per_gpu is not None:
            raise UserError(
                f"--cells-per-gpu {cells_per_gpu}", "no GPU on this machine", "one",
                "say --jobs instead",
            )  # fmt: skip
        count = jobs or max(1, min(CPU_CELLS, cores) // devices)
        return Slots([Slot((), max(1, cores // (count * devices)), devices)] * count)
    groups = [tuple(gpus[i : i + devices]) for i in range(0, len(gpus) - devices + 1, devices)]
    if not groups:
        raise UserError(f"--devices {devices}", f"{len(gpus)} GPUs", f"at least {devices}")
    if devices > 1 and any(gpu.startswith("MIG-") for gpu in gpus):
        found = "GPUs divided into parts (MIG), of which a process sees one"
        raise UserError(f"--devices {devices}", found, "--devices 1", "or undivided GPUs")
    each = cells_per_gpu or -(-(jobs or 1) // len(groups))
    shared = (groups * each)[:jobs]
    threads = max(1, cores // (len(shared) * devices))
    carried = Counter(shared)
    return Slots([Slot(group, threads, devices, carried[group]) for group in shared])


def unused_gpu() -> str:
    """Return in words which GPU of this machine is left unused, if one is."""
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "Apple's GPU (MPS) is not used: no result was ever checked on it"
    return ""


def require_divisible(cells: Sequence[Cell], processes: int, shape: str, options: str) -> None:
    """Refuse cells whose joint batch cannot be divided among their processes.

    Args:
        cells: the cells.
        processes: of each cell, where its config does not say.
        shape: the processes in words.
        options: what says how many there are.

    Raises:
        UserError: naming them.
    """
    bad = {
        f"{cell.system} ({cell.config['data']['init_args']['batch_size']})"
        for cell in cells
        if cell.config is not None
        and "devices" not in cell.config["trainer"]
        and cell.config["data"]["init_args"]["batch_size"] % processes
    }
    if bad:
        raise UserError(
            "batch_size",
            f"{', '.join(sorted(bad))}: not divisible by {processes} processes",
            f"multiples of {shape}",
            f"change {options}, or --set batch_size=…; or leave these out with --systems",
        )

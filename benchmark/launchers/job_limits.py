"""What a cluster is asked for by what cells cost: the time of jobs, and whether GPUs hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmark.cell.cell import Cell
from benchmark.launchers.forecast import work
from benchmark.launchers.site_profile import Site
from contract.errors import UserError

if TYPE_CHECKING:
    from benchmark.planning.cost import CellCost

SHORTEST_S = 1800
"""The least that a job asks for: libraries load, films are read, a cell is tested."""
MARGIN = 2
"""What a job asks for over what training takes by its cost alone."""


def with_limits(
    cells: Sequence[Cell], found: Mapping[str, CellCost], site: Site, per_node: int
) -> list[tuple[Cell, str]]:
    """Return cells in the order in which they should begin, each with its job's limit of time.

    Limits are half an hour, an hour, two and so on, so that few arrays hold all, up to the site's.

    Args:
        cells: the cells.
        found: their costs, by name.
        site: the site profile; without its ``gpu_tflops`` every job asks for its ``time``.
        per_node: processes of a cell on each node.

    Returns:
        Each cell with ``[days-]hours:minutes:seconds``, or nothing where the script's own holds.

    Raises:
        UserError: if the site's ``time`` cannot be read.
    """
    longest = seconds_of(site.time) if site.time and site.gpu_tflops else float("inf")
    asked: list[tuple[float, Cell]] = []
    for cell in cells:
        seconds = float("inf")
        if site.gpu_tflops and cell.name in found:
            rate = site.gpu_tflops * 1e12 * gpus_of(cell, site, per_node)
            seconds = SHORTEST_S
            while seconds < MARGIN * found[cell.name].flop / rate:
                seconds *= 2
        asked.append((seconds if seconds < longest else float("inf"), cell))
    asked.sort(key=lambda one: (-one[0], -work(one[1])))
    return [(cell, "" if seconds == float("inf") else _text(seconds)) for seconds, cell in asked]


def too_large(
    cells: Sequence[Cell], found: Mapping[str, CellCost], site: Site, per_node: int
) -> list[str]:
    """Return in words which systems may not fit a GPU of the site.

    Args:
        cells: the cells.
        found: their costs, by name.
        site: the site profile; without its ``gpu_memory`` nothing is known.
        per_node: processes of a cell on each node.
    """
    needed: dict[str, float] = {}
    for cell in cells:
        if site.gpu_memory and cell.name in found:
            gib = found[cell.name].step.bytes_of_each(gpus_of(cell, site, per_node)) / 2**30
            if gib > site.gpu_memory:
                needed[cell.system] = max(gib, needed.get(cell.system, 0.0))
    todo = "more GPUs a cell, --set trainer.precision=bf16-mixed or a smaller batch_size help"
    return [
        f"{system} needs some {gib:.0f} GiB in 32 bits, of the {site.gpu_memory} of a GPU; {todo}"
        for system, gib in sorted(needed.items())
    ]


def gpus_of(cell: Cell, site: Site, per_node: int) -> int:
    """Return on how many GPUs a cell trains."""
    assert cell.config is not None
    return 1 if "devices" in cell.config["trainer"] else site.nodes * per_node


def seconds_of(text: str) -> int:
    """Return the seconds of a limit as SLURM reads it.

    Args:
        text: ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, or ``days-hours`` with
            minutes and seconds or without.

    Raises:
        UserError: if it is none of these.
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text.strip())
    if found is None:
        expected = '"12:00:00" or "2-00:00:00", to ask for less by what cells cost'
        raise UserError("time in the site profile", repr(text), expected)
    days, *rest = found.groups()
    first, second, third = (int(part or 0) for part in rest)
    if days is not None or rest[2] is not None:
        return int(days or 0) * 86400 + first * 3600 + second * 60 + third
    return first * 60 + second


def _text(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:00"

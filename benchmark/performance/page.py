"""The page of a measuring run: what was measured where, line by line."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmark.performance.lines import LEFT_OUT, Goal, Measured, Outcome
from benchmark.performance.racing.race import RACE, Course, race_rules
from benchmark.performance.timing import Sample
from contract.machine import cores
from leaderboards.texts import escape, grid

HEADER = ("", "what", "beside it", "median [lowest, highest]", "rounds", "goal", "")
LIBRARIES = (
    "lungbench", "torch", "pytorch-lightning", "numpy", "scipy", "opencv-python-headless", "monai",
    "torchvision", "surface-distance-based-measures", "onnxruntime", "nnunetv2",
)  # fmt: skip
HOW = """\
Two ways of doing the same are timed in turn within one run, on one thread unless a line says
otherwise; a ratio is taken of each round, and the table tells the median of these, the lowest and
the highest. Where both ways compute the same numbers, their equality is checked. Films, masks and
scans are phantoms, unless a line says otherwise. What is not measured is not estimated."""


@dataclass(frozen=True)
class Circumstances:
    """Where and when a run was measured.

    Attributes:
        facts: names and what they were, as shown.
    """

    facts: tuple[tuple[str, str], ...]


def circumstances(device: str, load_before: float, minutes: float) -> Circumstances:
    """Return what this machine and its libraries are.

    Args:
        device: ``cpu`` or ``gpu``.
        load_before: processes that wanted to run in the minute before the first line.
        minutes: what the run took.
    """
    versions = [f"{name} {found}" for name in LIBRARIES if (found := _version(name))]
    load = f"{load_before:.1f} before, {os.getloadavg()[0]:.1f} at the end (its own included)"
    return Circumstances(
        (
            ("device", device),
            ("when", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {minutes:.0f} minutes"),
            ("processor", f"{_processor()}, {cores()} cores"),
            *([("GPU", torch.cuda.get_device_name())] if device == "gpu" else []),
            ("load of the last minute", load),
            ("system", f"{platform.system()} {platform.machine()}, Python "
                       f"{platform.python_version()}"),
            ("versions", ", ".join(versions)),
        )
    )  # fmt: skip


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "a processor without a name"


def row_of(outcome: Outcome) -> tuple[str, ...]:
    """Return a line's cells as plain text, without notes."""
    line, measured = outcome.line, outcome.measured
    goal = "" if line.goal is None else goal_text(line.goal)
    number = "–" if measured is None else f"{_number(measured)} {line.unit}"
    rounds = "–" if measured is None else str(len(measured.sample.values))
    return line.key, line.what, line.beside, number, rounds, goal, outcome.verdict


def _number(measured: Measured) -> str:
    return " ".join(filter(None, (measured.bound, spread_text(measured.sample))))


def spread_text(sample: Sample) -> str:
    """Return median, lowest and highest."""
    if len(sample.values) == 1:
        return digits(sample.middle)
    return f"{digits(sample.middle)} [{digits(sample.low)}, {digits(sample.high)}]"


def digits(value: float) -> str:
    """Return a number with three digits that count."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def goal_text(goal: Goal) -> str:
    """Return a goal in words."""
    return f"{goal.sense} {digits(goal.limit)}"


def performance_page(outcomes: Sequence[Outcome], where: Circumstances) -> str:
    """Return the page, Markdown.

    Args:
        outcomes: the lines, in their order.
        where: how they were measured.
    """
    shown = [one for one in outcomes if one.reason != LEFT_OUT]
    cells = [tuple(map(_marked, row_of(one))) for one in shown]
    remarks = [
        f"- {one.line.key}: {_marked(one.measured.note if one.measured else one.reason)}"
        for one in outcomes
        if one.reason or (one.measured and one.measured.note)
    ]
    counts = [sum(one.verdict == word for one in outcomes)
              for word in ("met", "missed", "open", "not measured")]  # fmt: skip
    parts = [
        "# Performance",
        "Written by `make perf`: no number of it is written by hand.",
        HOW,
        *([race_rules(Course())] if any(one.line in RACE for one in shown) else []),
        grid(("what", "as found"), [(name, _marked(text)) for name, text in where.facts]),
        "Goals met: {}, missed: {}, open: {}; lines not measured: {}.".format(*counts),
        grid(HEADER, cells, left=len(HEADER)),
        "By line: the times behind the numbers, or why it is not measured.",
        "\n".join(remarks),
    ]
    return "\n\n".join(parts) + "\n"


def _marked(text: str) -> str:
    """Escape all but what stands between backticks, which is code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # no pairs
        return escape(text)
    return "".join(
        f"`{piece}`" if place % 2 else escaped_piece(piece) for place, piece in enumerate(pieces)
    )


def escaped_piece(text: str) -> str:
    """Escape a part of a line, with the spaces at its ends."""
    inner = text.strip()
    before = " " if text != text.lstrip() else ""
    after = " " if inner and text != text.rstrip() else ""
    return before + escape(inner) + after

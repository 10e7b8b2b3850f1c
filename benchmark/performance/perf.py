"""Measures the lines that were chosen, prints them as they come and writes the page."""

from __future__ import annotations

import logging
import os
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmark.performance.data_lines import DATA
from benchmark.performance.gpu_lines import GPU
from benchmark.performance.lines import LEFT_OUT, Line, Outcome, Setting, Topic, outcome_of
from benchmark.performance.page import circumstances, performance_page, row_of
from benchmark.performance.process_lines import PROCESSES
from benchmark.performance.racing.race import RACE
from benchmark.performance.scoring_lines import SCORING
from benchmark.performance.training_lines import TRAINING
from benchmark.progress import say
from contract.errors import UserError
from contract.files import write_atomically

LINES: tuple[Line, ...] = tuple(
    sorted((*SCORING, *TRAINING, *DATA, *PROCESSES, *RACE, *GPU), key=lambda line: line.place)
)
"""All lines, by the goals' numbers."""


def measure(
    only: Sequence[Topic] = (),
    out: Path | None = None,
    rounds: int = 5,
    device: str | None = None,
    long: bool = False,
    data_root: Path | None = None,
) -> list[Outcome]:
    """Measure and print the lines, and write the page, after each line anew, where one is wanted.

    Args:
        only: topics to choose, or all.
        out: the page's file, or none.
        rounds: how often a pair is timed at most; long ones are timed less often.
        device: ``cpu`` or ``gpu``; by default the latter where torch can use one.
        long: whether lines that take longer than minutes are measured.
        data_root: real data, or none.

    Raises:
        UserError: if a GPU was asked for that is not there.
        DifferentValuesError: if two ways that compute the same came to different values.
    """
    has_gpu = torch.cuda.is_available()
    device = device or ("gpu" if has_gpu else "cpu")
    if device == "gpu" and not has_gpu:
        raise UserError("PERF=gpu", "no GPU that torch can use", "one", "PERF=cpu")
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning.pytorch", "torch.onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    load, began = os.getloadavg()[0], time.monotonic()
    chosen = [line for line in LINES if not only or line.topic in only]
    found = {line.key: Outcome(line, None, LEFT_OUT) for line in LINES}
    found |= {line.key: Outcome(line, None, "the run was ended before") for line in chosen}
    with tempfile.TemporaryDirectory(prefix="lungbench-perf-") as folder:
        setting = Setting(Path(folder), rounds, device, long, data_root)
        for line in chosen:
            found[line.key] = outcome_of(line, setting)
            say(_told(found[line.key]))
            if out is not None:
                where = circumstances(device, load, (time.monotonic() - began) / 60)
                write_atomically(out, performance_page(list(found.values()), where))
    if out is not None:
        say(f"written: {out}")
    return [found[line.key] for line in chosen]


def _told(outcome: Outcome) -> str:
    key, what, beside, number, _, goal, verdict = row_of(outcome)
    told = f"{key:3} {what} | {beside}: "
    if outcome.measured is None:
        return f"{told}not measured: {outcome.reason}"
    aim = f", {verdict} (goal: {goal})" if goal else ""
    return f"{told}{number}{aim}; {outcome.measured.note}"

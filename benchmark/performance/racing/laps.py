"""A training that is raced stops at the end of each lap until its weights are judged.

The training's side knows neither mark nor limit: it tells how long it has trained, and goes on or
ends as it is told. While it is judged its clock stands, and nothing is judged while it trains, so
that the one takes nothing from the other.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.performance.timing import on_cores
from benchmark.progress import say
from contract.files import write_atomically

END_MARK = "enough"
"""The file that ends a training."""
LOG = "log.txt"
POLL_S = 0.1


class TrainingClock:
    """CPU seconds of this process, all of its threads, while it trains.

    Both rivals load and augment in the process that trains, so that none of it is missed; on a
    core of its own a process takes as long by the clock on the wall.

    Attributes:
        seconds: of all that was timed so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began: float | None = None

    def run(self) -> None:
        """Go on; a clock that runs is left alone."""
        if self._began is None:
            self._began = time.process_time()

    def stop(self) -> None:
        """Stand still."""
        if self._began is not None:
            self.seconds += time.process_time() - self._began
            self._began = None


def weights_of(folder: Path, lap: int) -> Path:
    """Return the file for a lap's weights; laps count from 1."""
    return folder / f"lap-{lap:05d}.ckpt"


def hand_over(folder: Path, lap: int, seconds: float) -> bool:
    """Tell that a lap's weights lie in their file, and wait until they are judged.

    Args:
        folder: where they lie.
        lap: its number.
        seconds: CPU seconds of training up to its end.

    Returns:
        whether to go on.

    Raises:
        SystemExit: if the process is gone that started this one, so that nobody judges.
    """
    told, judge = weights_of(folder, lap).with_suffix(".json"), os.getppid()
    write_atomically(told, json.dumps({"seconds": seconds}))
    while told.exists():
        if os.getppid() != judge:
            raise SystemExit(f"{told}: nobody is left who judges it")
        time.sleep(POLL_S)
    return not (folder / END_MARK).exists()


@dataclass(frozen=True)
class Lap:
    """A lap that was judged.

    Attributes:
        seconds: CPU seconds of training up to its end.
        dice: mean Dice of the test cases; NaN where nobody judges it.
    """

    seconds: float
    dice: float


@dataclass(frozen=True)
class Rival:
    """A training that is raced.

    Attributes:
        name: what it is called, for people.
        command: starts it; all of it runs in the one process.
        environment: added to this process's.
        states: the folder that it hands weights over in.
        dice_of: tells the mean Dice of the test cases with a file of weights; NaN judges nothing.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    states: Path
    dice_of: Callable[[Path], float]


def laps_of(rival: Rival, passing: float, limit_s: float) -> list[Lap]:
    """Train a rival on one core until it passes, its time is over or its schedule ends.

    Args:
        rival: the training.
        passing: the mean Dice to reach.
        limit_s: CPU seconds of training; the lap in which they end counts.

    Returns:
        its laps in order, one at least.

    Raises:
        RuntimeError: with the end of what it said, if it fails or ends without a lap.
    """
    rival.states.mkdir(parents=True, exist_ok=True)
    log, laps = rival.states / LOG, list[Lap]()
    with log.open("wb") as said, on_cores(1):
        process = subprocess.Popen(
            rival.command, stdout=said, stderr=subprocess.STDOUT,
            env={**os.environ, **rival.environment},
        )  # fmt: skip
    try:
        ended = False
        while not ended:
            ended = process.poll() is not None  # asked before looking: no last lap is missed
            for told in sorted(rival.states.glob("lap-*.json")):
                laps.append(_judged(rival, told))
                if laps[-1].dice >= passing or laps[-1].seconds >= limit_s:
                    (rival.states / END_MARK).touch()
                told.unlink()
            time.sleep(0 if ended else POLL_S)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    if process.returncode or not laps:
        end = log.read_text("utf-8", errors="replace")[-2000:]
        raise RuntimeError(
            f"{rival.name} ended with {process.returncode} after {len(laps)} laps: {end}"
        )
    return laps


def _judged(rival: Rival, told: Path) -> Lap:
    """Judge a lap and delete its weights, which may be large."""
    weights = told.with_suffix(".ckpt")
    lap = Lap(json.loads(told.read_text())["seconds"], rival.dice_of(weights))
    weights.unlink()
    judged = "" if math.isnan(lap.dice) else f"test Dice {lap.dice:.4f} after "
    say(f"    {rival.name}: {judged}{lap.seconds:.0f} CPU s of training")
    return lap


def first_passing(laps: Sequence[Lap], passing: float) -> Lap | None:
    """Return the first lap whose Dice is at least ``passing``, None if there is none."""
    return next((lap for lap in laps if lap.dice >= passing), None)

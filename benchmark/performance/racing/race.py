"""The line of the race: both rivals trained on one core, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.performance.lines import (
    Goal,
    Line,
    Measured,
    NotMeasuredError,
    Setting,
    require_peer,
)
from benchmark.performance.racing.laps import Lap, first_passing, laps_of
from benchmark.performance.racing.nnunet import (
    NnunetFolders,
    dice_of_nnunet,
    nnunet_rival,
    prepare_nnunet,
)
from benchmark.performance.racing.unet import raced_data, unet_rival, write_raced_cell
from benchmark.performance.timing import Sample

SHARE = 1 / 3
"""Of nnU-Net's time that ``unet`` may take."""


@dataclass(frozen=True)
class Course:
    """How the race is run.

    Attributes:
        size: side of the films in pixels, for both.
        passing: the mean test Dice to reach.
        limit_s: CPU seconds of training; nnU-Net gets at least those of ``unet`` over ``SHARE``.
        laps: epochs of nnU-Net's schedule, over which its learning rate falls to zero.
        iterations: batches of each.
        changes: of the system ``unet``.
    """

    size: int = 128
    passing: float = 0.95
    limit_s: float = 1200.0
    laps: int = 50
    iterations: int = 25
    changes: Mapping[str, Any] = field(default_factory=dict)


def race_rules(course: Course) -> str:
    """Return how the race is run, for the page."""
    minutes, batches = course.limit_s / 60, course.laps * course.iterations
    return f"""\
Line 8 is a race on real films. `unet` and nnU-Net get the same cases, those of the protocol
`montgomery`, of which nnU-Net's fold has the same to train and to validate on, squashed to
{course.size}² for both. They train one after the other on the same core, in one thread each,
and load and augment in the process that trains. The clock is this process's CPU time, which is
the clock on the wall where nobody else wants the core; it stands while a rival is imported,
prepares its films, validates, saves or is judged. `unet` is the system as it stands, CLAHE
included, at this size, and its learning rate falls over its own number of epochs, most of which
it may not need. nnU-Net plans and normalises for itself and trains with its own trainer in full
precision, as it does on every CPU; all that is changed are short epochs of {course.iterations}
batches and a schedule of {batches} batches, over which its learning rate falls to zero. After
each epoch all test films are predicted: by `unet` once, by nnU-Net with its own predictor and
its mirroring. The probabilities of both are judged by the project's rules, on the reference's
own grid, and the time of the first epoch counts that reaches a mean Dice of {course.passing}.
Each has {minutes:.0f} minutes, and nnU-Net three times what `unet` took where that is more. It
is one training of each: the test cases decide when the clock stops, and nothing about either
network. A ratio after `<` or `>` is a bound: one of the two never passed."""


def run_course(root: Path, folder: Path, course: Course) -> tuple[list[Lap], list[Lap]]:
    """Train one after the other; return the laps of ``unet`` and of nnU-Net.

    Args:
        root: the data root.
        folder: an empty folder.
        course: how.

    Raises:
        RuntimeError: if one fails.
    """
    config = write_raced_cell(root, folder / "unet", course.size, course.changes)
    ours = laps_of(unet_rival(config), course.passing, course.limit_s)
    squashed = raced_data(config, preprocessing={"size": course.size}, augmentation=None)
    folders = NnunetFolders(folder / "nnunet")
    prepare_nnunet(squashed, folders)
    judge = dice_of_nnunet(squashed, folders)
    theirs = nnunet_rival(folders, course.laps, course.iterations, judge)
    return ours, laps_of(theirs, course.passing, max(course.limit_s, ours[-1].seconds / SHARE))


def outcome_of_race(ours: Sequence[Lap], theirs: Sequence[Lap], course: Course) -> Measured:
    """Return the ratio of both times, or the bound that is known where one never passes.

    Args:
        ours: the laps of ``unet``.
        theirs: those of nnU-Net.
        course: how they were run.

    Raises:
        NotMeasuredError: if neither passes.
    """
    told = f"{_told('unet', ours, course.passing)}, {_told('nnU-Net', theirs, course.passing)}"
    here, there = (first_passing(laps, course.passing) for laps in (ours, theirs))
    if here is None and there is None:
        raise NotMeasuredError(f"neither passes {course.passing} in its time: {told}")
    ratio = (here or ours[-1]).seconds / (there or theirs[-1]).seconds
    note = f"CPU s of training on one core at {course.size}², by test Dice: {told}"
    return Measured(Sample((ratio,)), note, "<" if there is None else ">" if here is None else "")


def _told(name: str, laps: Sequence[Lap], passing: float) -> str:
    lap = first_passing(laps, passing)
    if lap is not None:
        return f"{name} {lap.dice:.4f} after {lap.seconds:.0f} s"
    best = max(laps, key=lambda one: one.dice)
    return f"{name} at most {best.dice:.4f} within {laps[-1].seconds:.0f} s"


def race(setting: Setting) -> Measured:
    """Take the time that ``unet`` trains until it passes, over that of nnU-Net, on real films."""
    setting.require_long()
    root = setting.real_data()
    require_peer("nnunetv2")
    course = Course()
    return outcome_of_race(*run_course(root, setting.place("race"), course), course)


RACE = (
    Line("8", "training", "`unet` until its test Dice passes .95, real Montgomery films, one core",
         "nnU-Net v2, 2-D, its own trainer", "× the CPU time", race, Goal(SHARE, "at most")),
)  # fmt: skip
"""The line about the race."""

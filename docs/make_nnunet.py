"""Gives nnU-Net a protocol's films and a stated time, and scores its masks in ``measured``.

    python docs/make_nnunet.py --protocol m_to_s --runs runs --data-root DATA --minutes 26

nnU-Net plans, normalises, augments and trains for itself (``make perf`` installs it), on one core,
full precision, on the films that the protocol trains with, squashed to a square; its fold is the
protocol's. What is changed are the number of its epochs and their length, so that its learning
rate falls to zero within the time, in CPU minutes of training; importing, planning, its validation
and the test are not counted. A few of its own batches, thrown away, tell how many fit.
``docs/make_committed.py`` takes its cell over like any other.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import yaml

from benchmark.performance.processes import ON_ONE_THREAD
from benchmark.performance.racing.judging import reference_batches
from benchmark.performance.racing.laps import laps_of
from benchmark.performance.racing.nnunet import (
    LABEL,
    NnunetFolders,
    nnunet_at,
    nnunet_probabilities,
    nnunet_rival,
    prepare_nnunet,
)
from benchmark.performance.racing.unet import raced_data
from benchmark.planning.plan import Selection, make_plan
from benchmark.progress import say
from benchmark.start import command
from datamodules.base import ProtocolDataModule

SUITE = "measured"
SYSTEM = "lung_baseline"
"""Whose cell gives the split."""
ITERATIONS = 10
"""Batches of an epoch, so that a schedule ends near to its time."""
LAST = "last.ckpt"


def squashed_data(protocol: str, root: Path, folder: Path, size: int) -> ProtocolDataModule:
    """Return a protocol's films as squares, without CLAHE or augmentation, set up.

    Args:
        protocol: a protocol of the suite.
        root: the data root.
        folder: where the plan and the cache go.
        size: side of the square in pixels.
    """
    plan = make_plan(SUITE, folder / "runs", root, wanted=[protocol], wanted_systems=[SYSTEM])
    cell = Selection(systems=[SYSTEM], protocols=[protocol]).of(plan)[0]
    if cell.config is None:
        sys.exit(f"{cell.name}: {cell.problem}")
    config = folder / "cell.yaml"
    config.write_text(yaml.safe_dump(cell.config))
    return raced_data(config, preprocessing={"size": size}, augmentation=None)


def train(data: ProtocolDataModule, folders: NnunetFolders, limit_s: float) -> tuple[int, float]:
    """Train nnU-Net for a time; its last weights lie in ``folders.fold``.

    Args:
        data: what ``squashed_data`` returned.
        folders: empty ones; its data set is prepared there.
        limit_s: CPU seconds of training.

    Returns:
        the number of its batches and the CPU seconds that they took.

    Raises:
        RuntimeError: if nnU-Net fails.
    """
    prepare_nnunet(data, folders)
    kept = folders.home / LAST

    def keep(weights: Path) -> float:
        shutil.copyfile(weights, kept)
        return math.nan

    def laps(count: int) -> float:
        rival = nnunet_rival(folders, count, ITERATIONS, keep)
        return laps_of(rival, math.inf, math.inf)[-1].seconds

    seconds = laps(1)
    shutil.rmtree(folders.fold)
    count = max(1, int(limit_s / seconds))
    say(f"{ITERATIONS} batches take {seconds:.0f} s: {count} epochs of as many")
    seconds = laps(count)
    kept.replace(folders.fold / LAST)
    return count * ITERATIONS, seconds


def write_masks(data: ProtocolDataModule, folders: NnunetFolders, masks: Path) -> None:
    """Predict the test films with nnU-Net's own predictor; write a mask of 0 and 255 for each.

    Args:
        data: what ``squashed_data`` returned.
        folders: its folders, trained.
        masks: a folder that is made.

    Raises:
        OSError: if a mask cannot be written.
    """
    masks.mkdir()
    with nnunet_at(folders):
        predict = nnunet_probabilities(folders, folders.fold / LAST)
        for batch in reference_batches(data):
            found = predict(batch).argmax(dim=1).numpy()
            for case, mask in zip(batch["identity"], found, strict=True):
                path = masks / f"{case['case_id']}.png"
                if not cv2.imwrite(str(path), (mask == LABEL).astype(np.uint8) * 255):
                    raise OSError(f"{path} cannot be written")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, predict and score."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--protocol", required=True, help=f"a protocol of the suite {SUITE}")
    parser.add_argument("--runs", type=Path, required=True, help="the runs folder of the suite")
    parser.add_argument("--data-root", type=Path, required=True, help="the films")
    parser.add_argument("--minutes", type=float, default=26.0, help="CPU time of training [26]")
    parser.add_argument("--size", type=int, default=192, help="side of the films, pixels [192]")
    given = parser.parse_args(arguments)
    os.environ.update(ON_ONE_THREAD)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = squashed_data(given.protocol, given.data_root, folder, given.size)
        folders = NnunetFolders(folder / "nnunet")
        batches, seconds = train(data, folders, given.minutes * 60)
        write_masks(data, folders, folder / "masks")
        batch = folders.batch_size
        sets = "+".join(data.protocol.train)
        tool = (f"nnU-Net {version('nnunetv2')}, 2-D, {given.size}², {batches} batches of {batch} "
                f"in {seconds / 60:.0f} CPU minutes on one core")  # fmt: skip
        scored = command(
            "benchmark", "score", "--masks", str(folder / "masks"), "--resize",
            "--system", f"nnunet_{given.size}", "--protocol", given.protocol, "--suite", SUITE,
            "--runs", str(given.runs), "--data-root", str(given.data_root),
            "--tool", tool, "--train-on", sets,
        )  # fmt: skip
        sys.exit(subprocess.run(scored, check=False).returncode)


if __name__ == "__main__":
    main()

"""Times the hot paths on phantoms, each beside a plain or common way of doing the same."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rich.table import Table

from benchmark.progress import console
from datamodules.phantoms import write_montgomery
from datamodules.preprocessing import Preprocessing
from datamodules.sources import open_source
from lightning_modules.generators.unet import UNet
from lightning_modules.losses import DiceCrossEntropy
from lightning_modules.metrics.case_metrics import case_metrics


def perf(rounds: int = 5) -> None:
    """Print medians in milliseconds, and the ratio to the way beside it, measured in turn.

    Args:
        rounds: how often each pair is timed.
    """
    torch.set_num_threads(1)
    table = Table(title=f"one thread, median of {rounds}, in turn", title_justify="left")
    for column in ("what", "here (ms)", "beside (ms)", "here / beside", "what stands beside"):
        table.add_column(column)
    for what, here, other, beside in _pairs():
        times = [(_clock(here), _clock(other)) for _ in range(rounds + 1)][1:]
        mine, theirs = median(t[0] for t in times), median(t[1] for t in times)
        ratio = median(a / b for a, b in times)
        table.add_row(what, f"{mine:.1f}", f"{theirs:.1f}", f"{ratio:.2f}", beside)
    console.print(table)


def _clock(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - started)


def _pairs() -> list[tuple[str, Callable[[], object], Callable[[], object], str]]:
    warnings.filterwarnings("ignore")
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.meandice import compute_dice

    with tempfile.TemporaryDirectory() as folder:
        write_montgomery(Path(folder), 2, size=2048)
        source = open_source("montgomery", Path(folder))
        case = source.cases()[0]
        film = source.read_image(case)
        lungs = source.read_masks(case, (film.shape[0], film.shape[1]))["lungs"]
    grey = film.copy()
    preprocessing = Preprocessing(512, "before_resize")
    reference = Preprocessing(512).prepare_mask(lungs)
    prediction = np.roll(reference, 3, axis=0)
    probability = prediction.astype(np.float32)
    ours, theirs = (torch.from_numpy(m)[None, None] for m in (prediction, reference))

    def common() -> None:
        compute_dice(ours, theirs)
        for percentile in (None, 95):
            compute_hausdorff_distance(ours, theirs, include_background=True, percentile=percentile)

    torch.manual_seed(0)
    network, loss = UNet(widths=(8, 16, 32, 64)), DiceCrossEntropy()
    image, target = torch.randn(4, 1, 128, 128), torch.rand(4, 2, 128, 128).softmax(1)

    def step() -> None:
        logits = network(image)
        loss(logits, logits.softmax(1), target).backward()

    def network_only() -> None:
        network(image).square().mean().backward()

    return [
        (
            "prepare one 2048-pixel film (CLAHE, 512²)",
            lambda: preprocessing.prepare_image(grey),
            lambda: Preprocessing(512).prepare_image(grey),
            "resizing alone",
        ),
        (
            "score one case at 512² (all metrics)",
            lambda: case_metrics(prediction, reference, probability),
            common,
            "MONAI's Dice, Hausdorff and HD95 alone",
        ),
        (
            "forward, loss and backward, 4 × 128²",
            step,
            network_only,
            "the same network without a loss",
        ),
    ]

"""Writes the tables of docs/unet.md from trials of ``unet`` on validation films.

    python docs/make_unet_trials.py
    python docs/make_unet_trials.py --runs RUNS

The trials stand in leaderboards/measured/unet_trials.csv, a row a training. The second form first
takes them from suites below RUNS that are called after their trial, and asks their cells about
their validation films: as they are, and with their contrast bent.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch
from marks import filled
from torch import Tensor

from benchmark.cell.loading import load_cell
from contract.cell_folder import CellFolder, cells_of, suite_folders
from datamodules.base import ProtocolDataModule
from lightning_modules.activations import hard_masks, lung_channels
from lightning_modules.metrics.scoring import batch_dice
from lightning_modules.segmenter import Segmenter

HERE = Path(__file__).parent
PAGE = HERE / "unet.md"
ROWS = HERE.parent / "leaderboards" / "measured" / "unet_trials.csv"
BRIEF = {
    "unet_as_it_stands": "as it stands",
    "unet_batch_norm": "batch norm",
    "unet_no_tone": "without changes of tone",
    "unet_no_stretch": "without stretch and shear",
    "unet_no_clahe": "without CLAHE",
    "unet_cross_entropy": "cross-entropy alone",
    "unet_no_clip": "without clipping of gradients",
    "unet_lr_001": "learning rate 0.001",
    "unet_lr_005": "learning rate 0.005",
}
LONGER = {
    "unet_longer_lr_001": "learning rate 0.001",
    "unet_longer_lr_002": "learning rate 0.002",
}
"""Suites by folder, and what the tables call them."""
STEEPNESS = 10.0
"""Of the sigmoid over grey values from 0 to 1, about their middle."""


def bent(image: Tensor) -> Tensor:
    """Return images in [-1, 1], their contrast bent by a sigmoid that keeps black and white."""
    bending, end = torch.sigmoid(STEEPNESS / 2 * image), torch.sigmoid(torch.tensor(STEEPNESS / 2))
    return (2 * bending - 1) / (2 * end - 1)


def validation_dice(
    module: Segmenter, data: ProtocolDataModule, change: Callable[[Tensor], Tensor]
) -> float:
    """Return the lungs' mean Dice over the validation films, at the network's size."""
    found = []
    with torch.inference_mode():
        for batch in data.val_dataloader():
            masks = hard_masks(module(change(batch["image"])), module.activation)
            found.append(batch_dice(masks, batch["target"], lung_channels(module.structures)))
    return float(torch.cat(found).mean())


def training(trial: str, cell: CellFolder) -> dict[str, object]:
    """Return what one training of a trial came to."""
    module, data = load_cell(cell.path)
    data.setup("fit")
    module.eval()
    record = cell.record
    return {
        "trial": trial, "protocol": record.protocol, "seed": record.seed,
        "films": record.n_validation, "commit": record.commit,
        "dice": round(validation_dice(module, data, lambda image: image), 6),
        "bent": round(validation_dice(module, data, bent), 6),
    }  # fmt: skip


def trainings_below(runs: Path) -> pd.DataFrame:
    """Return a row for each finished training of each trial below a runs folder."""
    suites = {suite.name: suite for suite in suite_folders(runs)}
    return pd.DataFrame([
        training(trial, cell) for trial in (*BRIEF, *LONGER) if trial in suites
        for cell in cells_of(suites[trial]) if cell.record.is_done
    ])  # fmt: skip


def table(rows: pd.DataFrame, trials: dict[str, str]) -> str:
    """Return the means of each trial over its seeds as a Markdown table.

    Args:
        rows: columns ``trial``, ``protocol``, ``seed``, ``dice`` and ``bent``, a row a training.
        trials: what the table calls the trials, in its order.
    """
    lines = [
        "| trial | seeds | Montgomery | bent | Shenzhen | bent | mean | against the first |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    first = rows[rows["trial"] == next(iter(trials))]
    for trial, called in trials.items():
        own = rows[rows["trial"] == trial]
        if own.empty:
            continue
        means = own.groupby("protocol")[["dice", "bent"]].mean()
        values = [means.loc[at, of] for at in ("montgomery", "shenzhen") for of in ("dice", "bent")]
        alike = first[first["seed"].isin(own["seed"])]  # the first trial's trainings of these seeds
        gain = (own[["dice", "bent"]].mean() - alike[["dice", "bent"]].mean()).mean()
        told = " | ".join(f"{value:.4f}" for value in (*values, sum(values) / len(values)))
        lines.append(f"| {called} | {own['seed'].nunique()} | {told} | {gain:+.4f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--runs", type=Path, help="a runs folder to take the trainings from")
    runs = parser.parse_args(arguments).runs
    if runs is not None:
        trainings_below(runs).to_csv(ROWS, index=False)
    page, rows = PAGE.read_text("utf-8"), pd.read_csv(ROWS)
    for name, trials in (("brief", BRIEF), ("longer", LONGER)):
        page = filled(page, name, table(rows, trials))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

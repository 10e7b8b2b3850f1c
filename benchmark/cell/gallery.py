"""Pictures of a cell's best, median and worst cases, for the leaderboard's page.

``<cell>/gallery/gallery.json`` names the cases, their contours and their pictures, which lie beside
it, named by their content. All is small: 15 cases, pictures of 256 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from benchmark.cell.case_pictures import (
    STRUCTURE,
    Gallery,
    GalleryMaker,
    Masks,
    ScoredRow,
    choose_cases,
    keep_pictures,
)
from benchmark.cell.checkpoints import load_weights
from contract.cell_folder import CellFolder
from datamodules.base import ProtocolDataModule
from lightning_modules.metrics.scoring import structure_masks, to_reference_grid
from lightning_modules.segmenter import Segmenter


@dataclass(frozen=True)
class Tested:
    """One fold's test: the weights that were tested, and the data."""

    checkpoint: Path
    data: ProtocolDataModule


def keep_gallery(
    out: Path,
    trainer: pl.Trainer,
    module: pl.LightningModule,
    folds: Sequence[Tested],
    rows: Sequence[ScoredRow],
) -> None:
    """Write a finished test's gallery; a fault is told, and costs nothing but the pictures.

    Args:
        out: the cell's folder.
        trainer: whose device and precision the test ran in.
        module: the network; it comes back with the weights of the last fold drawn.
        folds: every fold that was tested.
        rows: the rows of all folds.
    """
    assert isinstance(module, Segmenter)
    keep_pictures(CellFolder(out).gallery, lambda: draw(trainer, module, folds, choose_cases(rows)))


def draw(
    trainer: pl.Trainer,
    module: Segmenter,
    folds: Sequence[Tested],
    chosen: Sequence[tuple[str, ScoredRow]],
) -> Gallery:
    """Predict the chosen cases anew, on this process alone.

    Returns:
        the content of ``gallery.json``, and each picture by the name of its file.
    """
    drawn = GalleryMaker(chosen)
    module = module.to(trainer.strategy.root_device).eval()
    for fold in folds:
        if len(folds) > 1:
            load_weights(module, fold.checkpoint)
        items = fold.data.test_dataloader().dataset

        def masks_at(place: int, items: Any = items) -> Masks:
            return _masks(trainer, module, items[place])

        drawn.add(fold.data.test_cases, fold.data.sources, masks_at)
    return drawn.gallery()


def _masks(trainer: pl.Trainer, module: Segmenter, item: Mapping[str, Any]) -> Masks:
    """Return the reference and the prediction of the structure, on the reference's grid."""
    reference = item["references"][STRUCTURE]
    image = item["image"][None].to(trainer.strategy.root_device)
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        probabilities = module(image)[0].float()
    scored = to_reference_grid(probabilities, item["box"], reference.shape)
    mask = structure_masks(scored, module.structures, module.activation)[STRUCTURE][0]
    return reference, mask.cpu().numpy()

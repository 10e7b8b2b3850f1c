"""The rules that judge both rivals: each test case's Dice on its reference's own grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from contract.batch import EvaluationBatch, ReferenceBatch
from datamodules.base import ProtocolDataModule
from lightning_modules.activations import Activation
from lightning_modules.metrics.case_metrics import overlap_metrics
from lightning_modules.metrics.scoring import structure_masks, to_reference_grid

Predict = Callable[[EvaluationBatch], Tensor]
"""Gives probabilities ``(N, C, H, W)`` for a batch."""


def reference_batches(data: ProtocolDataModule) -> list[ReferenceBatch]:
    """Return all test cases of a protocol that is set up, with their references."""
    return list(data.test_dataloader())  # type: ignore[arg-type]


def mean_dice(
    batches: Sequence[ReferenceBatch],
    predict: Predict,
    structures: Sequence[str],
    activation: Activation,
) -> float:
    """Return the mean over cases of the lungs' Dice, as a cell's test computes it.

    Args:
        batches: the test cases.
        predict: the network.
        structures: its output channels.
        activation: how hard masks follow from probabilities.
    """
    found: list[float] = []
    with torch.inference_mode():
        for batch in batches:
            cases = zip(predict(batch), batch["box"], batch["references"], strict=True)
            for probabilities, box, references in cases:
                reference = references["lungs"]
                height, width = reference.shape
                grid = to_reference_grid(probabilities, box, (height, width))
                mask = structure_masks(grid, structures, activation)["lungs"][0].numpy()
                found.append(overlap_metrics(mask, reference)["dice"])
    return float(np.mean(found))

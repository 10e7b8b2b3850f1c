"""The front door: what a user of the library imports.

``from lungbench import Montgomery, load_system``. Names are imported when they are first used, so
that ``import lungbench`` itself costs nothing. Nothing is computed here: each name lives in the
room that ``PLACES`` says. docs/python.md shows all of it in use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.cell.loading import load_cell as load_cell
    from benchmark.planning.own_systems import (
        load_system as load_system,
    )
    from benchmark.planning.own_systems import (
        system_data as system_data,
    )
    from contract.errors import DataError as DataError
    from contract.errors import UserError as UserError
    from datamodules.augmentation import Augmentation as Augmentation
    from datamodules.cross_dataset import CrossDataset as CrossDataset
    from datamodules.jsrt import JSRT as JSRT
    from datamodules.lidc_idri import LIDCIDRI as LIDCIDRI
    from datamodules.montgomery import Montgomery as Montgomery
    from datamodules.preprocessing import Preprocessing as Preprocessing
    from datamodules.protocol import Protocol as Protocol
    from datamodules.qin_lung_ct import QINLungCT as QINLungCT
    from datamodules.shenzhen import Shenzhen as Shenzhen
    from leaderboards.tables import leaderboard as leaderboard
    from lightning_modules.adversarial import AdversarialSegmenter as AdversarialSegmenter
    from lightning_modules.case_rows import CaseRows as CaseRows
    from lightning_modules.critics.lgan import (
        LganBasicCritic as LganBasicCritic,
    )
    from lightning_modules.critics.lgan import (
        LganEarlyFusionCritic as LganEarlyFusionCritic,
    )
    from lightning_modules.critics.lgan import (
        LganLateFusionCritic as LganLateFusionCritic,
    )
    from lightning_modules.critics.lgan import (
        LganProductCritic as LganProductCritic,
    )
    from lightning_modules.critics.lgan import (
        LganRegressionCritic as LganRegressionCritic,
    )
    from lightning_modules.critics.patch import PatchCritic as PatchCritic
    from lightning_modules.critics.scan import ScanCritic as ScanCritic
    from lightning_modules.generators.attention_bcdu_net import AttentionBCDUNet as AttentionBCDUNet
    from lightning_modules.generators.attention_unet import AttentionUNet as AttentionUNet
    from lightning_modules.generators.bcdu_net import BCDUNet as BCDUNet
    from lightning_modules.generators.defu_net import DEFUNet as DEFUNet
    from lightning_modules.generators.pix2pix import Pix2PixUNet as Pix2PixUNet
    from lightning_modules.generators.r2u_net import AttR2UNet as AttR2UNet
    from lightning_modules.generators.r2u_net import R2UNet as R2UNet
    from lightning_modules.generators.residual_unet import (
        IncepResUNet as IncepResUNet,
    )
    from lightning_modules.generators.residual_unet import (
        ResUNet as ResUNet,
    )
    from lightning_modules.generators.scan import ScanFCN as ScanFCN
    from lightning_modules.generators.unet import UNet as UNet
    from lightning_modules.losses import (
        L1 as L1,
    )
    from lightning_modules.losses import (
        CrossEntropy as CrossEntropy,
    )
    from lightning_modules.losses import (
        DiceCrossEntropy as DiceCrossEntropy,
    )
    from lightning_modules.losses import (
        FocalTversky as FocalTversky,
    )
    from lightning_modules.losses import (
        SegmentationLoss as SegmentationLoss,
    )
    from lightning_modules.losses import (
        SoftDice as SoftDice,
    )
    from lightning_modules.losses import (
        SquaredDice as SquaredDice,
    )
    from lightning_modules.losses import (
        WeightedSum as WeightedSum,
    )
    from lightning_modules.mean_shape import MeanShape as MeanShape
    from lightning_modules.metrics.case_metrics import (
        case_metrics as case_metrics,
    )
    from lightning_modules.metrics.case_metrics import (
        overlap_metrics as overlap_metrics,
    )
    from lightning_modules.metrics.case_metrics import (
        surface_metrics as surface_metrics,
    )
    from lightning_modules.metrics.scan_metrics import volume_metrics as volume_metrics
    from lightning_modules.metrics.scoring import score_masks as score_masks
    from lightning_modules.objectives import (
        AdversarialObjective as AdversarialObjective,
    )
    from lightning_modules.objectives import (
        BinaryCrossEntropyObjective as BinaryCrossEntropyObjective,
    )
    from lightning_modules.objectives import (
        EarthMoverObjective as EarthMoverObjective,
    )
    from lightning_modules.objectives import (
        RegressionEarthMoverObjective as RegressionEarthMoverObjective,
    )
    from lightning_modules.segmenter import Segmenter as Segmenter

PLACES = {
    # Data
    "JSRT": "datamodules.jsrt",
    "Montgomery": "datamodules.montgomery",
    "Shenzhen": "datamodules.shenzhen",
    "LIDCIDRI": "datamodules.lidc_idri",
    "QINLungCT": "datamodules.qin_lung_ct",
    "CrossDataset": "datamodules.cross_dataset",
    "Protocol": "datamodules.protocol",
    "Preprocessing": "datamodules.preprocessing",
    "Augmentation": "datamodules.augmentation",
    # Modules
    "Segmenter": "lightning_modules.segmenter",
    "AdversarialSegmenter": "lightning_modules.adversarial",
    "MeanShape": "lightning_modules.mean_shape",
    "CaseRows": "lightning_modules.case_rows",
    # Generators
    "UNet": "lightning_modules.generators.unet",
    "AttentionUNet": "lightning_modules.generators.attention_unet",
    "AttentionBCDUNet": "lightning_modules.generators.attention_bcdu_net",
    "BCDUNet": "lightning_modules.generators.bcdu_net",
    "DEFUNet": "lightning_modules.generators.defu_net",
    "Pix2PixUNet": "lightning_modules.generators.pix2pix",
    "R2UNet": "lightning_modules.generators.r2u_net",
    "AttR2UNet": "lightning_modules.generators.r2u_net",
    "ResUNet": "lightning_modules.generators.residual_unet",
    "IncepResUNet": "lightning_modules.generators.residual_unet",
    "ScanFCN": "lightning_modules.generators.scan",
    # Critics
    "LganBasicCritic": "lightning_modules.critics.lgan",
    "LganProductCritic": "lightning_modules.critics.lgan",
    "LganEarlyFusionCritic": "lightning_modules.critics.lgan",
    "LganLateFusionCritic": "lightning_modules.critics.lgan",
    "LganRegressionCritic": "lightning_modules.critics.lgan",
    "PatchCritic": "lightning_modules.critics.patch",
    "ScanCritic": "lightning_modules.critics.scan",
    # Losses
    "CrossEntropy": "lightning_modules.losses",
    "DiceCrossEntropy": "lightning_modules.losses",
    "FocalTversky": "lightning_modules.losses",
    "L1": "lightning_modules.losses",
    "SoftDice": "lightning_modules.losses",
    "SquaredDice": "lightning_modules.losses",
    "WeightedSum": "lightning_modules.losses",
    "SegmentationLoss": "lightning_modules.losses",
    # Objectives
    "AdversarialObjective": "lightning_modules.objectives",
    "BinaryCrossEntropyObjective": "lightning_modules.objectives",
    "EarthMoverObjective": "lightning_modules.objectives",
    "RegressionEarthMoverObjective": "lightning_modules.objectives",
    # Metrics
    "case_metrics": "lightning_modules.metrics.case_metrics",
    "overlap_metrics": "lightning_modules.metrics.case_metrics",
    "surface_metrics": "lightning_modules.metrics.case_metrics",
    "volume_metrics": "lightning_modules.metrics.scan_metrics",
    "score_masks": "lightning_modules.metrics.scoring",
    # Whole systems, cells and tables
    "load_system": "benchmark.planning.own_systems",
    "system_data": "benchmark.planning.own_systems",
    "load_cell": "benchmark.cell.loading",
    "leaderboard": "leaderboards.tables",
    "UserError": "contract.errors",
    "DataError": "contract.errors",
}
"""Each public name's module."""

__all__ = [
    "JSRT",
    "L1",
    "LIDCIDRI",
    "AdversarialObjective",
    "AdversarialSegmenter",
    "AttR2UNet",
    "AttentionBCDUNet",
    "AttentionUNet",
    "Augmentation",
    "BCDUNet",
    "BinaryCrossEntropyObjective",
    "CaseRows",
    "CrossDataset",
    "CrossEntropy",
    "DEFUNet",
    "DataError",
    "DiceCrossEntropy",
    "EarthMoverObjective",
    "FocalTversky",
    "IncepResUNet",
    "LganBasicCritic",
    "LganEarlyFusionCritic",
    "LganLateFusionCritic",
    "LganProductCritic",
    "LganRegressionCritic",
    "MeanShape",
    "Montgomery",
    "PatchCritic",
    "Pix2PixUNet",
    "Preprocessing",
    "Protocol",
    "QINLungCT",
    "R2UNet",
    "RegressionEarthMoverObjective",
    "ResUNet",
    "ScanCritic",
    "ScanFCN",
    "SegmentationLoss",
    "Segmenter",
    "Shenzhen",
    "SoftDice",
    "SquaredDice",
    "UNet",
    "UserError",
    "WeightedSum",
    "case_metrics",
    "leaderboard",
    "load_cell",
    "load_system",
    "overlap_metrics",
    "score_masks",
    "surface_metrics",
    "system_data",
    "volume_metrics",
]


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module 'lungbench' has no attribute {name!r}; see lungbench.__all__")
    value = globals()[name] = getattr(import_module(PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__

"""Rows and cells of a suite that nobody ran, made by a script with a fixed seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from contract.cell_record import CellRecord
from contract.rows import CASE_SCHEMA

MATRIX = {
    "montgomery": ("montgomery", "montgomery"),
    "shenzhen": ("shenzhen", "shenzhen"),
    "jsrt": ("jsrt", "jsrt"),
    "m_to_s": ("montgomery", "shenzhen"),
    "s_to_m": ("shenzhen", "montgomery"),
    "leave_jsrt_out": ("montgomery+shenzhen", "jsrt"),
}
"""Training and test sets by protocol."""


def suite_rows(
    systems: list[str],
    protocols: dict[str, tuple[str, str]],
    n_seeds: int,
    n_cases: int,
    structures: tuple[str, ...] = ("lungs",),
    phantom: bool = False,
) -> pa.Table:
    """Every system on every protocol; a case is hard for all systems alike."""
    parts = []
    for protocol, (train, test) in protocols.items():
        away = 0.0 if test in train.split("+") else 1.0
        for structure in structures:
            hard = np.random.default_rng(len(test)).gamma(1.4, 0.012, n_cases)
            for place, system in enumerate(systems):
                for seed in range(n_seeds):
                    generator = np.random.default_rng([place, seed, len(protocol)])
                    skill = 0.004 + 0.0011 * place + away * (0.012 + 0.004 * (place % 5))
                    noise = generator.gamma(1.2, 0.004, n_cases) * (1 + 2 * away)
                    loss = skill + hard * (0.6 + 0.04 * place) * (1 + away) + noise
                    loss += 0.001 * generator.standard_normal()
                    dice = np.clip(1 - loss, 0, 1)
                    if place > 4:
                        dice[generator.integers(n_cases)] = 0.0
                    parts.append(
                        _cell(system, protocol, seed, train, test, structure, dice, phantom)
                    )
    return pa.concat_tables(parts)


def _cell(
    system: str, protocol: str, seed: int, train: str, test: str, structure: str,
    dice: np.ndarray, phantom: bool,
) -> pa.Table:  # fmt: skip
    empty = dice == 0
    far = np.where(empty, 900.0, 4 + 300 * (1 - dice) ** 1.1)
    ids = [f"{test}-{k:04d}" for k in range(len(dice))]
    heart = structure == "heart"
    frame = pd.DataFrame(
        {
            "cardiothoracic_ratio": 0.5 * (2 - dice) if heart else np.nan,
            "reference_cardiothoracic_ratio": 0.5 if heart else np.nan,
            "suite": "synthetic", "system": system, "protocol": protocol, "seed": seed,
            "train_on": train, "test_on": test, "case_id": ids, "patient_id": ids,
            "structure": structure, "dice": dice, "iou": dice / (2 - dice), "precision": dice,
            "recall": dice, "accuracy": dice, "auc": 0.5 + dice / 2, "nsd": dice**2,
            "hausdorff_px": 2 * far, "hausdorff95_px": far, "assd_px": far / 4,
            "reference": "plain", "unit": "image", "empty_prediction": empty,
            "area_px": 2.5e5 * (2 - dice), "reference_area_px": 2.5e5,
            "area_mm2": np.where(test == "montgomery", 4e4 * (2 - dice), np.nan),
            "reference_area_mm2": np.where(test == "montgomery", 4e4, np.nan),
            "disagreement": 0.8 * (1 - dice), "components": 2, "flagged": dice < 0.91,
            "empty_reference": False, "height": 1024, "width": 1024, "phantom": phantom,
            "reduced": False,
            "sex": np.where(np.arange(len(dice)) % 3 == 0, "F", "M"),
            "age": [str(20 + k * 7 % 60) for k in range(len(dice))],
            "finding": np.where(np.arange(len(dice)) % 2 == 0, "normal", "PTB"),
        }
    )  # fmt: skip
    absent = {name: None for name in CASE_SCHEMA.names if name not in frame}
    frame = frame.assign(**absent)[CASE_SCHEMA.names]
    return pa.Table.from_pandas(frame, schema=CASE_SCHEMA, preserve_index=False)


def suite_cells(
    systems: list[str], protocols: dict[str, tuple[str, str]], n_seeds: int, phantom: bool = False
) -> list[CellRecord]:
    """A finished cell's record for each of the rows' cells."""
    return [
        CellRecord(
            system, protocol, seed, "done", suite="synthetic", n_train=138, split_hash="5f3a9c1d",
            phantom=phantom, versions={"torch": "2.15.0", "pytorch-lightning": "2.6.0"},
            commit="0123abcd", device="NVIDIA H200", wall_s=900.0 + 60 * place,
            parameters=int(4e7 / 1.25 ** ((place * 5) % 17)),
            gpu_hours=2.0 / 1.2 ** ((place * 4) % 13),
            images_per_s=20 * 1.25 ** ((place * 5) % 17),
            peak_memory_mib=2000.0 + 700 * place,
        )
        for place, system in enumerate(systems)
        for protocol in protocols
        for seed in range(n_seeds)
    ]  # fmt: skip

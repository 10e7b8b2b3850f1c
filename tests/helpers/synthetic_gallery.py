"""Galleries of cells that nobody ran: pictures and outlines as heavy as real ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa

SIDE = 256


def films(count: int, seed: int = 0) -> list[bytes]:
    """Different WebP pictures of some 4 kB, as a chest film gives."""
    generator = np.random.default_rng(seed)
    pictures = []
    for k in range(count):
        if k < 12:
            rough = cv2.GaussianBlur(generator.normal(0, 60, (SIDE, SIDE)), (0, 0), 1.6)
            smooth = cv2.GaussianBlur(generator.normal(0, 900, (SIDE, SIDE)), (0, 0), 14)
            film = np.clip(120 + 0.35 * rough + smooth, 0, 255).astype(np.uint8)
            pictures.append(
                cv2.imencode(".webp", film, [cv2.IMWRITE_WEBP_QUALITY, 65])[1].tobytes()
            )
        else:
            pictures.append(pictures[k % 12] + k.to_bytes(4, "little"))
    return pictures


def two_lungs(generator: np.random.Generator, points: int = 38) -> list[list[float]]:
    """Two wobbly outlines."""
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    outlines = []
    for centre in (78, 178):
        radius = 1 + 0.05 * generator.standard_normal(points)
        x, y = centre + 42 * radius * np.cos(angles), 128 + 85 * radius * np.sin(angles)
        outlines.append((np.round(2 * np.stack([x, y], 1)) / 2).ravel().tolist())
    return outlines


def write_galleries(
    suite_folder: Path,
    rows: pa.Table,
    pictures: Sequence[bytes],
    terms: dict[str, str] | None = None,
    odd_case: str = "",
) -> None:
    """Write a gallery for every system and protocol of some rows, of seed 0.

    Args:
        suite_folder: ``<runs>/<suite>``.
        rows: rows of cases.
        pictures: what ``films`` made.
        terms: of the data sets.
        odd_case: stands before the name of every case.
    """
    frame: pd.DataFrame = rows.select(
        ["system", "protocol", "seed", "structure", "test_on", "case_id", "dice", "hausdorff_px"]
    ).to_pandas()
    frame = frame[(frame["structure"] == "lungs") & (frame["seed"] == 0)]
    for (system, protocol), of in frame.groupby(["system", "protocol"]):
        generator = np.random.default_rng([len(system), len(protocol)])
        folder = suite_folder / "cells" / system / protocol / "seed-0" / "gallery"
        folder.mkdir(parents=True)
        found = of.sort_values("dice").to_dict("records")
        middle = len(found) // 2
        kinds = {"worst": found[:5], "median": found[middle - 2 : middle + 3], "best": found[-5:]}
        cases: list[dict[str, Any]] = []
        for kind, chosen in kinds.items():
            for case in chosen:
                place = int(hashlib.blake2b(case["case_id"].encode()).hexdigest()[:8], 16)
                picture = pictures[place % len(pictures)]
                name = f"{hashlib.blake2b(picture, digest_size=16).hexdigest()}.webp"
                (folder / name).write_bytes(picture)
                cases.append(
                    {
                        "kind": kind, "test_on": case["test_on"],
                        "case_id": odd_case + case["case_id"],
                        "scan_id": None, "slice_index": None, "dice": case["dice"],
                        "hausdorff_px": case["hausdorff_px"], "hausdorff_mm": None,
                        "reference": "plain", "picture": name, "height": SIDE, "width": SIDE,
                        "prediction_contours": two_lungs(generator),
                        "reference_contours": two_lungs(np.random.default_rng(place)),
                        "contours_left_out": 0,
                    }
                )  # fmt: skip
        content = {"format": 1, "structure": "lungs", "terms": terms or {}, "cases": cases}
        (folder / "gallery.json").write_text(json.dumps(content))

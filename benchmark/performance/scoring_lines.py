"""Scoring: surface distances beside MONAI's and surface-distance's, and all columns of a case."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.performance.lines import (
    Goal,
    Line,
    Measured,
    Setting,
    require_equal,
    require_peer,
)
from benchmark.performance.timing import alone, in_turn, wall
from contract.arrays import Mask
from datamodules.phantoms import write_montgomery
from datamodules.preprocessing import resize, resize_mask
from datamodules.sources import open_source
from lightning_modules.metrics.case_metrics import surface_metrics
from lightning_modules.metrics.scoring import score_case
from lightning_modules.metrics.surfaces import volume_surface

SURFACE_TOLERANCE = 2.0
"""Of surface Dice, in the spacing's unit."""
NOISE = 0.005
"""Share of a noisy mask's pixels that are flipped."""
VOLUME = (200, 512, 512)
VOLUME_SPACING = (1.5, 0.7, 0.7)
ROUNDING = 1e-5
"""Of MONAI's 32 bits, as a share."""

Numbers = tuple[float, float, float, float]
"""HD, HD95, ASSD and surface Dice."""


@dataclass(frozen=True)
class MaskPair:
    """Two masks to compare, ``(H, W)`` or ``(D, H, W)``, and their spacing."""

    prediction: Mask
    reference: Mask
    spacing: tuple[float, ...]


def phantom_lungs(setting: Setting, size: int) -> Mask:
    """Return the lungs of a phantom film ``(size, size)``."""
    root = setting.place("scored_film")
    if not (root / "MontgomerySet").exists():
        write_montgomery(root, 2, size=1024)
    source = open_source("montgomery", root)
    case = source.cases()[0]
    height, width = source.read_image(case).shape
    return resize_mask(source.read_masks(case, (height, width))["lungs"], (size, size))


def film_pair(setting: Setting, size: int, noise: float = 0.0) -> MaskPair:
    """Return a film's lungs and themselves, moved by a hundredth of the side, perhaps noisy."""
    reference = phantom_lungs(setting, size)
    prediction = np.roll(reference, (size // 100, size // 200), axis=(0, 1))
    prediction ^= np.random.default_rng(0).random(reference.shape) < noise
    return MaskPair(prediction, reference, (1.0, 1.0))


def scan_pair(setting: Setting) -> MaskPair:
    """Return a volume of two lungs, which grow and shrink along it, and itself, moved."""
    depth, height, width = VOLUME
    lungs = phantom_lungs(setting, height)
    reference = np.zeros(VOLUME, np.bool_)
    for place in range(depth // 10, depth - depth // 10):
        share = math.sin(math.pi * place / depth)
        sides = (int(height * share) // 2 * 2, int(width * share) // 2 * 2)
        top, left = (height - sides[0]) // 2, (width - sides[1]) // 2
        inside = resize_mask(lungs, sides)
        reference[place, top : top + sides[0], left : left + sides[1]] = inside
    prediction = np.roll(reference, (1, 3, 2), axis=(0, 1, 2))
    return MaskPair(prediction, reference, VOLUME_SPACING)


def measured_here(pair: MaskPair) -> Numbers:
    """Return the project's numbers."""
    if pair.reference.ndim == 3:
        found = volume_surface(pair.prediction, pair.reference, pair.spacing, SURFACE_TOLERANCE)
        return found.hausdorff, found.hausdorff95, found.assd, found.nsd
    columns = surface_metrics(pair.prediction, pair.reference, tolerance=SURFACE_TOLERANCE)
    names = ("hausdorff_px", "hausdorff95_px", "assd_px", "nsd")
    hausdorff, hausdorff95, assd, nsd = (float(columns[name] or 0) for name in names)
    return hausdorff, hausdorff95, assd, nsd


def beside_monai(make: Callable[[Setting], MaskPair], rounds: int, setting: Setting) -> Measured:
    """Time against MONAI's HD95, ASSD and surface Dice; HD, a fourth call, is left out of its time.

    Raises:
        DifferentValuesError: if one of the four numbers differs from MONAI's.
    """
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_dice import compute_surface_dice
    from monai.metrics.surface_distance import compute_average_surface_distance

    pair = make(setting)
    ours, theirs = (torch.from_numpy(m)[None, None] for m in (pair.prediction, pair.reference))
    limits = [SURFACE_TOLERANCE]
    shared: dict[str, Any] = {"include_background": True, "spacing": list(pair.spacing)}

    def hausdorff(percentile: float | None) -> torch.Tensor:
        found: torch.Tensor = compute_hausdorff_distance(
            ours, theirs, percentile=percentile, **shared
        )
        return found

    def three() -> list[float]:
        return [
            float(hausdorff(95)),
            float(compute_average_surface_distance(ours, theirs, symmetric=True, **shared)),
            float(compute_surface_dice(ours, theirs, class_thresholds=limits, **shared)),
        ]

    names = ("HD", "HD95", "ASSD", "surface Dice")
    numbers = zip(names, measured_here(pair), [float(hausdorff(None)), *three()], strict=True)
    for name, here, beside in numbers:
        require_equal(f"{name} against MONAI", here, beside, ROUNDING * abs(beside))
    pairs = in_turn(
        wall(lambda: measured_here(pair)), wall(three), min(rounds, setting.rounds), warm_up=False
    )
    return Measured(pairs.speed, f"{_ms(pairs.here.middle)} here; HD, HD95, ASSD, NSD equal")


def beside_surface_distance(
    make: Callable[[Setting], MaskPair], rounds: int, setting: Setting
) -> Measured:
    """Time against the package surface-distance.

    Its surfaces run between the centres of pixels and are weighted by length, so that its numbers
    are others by definition. Either surface lies within half a pixel's diagonal of the other's, so
    the two Hausdorff distances lie within a whole one.

    Raises:
        DifferentValuesError: if they lie further apart.
    """
    require_peer("surface_distance")
    import surface_distance as peer

    pair = make(setting)

    def theirs() -> Numbers:
        found = peer.compute_surface_distances(pair.reference, pair.prediction, pair.spacing)
        return (
            float(peer.compute_robust_hausdorff(found, 100)),
            float(peer.compute_robust_hausdorff(found, 95)),
            float(np.mean(peer.compute_average_surface_distance(found))),
            float(peer.compute_surface_dice_at_tolerance(found, SURFACE_TOLERANCE)),
        )

    here, beside = measured_here(pair)[0], theirs()[0]
    within = math.hypot(*pair.spacing)
    require_equal("HD against surface-distance", here, beside, within * (1 + ROUNDING))
    pairs = in_turn(
        wall(lambda: measured_here(pair)), wall(theirs), min(rounds, setting.rounds), warm_up=False
    )
    apart = f"HD {here:.2f} and {beside:.2f}, whose definitions differ by up to {within:.2f}"
    return Measured(pairs.speed, f"{_ms(pairs.here.middle)} here; {apart}")


def one_case(setting: Setting) -> Measured:
    """Time all columns of one film at 1024², two classes, from probabilities at 512²."""
    lungs = phantom_lungs(setting, 1024)
    small = resize_mask(lungs, (512, 512))
    soft = _probability(small)
    probabilities = torch.from_numpy(np.stack([1 - soft, soft]))
    target = torch.from_numpy(np.stack([~small, small]).astype(np.float32))
    mirrored = np.roll(small, 2, axis=1)
    box, spacing = (0, 0, 512, 512), (0.4, 0.4)
    names = ("background", "lungs")

    def score() -> None:
        score_case(
            probabilities, target, {"lungs": lungs}, box, spacing, names, "softmax",
            mirrored, small,
        )  # fmt: skip

    sample = alone(lambda: 1000 * wall(score)(), 3 * setting.rounds)
    return Measured(sample, "one film, one core, mirrored opinion and auc included")


def _probability(mask: Mask) -> NDArray[np.float32]:
    """Return a network's likely answer: soft at the border, slightly moved, never quite sure."""
    grey = resize(mask.astype(np.uint8) * np.uint8(255), mask.shape[:2])
    moved = np.roll(grey, 3, axis=0).astype(np.float32) / 255
    soft = np.asarray(cv2.GaussianBlur(moved, (0, 0), 4.0), np.float32)
    soft += np.float32(0.02) * np.random.default_rng(0).standard_normal(soft.shape, np.float32)
    return np.clip(soft, 0.001, 0.999)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


_FASTER = "× as fast"
_CASES: tuple[tuple[str, Callable[[Setting], MaskPair], int, float], ...] = (
    ("512², clean", partial(film_pair, size=512), 15, 12),
    ("512², noisy", partial(film_pair, size=512, noise=NOISE), 9, 10),
    ("1024², clean", partial(film_pair, size=1024), 9, 12),
    ("200 × 512², a scan", scan_pair, 1, 6),
)
_DISTANCES = "HD, HD95, ASSD and surface Dice"
SCORING = (
    *(
        Line(f"2{letter}", "scoring", f"{_DISTANCES}, {name}", "MONAI's HD95, ASSD, surface Dice",
             _FASTER, partial(beside_monai, make, rounds), Goal(least, "at least"))
        for letter, (name, make, rounds, least) in zip("abcd", _CASES, strict=True)
    ),
    *(
        Line(f"2{letter}", "scoring", f"{_DISTANCES}, {name}", "surface-distance", _FASTER,
             partial(beside_surface_distance, make, rounds), Goal(4, "at least"))
        for letter, (name, make, rounds, _) in zip("efgh", _CASES, strict=True)
    ),
    Line("9a", "scoring", "one case at 1024², all columns", "nothing", "ms", one_case,
         Goal(60, "at most")),
)  # fmt: skip
"""The lines about scoring."""

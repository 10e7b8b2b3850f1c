"""What is known of a film's lungs without a reference, and a fixed rule that flags poor ones.

The rule's constants follow from anatomy and from what counts as poor on the leaderboard (Dice
below .90), and are the same for all systems. The limit on disagreement is also what films of
hospitals that trained say (docs/make_flag.py); none of another hospital chose anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from contract.arrays import Mask
from lightning_modules.metrics.case_metrics import overlap_metrics

SPECK_SHARE = 0.001
"""Parts below this share of the film are not counted: about 12 × 12 mm of a 35 × 43 cm film, less
than any part of a lung that a reader would draw."""

MOST_DISAGREEMENT = 0.10
"""Two opinions of one network that differ by more cannot both have a Dice far above .90."""

COMPONENTS = (1, 2)
"""Two lungs, which a mask may join at the midline."""

AREA_SHARES = (0.10, 0.60)
"""Lungs fill about a quarter to a third of a chest film. Below a tenth a lung is missing, above six
tenths the mask holds more than lungs."""


@dataclass(frozen=True)
class Quality:
    """What is known of a predicted mask of the lungs.

    Attributes:
        disagreement: 1 - Dice between two opinions on the film, in [0, 1], or None.
        components: connected parts of the mask, specks left out.
        reasons: why the mask is suspect, in words; none for a plausible one.
    """

    disagreement: float | None
    components: int
    reasons: tuple[str, ...]

    @property
    def flagged(self) -> bool:
        """Whether the mask should be looked at."""
        return bool(self.reasons)


def disagreement(one: Mask, other: Mask) -> float:
    """Return 1 - Dice of two masks ``(H, W)``, in [0, 1]; 0 where both are empty."""
    return 1 - overlap_metrics(one, other)["dice"]


def components(mask: Mask) -> int:
    """Count a mask's 8-connected parts that fill at least ``SPECK_SHARE`` of the image.

    Args:
        mask: ``(H, W)``.
    """
    pixels = mask.view(np.uint8) if mask.flags.c_contiguous else mask.astype(np.uint8)
    left, top, width, height = cv2.boundingRect(pixels)
    if not width:
        return 0
    inside = pixels[top : top + height, left : left + width]
    areas = cv2.connectedComponentsWithStats(inside, connectivity=8)[2]
    return int(np.count_nonzero(areas[1:, cv2.CC_STAT_AREA] >= SPECK_SHARE * mask.size))


def assess(lungs: Mask, differing: float | None, parts: int | None = None) -> Quality:
    """Judge a predicted mask of the lungs.

    Args:
        lungs: the union of both lungs ``(H, W)``, the whole film and nothing else.
        differing: 1 - Dice between two opinions on the film (the mirrored film's prediction,
            mirrored back; another seed's), or None.
        parts: the mask's ``components``, where they are counted already.
    """
    parts = components(lungs) if parts is None else parts
    share = np.count_nonzero(lungs) / lungs.size
    reasons = _of_disagreement(differing)
    if parts not in COMPONENTS:
        reasons.append(f"{parts} connected parts (1 or 2)")
    if not AREA_SHARES[0] <= share <= AREA_SHARES[1]:
        low, high = AREA_SHARES
        reasons.append(f"lungs fill {share:.0%} of the film ({low:.0%} to {high:.0%})")
    return Quality(differing, parts, tuple(reasons))


def doubts_of_scan(lungs: int, differing: float) -> tuple[str, ...]:
    """Return why the predicted lungs of a whole CT scan are suspect, in words; mostly nothing.

    Parts and shares of the image say nothing here: slices hold as much lung as they do.

    Args:
        lungs: voxels of both lungs.
        differing: 1 - Dice between two opinions on the scan, as a volume.
    """
    return (*_of_disagreement(differing), *([] if lungs else ["no lung in any slice"]))


def _of_disagreement(differing: float | None) -> list[str]:
    if differing is None or differing <= MOST_DISAGREEMENT:
        return []
    return [f"predictions differ by {differing:.3f} (at most {MOST_DISAGREEMENT:.2f})"]

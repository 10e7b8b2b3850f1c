"""The arrays that the rooms hand to one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
"""True inside of a structure: ``(H, W)``, or ``(D, H, W)`` of a scan."""

Spacing = tuple[float, float]
"""Millimetres from one pixel to the next, down and along."""

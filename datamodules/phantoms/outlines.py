"""Curves in millimetres from which the phantom's chest is built."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Vertices ``(K, 2)`` as ``(x, y)`` in millimetres."""

_KNOT = np.linspace(0.0, 1.0, 8, endpoint=False)
_CATMULL_ROM = 0.5 * np.stack(
    [
        -_KNOT + 2 * _KNOT**2 - _KNOT**3,
        2 - 5 * _KNOT**2 + 3 * _KNOT**3,
        _KNOT + 4 * _KNOT**2 - 3 * _KNOT**3,
        -(_KNOT**2) + _KNOT**3,
    ],
    axis=1,
)

_WINDOW = np.arange(4)
_TURN = np.linspace(0, 2 * np.pi, 40, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


def smooth_line(points: Points) -> Points:
    """Run a Catmull-Rom curve through the points ``(K, 2)``; the ends stay, nothing wraps."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    windows = padded[np.arange(len(points) - 1)[:, None] + _WINDOW]
    curve = (_CATMULL_ROM @ windows).reshape(-1, 2)
    return np.concatenate([curve, points[-1:]])


def ellipse(
    centre: tuple[float, float],
    radii: tuple[float, float],
    tilt: float = 0.0,
    wobble: float = 0.0,
) -> Points:
    """Return the outline ``(40, 2)`` of an ellipse in mm.

    Args:
        centre: its middle.
        radii: half axes along x and y before the tilt.
        tilt: rotation in radians.
        wobble: irregularity as a share of the radius.
    """
    stretch = 1 + wobble * (np.sin(3 * _TURN + 7 * tilt) + 0.6 * np.sin(5 * _TURN))
    cos, sin = np.cos(tilt), np.sin(tilt)
    turned = (_CIRCLE * radii) @ np.array([[cos, sin], [-sin, cos]])
    return np.asarray(turned * stretch[:, None] + centre)

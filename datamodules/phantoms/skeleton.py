"""The frame of the phantom's chest: trunk with arms, ribs, clavicles and shoulder blades."""

from __future__ import annotations

import numpy as np

from datamodules.phantoms.outlines import Points, smooth_line

_ALONG = np.linspace(0, 1, 14)
_LEVELS = np.linspace(-0.02, 0.92, 10)
"""Where the ribs leave the spine, as shares of the lungs' height."""


def torso(rng: np.random.Generator, width: float, wall: float, height: float) -> tuple[Points, ...]:
    """Return the closed outlines of the trunk with the neck, and of the left and the right arm.

    Args:
        rng: the only source of chance.
        width: from the spine to a lung's lateral edge, mm.
        wall: from the spine to the skin, mm.
        height: of the lungs, mm.
    """
    neck = rng.uniform(48, 64)
    shoulder = rng.uniform(-20, 15)
    half = smooth_line(
        np.array(
            [
                [neck, -260],
                [neck, -85],
                [neck + 22, shoulder - 48],
                [width, shoulder - 22],
                [wall + 40, shoulder - 2],
                [wall + 52, shoulder + 40],
                [wall + 22, 85],
                [wall + 2, 125],
                [wall, height * 0.8],
                [wall - 4, height + 320],
            ]
        )
    )
    spread = rng.uniform(10, 110)
    arm = smooth_line(
        np.array(
            [
                [wall - 20, shoulder + 5],
                [wall + 40, shoulder],
                [wall + 70 + spread * 0.3, shoulder + 60],
                [wall + 100 + spread, 360],
                [wall + 25 + spread, 360],
                [wall + 14, 110],
                [wall - 20, 80],
            ]
        )
    )
    return np.concatenate([half, half[::-1] * (-1, 1)]), arm, arm * (-1, 1)


def ribs(
    rng: np.random.Generator, width: float, height: float, *, anterior: bool
) -> tuple[Points, ...]:
    """Return the ribs of both sides as open lines, from the spine (or the wall) onwards."""
    count = 7 if anterior else 10
    along = _ALONG
    level = _LEVELS[:count, None] + rng.normal(0, 0.004, (count, 1))
    droop = height * (0.10 + 0.13 * level) * rng.uniform(0.85, 1.2)
    reach = width * 1.06 * (1 - 0.55 * (1 - np.clip((level + 0.14) / 0.5, 0, 1)) ** 2)
    if anterior:
        start_y = height * level + droop
        x = reach + (0.32 * width - reach) * along
        y = start_y + height * (0.16 + 0.10 * level) * along**0.8
    else:
        x = 20 + (reach - 20) * np.sin(along * np.pi / 2)
        y = height * level - 10 * np.sin(np.pi * along) + droop * along**2.2
    lines = np.stack(np.broadcast_arrays(x, y), axis=-1)
    shift = rng.normal(0, 2, 2)
    left, right = lines + np.array((0, shift[0])), lines * (-1, 1) + np.array((0, shift[1]))
    return (*left, *right)


def clavicles(rng: np.random.Generator, width: float) -> tuple[Points, Points]:
    """Return the patient's right and left clavicle as open lines, from the sternum outwards."""
    rise = rng.normal(0, 9, 2)
    lines = []
    for side, lift in zip((-1, 1), rise, strict=True):
        outer = 12 - lift
        inner_end, outer_end = [[13, 40], [45, 34]], [[width + 5, outer - 6], [width + 34, outer]]
        points = np.array([*inner_end, [82, 17 - lift / 2], *outer_end])
        lines.append(smooth_line(points * (side, 1.0)))
    return lines[0], lines[1]


def scapulae(rng: np.random.Generator, width: float) -> tuple[Points, ...]:
    """Return the closed outlines of both shoulder blades."""
    edge = rng.uniform(0.9, 1.12) * width
    blade = smooth_line(
        edge * np.array([1.0, 0.0])
        + np.array([[10, 6], [-4, 70], [4, 140], [26, 90], [40, 40], [62, 18], [50, 4], [10, 6]])
    )
    return blade, blade * (-1, 1)

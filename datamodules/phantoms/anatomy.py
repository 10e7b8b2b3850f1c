"""A random chest in millimetres: outlines as polygons, nothing yet about films or files.

The frame: ``x`` runs to the image's right, which is the patient's left; ``y`` runs down; the origin
lies on the spine at the height of the lung apices.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Blob:
    """An opacity or a bubble: an ellipse with a soft edge.

    Attributes:
        outline: its border, ``(K, 2)`` in mm.
        density: what it adds to the attenuation (negative for gas).
        softness: blur of its edge in mm.
    """

    outline: Points
    density: float
    softness: float

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the outline as ``(x, y)`` in mm."""
        x, y = self.outline.mean(axis=0)
        return float(x), float(y)


@dataclass(frozen=True)
class Anatomy:
    """One patient's chest; all outlines are ``(K, 2)`` arrays in mm.

    Attributes:
        right_lung: closed outline of the patient's right lung (image left).
        left_lung: closed outline of the patient's left lung, its medial part under the heart.
        heart: closed outline.
        heart_core: the part of the heart that no lung mask reaches into; smaller than ``heart``,
            so that lung and heart masks overlap by a thin rim, as in SCR.
        mediastinum: closed outline.
        abdomen: closed outline below both domes of the diaphragm.
        torso: closed outlines of the trunk with the neck, and of both arms.
        posterior_ribs: open lines, bright.
        anterior_ribs: open lines, faint.
        clavicles: two open lines, the patient's right first.
        vessels: open lines from both hila into the lungs.
        scapulae: open lines.
        blobs: breasts, hila and the gastric bubble.
        opacities: tuberculous infiltrates or nodules inside the lungs; empty for normal cases.
        lung_height: mm from apex to costophrenic angle.
        vertebra: height of one vertebra in mm.
    """

    right_lung: Points
    left_lung: Points
    heart: Points
    heart_core: Points
    mediastinum: Points
    abdomen: Points
    torso: tuple[Points, ...]
    posterior_ribs: tuple[Points, ...]
    anterior_ribs: tuple[Points, ...]
    clavicles: tuple[Points, Points]
    vessels: tuple[Points, ...]
    scapulae: tuple[Points, ...]
    blobs: tuple[Blob, ...]
    opacities: tuple[Blob, ...]
    lung_height: float
    vertebra: float


def smooth_line(points: Points) -> Points:
    """Run a Catmull-Rom curve through the points ``(K, 2)``; the ends stay, nothing wraps."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    windows = np.stack([padded[i : i + len(points) - 1] for i in range(4)], axis=1)
    curve = np.einsum("tk,nkd->ntd", _CATMULL_ROM, windows).reshape(-1, 2)
    return np.concatenate([curve, points[-1:]])


def ellipse(
    centre: tuple[float, float], radii: tuple[float, float], tilt: float = 0.0, wobble: float = 0.0
) -> Points:
    """Return the outline of an ellipse, mm; ``tilt`` in radians, ``wobble`` a share of the radius."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    stretch = 1 + wobble * np.sin(3 * angle + 7 * tilt) + 0.6 * wobble * np.sin(5 * angle)
    x, y = radii[0] * stretch * np.cos(angle), radii[1] * stretch * np.sin(angle)
    cos, sin = np.cos(tilt), np.sin(tilt)
    return np.stack([centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y], axis=1)


def sample_anatomy(rng: np.random.Generator, *, abnormal: bool, nodule: bool = False) -> Anatomy:
    """Draw one chest.

    Args:
        rng: the only source of chance.
        abnormal: whether the lungs hold opacities.
        nodule: one round nodule (JSRT) instead of infiltrates (tuberculosis).
    """
    height = rng.normal(232, 26)
    width = rng.normal(128, 9) * (1 + 0.25 * (height / 232 - 1))
    heart = _heart(rng, width, height)
    right, right_base = _lung(rng, -1, width * rng.uniform(0.98, 1.06), height)
    left, left_base = _lung(rng, 1, width * rng.uniform(0.92, 1.0), height * rng.uniform(0.96, 1.04))
    centre = heart.mean(axis=0)
    abdomen = np.concatenate([right_base, left_base[::-1]])
    floor = np.array([[260.0, height + 40], [260.0, height + 320]])
    abdomen = np.concatenate([floor * (-1, 1), abdomen, floor])
    abdomen[[0, 1]] = abdomen[[1, 0]]
    return Anatomy(
        right_lung=right,
        left_lung=left,
        heart=heart,
        heart_core=centre + (heart - centre) * 0.955,
        mediastinum=_mediastinum(rng, height),
        abdomen=abdomen,
        torso=_torso(rng, width, height),
        posterior_ribs=_ribs(rng, width, height, anterior=False),
        anterior_ribs=_ribs(rng, width, height, anterior=True),
        clavicles=_clavicles(rng, width),
        vessels=_vessels(rng, width, height),
        scapulae=_scapulae(rng, width),
        blobs=_blobs(rng, width, height),
        opacities=_opacities(rng, width, height, nodule) if abnormal else (),
        lung_height=height,
        vertebra=rng.uniform(19, 25),
    )


def _lung(
    rng: np.random.Generator, side: int, width: float, height: float
) -> tuple[Points, Points]:
    """Return one lung's outline and its base, from lateral to medial; ``side`` +1 is the left."""
    jitter = rng.normal(0, 1, 8)
    apex = 0.36 + 0.05 * jitter[0]
    bulge = 0.03 * jitter[1]
    tip = 1.0 + 0.035 * jitter[2]
    dome = (0.83 if side < 0 else 0.87) + 0.035 * jitter[3]
    hilum = 0.20 + 0.02 * jitter[4]
    base_medial = 0.90 + 0.02 * jitter[5]
    notch = 0.27 + 0.03 * jitter[6]
    tilt = 0.03 * jitter[7]
    medial_low = 0.20 if side < 0 else 0.14
    lateral = [
        [apex, 0.0],
        [0.62, 0.05],
        [0.80, 0.17],
        [0.91 + bulge, 0.38],
        [0.97 + bulge, 0.62],
        [1.0, 0.84],
        [1.0, tip],
    ]
    base = [
        [1.0, tip],
        [0.88, dome + 0.55 * (tip - dome)],
        [0.64, dome + 0.01],
        [0.42, dome],
        [medial_low, base_medial],
    ]
    medial = [
        [medial_low, base_medial],
        [0.18, 0.72],
        [hilum + 0.02, 0.52],
        [notch if side > 0 else hilum - 0.02, 0.34],
        [0.16, 0.18],
        [0.20, 0.06],
        [apex, 0.0],
    ]
    curves = [smooth_line(_place(part, side, width, height, tilt)) for part in (lateral, base, medial)]
    return np.concatenate([c[:-1] for c in curves]), curves[1]


def _place(part: list[list[float]], side: int, width: float, height: float, tilt: float) -> Points:
    points = np.asarray(part)
    x = side * width * (points[:, 0] + tilt * (points[:, 1] - 0.5))
    return np.stack([x, height * points[:, 1]], axis=1)


def _heart(rng: np.random.Generator, width: float, height: float) -> Points:
    size = rng.normal(1.0, 0.12)
    apex_x = width * np.clip(0.60 * size, 0.40, 0.82)
    lean = rng.uniform(-0.02, 0.03)
    shape = np.array(
        [
            [-0.12, 0.45],
            [0.16, 0.42],
            [0.26, 0.50],
            [0.40, 0.62 + lean],
            [0.86, 0.78 + lean],
            [1.0, 0.90 + lean],
            [0.80, 0.98 + lean],
            [0.20, 0.98],
            [-0.26, 0.92],
            [-0.40, 0.76],
            [-0.30, 0.58],
            [-0.12, 0.45],
        ]
    )
    return smooth_line(shape * (apex_x, height))


def _mediastinum(rng: np.random.Generator, height: float) -> Points:
    half = rng.uniform(24, 32)
    knob = half + rng.uniform(4, 14)
    side = [[knob * 0.85, -160], [half, -20], [half, 30], [knob, 0.30 * height], [half, 0.45 * height]]
    right = [[-half * 0.95, 0.45 * height], [-half, 30], [-half, -20], [-knob * 0.85, -160]]
    low = [[half * 0.9, height + 300], [-half * 0.9, height + 300]]
    return np.array([*side, *low, *right], dtype=np.float64)


def _torso(rng: np.random.Generator, width: float, height: float) -> tuple[Points, ...]:
    wall = width + rng.uniform(14, 40)
    neck = rng.uniform(50, 66)
    shoulder = rng.uniform(-25, 15)
    half = np.array(
        [
            [neck, -260],
            [neck, -70],
            [neck + 25, shoulder - 32],
            [wall + 20, shoulder],
            [wall + 12, 60],
            [wall, 110],
            [wall + 4, height * 0.8],
            [wall - 4, height + 320],
        ]
    )
    spread = rng.uniform(20, 110)
    arm = np.array(
        [
            [wall - 20, shoulder - 10],
            [wall + 40, shoulder + 2],
            [wall + 66 + spread * 0.3, shoulder + 60],
            [wall + 90 + spread, 330],
            [wall + 20 + spread, 330],
            [wall + 6, 100],
            [wall - 20, 80],
        ]
    )
    trunk = np.concatenate([half, half[::-1] * (-1, 1)])
    return trunk, smooth_line(arm), smooth_line(arm * (-1, 1))


def _ribs(
    rng: np.random.Generator, width: float, height: float, *, anterior: bool
) -> tuple[Points, ...]:
    count = 7 if anterior else 10
    along = np.linspace(0, 1, 14)
    level = np.linspace(-0.02, 0.92, 10)[:count, None]
    level = level + rng.normal(0, 0.004, (count, 1))
    droop = height * (0.10 + 0.13 * level) * rng.uniform(0.85, 1.2)
    reach = width * 1.06 * (1 - 0.55 * (1 - np.clip((level + 0.14) / 0.5, 0, 1)) ** 2)
    if anterior:
        start_y = height * level + droop
        x = reach + (0.32 * width - reach) * along
        y = start_y + height * (0.16 + 0.10 * level) * along**0.8
    else:
        x = 20 + (reach - 20) * np.sin(along * np.pi / 2)
        y = height * level - 12 * np.sin(np.pi * along) + droop * along**3
    lines = np.stack(np.broadcast_arrays(x, y), axis=-1)
    shift = rng.normal(0, 2, 2)
    return tuple(lines + (0, shift[0])) + tuple(lines * (-1, 1) + (0, shift[1]))


def _clavicles(rng: np.random.Generator, width: float) -> tuple[Points, Points]:
    rise = rng.normal(0, 9, 2)
    lines = []
    for side, lift in zip((-1, 1), rise, strict=True):
        outer = 12 - lift
        points = [[14, 38], [45, 33], [80, 20 - lift / 2], [width + 12, outer], [width + 40, outer - 4]]
        lines.append(smooth_line(np.array(points) * (side, 1.0)))
    return lines[0], lines[1]


def _scapulae(rng: np.random.Generator, width: float) -> tuple[Points, ...]:
    edge = rng.uniform(0.9, 1.12) * width
    blade = np.array([[edge + 14, 8], [edge + 2, 70], [edge + 8, 130], [edge + 34, 60], [edge + 40, 14]])
    return smooth_line(blade), smooth_line(blade * (-1, 1))


def _vessels(rng: np.random.Generator, width: float, height: float) -> tuple[Points, ...]:
    lines = []
    for side in (-1, 1):
        hilum = np.array([side * 0.27 * width, 0.43 * height])
        angles = np.linspace(-1.35, 1.45, 9) + rng.normal(0, 0.08, 9)
        length = rng.uniform(0.25, 0.62, 9) * height * (0.75 + 0.25 * np.abs(np.sin(angles)))
        heading = np.stack([side * np.cos(angles) * 0.75, np.sin(angles)], axis=1)
        bend = np.stack([-heading[:, 1], heading[:, 0]], axis=1) * rng.normal(0, 0.10, (9, 1))
        for i in range(9):
            t = np.linspace(0.0, 1.0, 7)[:, None]
            lines.append(hilum + length[i] * (heading[i] * t + bend[i] * t**2))
    return tuple(lines)


def _blobs(rng: np.random.Generator, width: float, height: float) -> tuple[Blob, ...]:
    blobs = []
    for side in (-1, 1):
        centre = (side * 0.24 * width, height * rng.uniform(0.40, 0.46))
        blobs.append(Blob(ellipse(centre, (13, 24), 0.3 * side, 0.1), 0.10, 7))
    if rng.random() < 0.4:
        low, size = height * rng.uniform(0.80, 0.98), rng.uniform(0.36, 0.5) * width
        for side in (-1, 1):
            centre = (side * 0.62 * width, low)
            blobs.append(Blob(ellipse(centre, (size, size * 1.05)), rng.uniform(0.05, 0.10), 6))
    bubble = (rng.uniform(0.42, 0.62) * width, height * rng.uniform(0.99, 1.05))
    blobs.append(Blob(ellipse(bubble, (rng.uniform(14, 32), rng.uniform(7, 15)), 0.1), -0.22, 3))
    return tuple(blobs)


def _opacities(
    rng: np.random.Generator, width: float, height: float, nodule: bool
) -> tuple[Blob, ...]:
    side = rng.choice((-1, 1))
    if nodule:
        radius = rng.uniform(4, 18)
        centre = (side * width * rng.uniform(0.45, 0.8), height * rng.uniform(0.2, 0.75))
        return (Blob(ellipse(centre, (radius, radius), 0.0, 0.08), rng.uniform(0.08, 0.2), 2.5),)
    blobs = []
    for _ in range(int(rng.integers(2, 6))):
        side = side if rng.random() < 0.7 else -side
        centre = (side * width * rng.uniform(0.3, 0.9), height * rng.uniform(0.05, 0.75))
        radii = (rng.uniform(10, 34), rng.uniform(8, 38))
        outline = ellipse(centre, radii, rng.uniform(0, 3), 0.22)
        blobs.append(Blob(outline, rng.uniform(0.10, 0.30), rng.uniform(3, 9)))
    if rng.random() < 0.3:
        centre = (side * width * 0.85, height * rng.uniform(0.93, 1.0))
        outline = ellipse(centre, (0.45 * width, height * rng.uniform(0.08, 0.22)), 0.3 * side)
        blobs.append(Blob(outline, 0.38, 5))
    return tuple(blobs)

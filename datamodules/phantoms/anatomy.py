"""A random chest in millimetres: outlines as polygons, nothing yet about films or files.

The frame: ``x`` runs to the image's right, which is the patient's left; ``y`` runs down; the origin
lies on the spine at the height of the lung apices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datamodules.phantoms.outlines import Points, ellipse, smooth_line
from datamodules.phantoms.skeleton import clavicles, ribs, scapulae, torso

HEART_RIM = 0.045
"""Share of the heart's size by which lung masks reach under it, as in SCR."""
_ALONG = np.linspace(0.0, 1.0, 8)
_VESSEL_ANGLES = np.linspace(-1.4, 1.4, 8)


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
        scapulae: closed outlines.
        vessels: open lines from both hila into the lungs.
        twigs: finer open lines that leave the vessels.
        tissue: soft parts and gas: hila, breasts, the gastric bubble.
        opacities: tuberculous infiltrates or nodules inside the lungs; empty for normal cases.
        lung_height: mm from apex to costophrenic angle.
        wall: mm from the spine to the skin at the side.
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
    scapulae: tuple[Points, ...]
    vessels: tuple[Points, ...]
    twigs: tuple[Points, ...]
    tissue: tuple[Blob, ...]
    opacities: tuple[Blob, ...]
    lung_height: float
    wall: float
    vertebra: float


def sample_anatomy(rng: np.random.Generator, *, abnormal: bool, nodule: bool = False) -> Anatomy:
    """Draw one chest.

    Args:
        rng: the only source of chance.
        abnormal: whether the lungs hold opacities.
        nodule: one round nodule (JSRT) instead of infiltrates (tuberculosis).
    """
    height = float(np.clip(rng.normal(238, 34), 165, 305))
    width = rng.normal(131, 11) * (1 + 0.25 * (height / 232 - 1))
    wall = width + rng.uniform(14, 42)
    heart = _heart(rng, width, height)
    right, right_base = _lung(rng, -1, width * rng.uniform(0.97, 1.07), height)
    left_height = height * rng.uniform(0.95, 1.05)
    left, left_base = _lung(rng, 1, width * rng.uniform(0.90, 1.0), left_height)
    vessels, twigs = _vessels(rng, width, height)
    return Anatomy(
        right_lung=right,
        left_lung=left,
        heart=heart,
        heart_core=heart.mean(axis=0) + (heart - heart.mean(axis=0)) * (1 - HEART_RIM),
        mediastinum=_mediastinum(rng, height),
        abdomen=_abdomen(right_base, left_base, height),
        torso=torso(rng, width, wall, height),
        posterior_ribs=ribs(rng, width, height, anterior=False),
        anterior_ribs=ribs(rng, width, height, anterior=True),
        clavicles=clavicles(rng, width),
        scapulae=scapulae(rng, width),
        vessels=vessels,
        twigs=twigs,
        tissue=_tissue(rng, width, height),
        opacities=_opacities(rng, width, height, nodule) if abnormal else (),
        lung_height=height,
        wall=wall,
        vertebra=rng.uniform(19, 25),
    )


def _lung(
    rng: np.random.Generator, side: int, width: float, height: float
) -> tuple[Points, Points]:
    """Return one lung's outline and its base, from lateral to medial; ``side`` +1 is the left."""
    jitter = rng.normal(0, 1, 9)
    apex = 0.36 + 0.05 * jitter[0]
    bulge = 0.03 * jitter[1]
    angle = 1.0 + 0.04 * jitter[2]
    dome = (0.83 if side < 0 else 0.87) + 0.035 * jitter[3]
    hilum = 0.20 + 0.02 * jitter[4]
    base_medial = 0.90 + 0.02 * jitter[5]
    notch = (0.27 if side > 0 else 0.19) + 0.03 * jitter[6]
    tilt = 0.04 * jitter[7]
    shoulder = 0.02 * jitter[8]
    medial_low = 0.20 if side < 0 else 0.14
    base = [
        [0.99, angle],
        [0.92, dome + 0.62 * (angle - dome)],
        [0.80, dome + 0.22 * (angle - dome)],
        [0.60, dome],
        [0.40, dome + 0.005],
        [medial_low, base_medial],
    ]
    medial_apex_lateral = [
        [medial_low, base_medial],
        [0.18, 0.72],
        [hilum + 0.02, 0.52],
        [notch, 0.34],
        [0.16, 0.18],
        [0.20, 0.055],
        [apex, 0.0],
        [0.60 + shoulder, 0.045],
        [0.78 + shoulder, 0.17],
        [0.90 + bulge, 0.38],
        [0.97 + bulge, 0.62],
        [1.0, 0.84],
        [0.99, angle],
    ]
    below, around = (
        _place(part, side, width, height, tilt) for part in (base, medial_apex_lateral)
    )
    return np.concatenate([below[:-1], around[:-1]]), below


def _place(part: list[list[float]], side: int, width: float, height: float, tilt: float) -> Points:
    points = np.asarray(part)
    x = side * width * (points[:, 0] + tilt * (points[:, 1] - 0.5))
    return smooth_line(np.stack([x, height * points[:, 1]], axis=1))


def _heart(rng: np.random.Generator, width: float, height: float) -> Points:
    apex_x = width * np.clip(rng.normal(0.60, 0.07), 0.42, 0.80)
    low = rng.uniform(-0.02, 0.03)
    border = [[-0.12, 0.45], [0.16, 0.42], [0.30, 0.50], [0.50, 0.62 + low], [0.84, 0.76 + low]]
    apex = [[0.99, 0.88 + low], [0.82, 0.965 + low], [0.20, 0.98]]
    right = [[-0.26, 0.93], [-0.42, 0.78], [-0.34, 0.58], [-0.12, 0.45]]
    return smooth_line(np.array([*border, *apex, *right]) * (apex_x, height))


def _mediastinum(rng: np.random.Generator, height: float) -> Points:
    half = rng.uniform(22, 31)
    knob = half + rng.uniform(5, 15)
    top, knob_y, low = -90.0, 0.31 * height, height + 300
    left = [[half, top], [half, 0], [half + 2, 0.22 * height], [knob, knob_y]]
    left_low = [[half, 0.45 * height], [half * 0.9, low]]
    right = [[-half * 0.9, low], [-half, 0.45 * height], [-half, 0.2 * height], [-half, top]]
    return np.array([*left, *left_low, *right])


def _abdomen(right_base: Points, left_base: Points, height: float) -> Points:
    """Join both domes, drop from the costophrenic angles to the flanks and close far below."""
    flank = np.array([260.0, height + 110])
    below = np.array([300.0, height + 320])
    left = np.stack([flank, below])
    right = np.stack([below, flank]) * (-1, 1)
    return np.concatenate([right, right_base, left_base[::-1], left])


def _vessels(
    rng: np.random.Generator, width: float, height: float
) -> tuple[tuple[Points, ...], tuple[Points, ...]]:
    count = len(_VESSEL_ANGLES)
    along = _ALONG[None, :, None]
    vessels: list[Points] = []
    twigs: list[Points] = []
    for side in (-1, 1):
        angle = _VESSEL_ANGLES + rng.normal(0, 0.16, count)
        length = rng.uniform(0.25, 0.55, count) * height * (0.7 + 0.3 * np.abs(np.sin(angle)))
        heading = np.stack([side * 0.8 * np.cos(angle), np.sin(angle)], axis=1)
        normal = np.stack([-heading[:, 1], heading[:, 0]], axis=1)
        bend = normal * rng.normal(0, 0.22, (count, 1))
        start = np.array([side * 0.26 * width, 0.43 * height]) + rng.normal(0, 6, (count, 1, 2))
        run = length[:, None, None] * (heading[:, None] * along + bend[:, None] * along**2)
        vessels.extend(start + run)
        fork = start + run[:, 3:4]
        turn = heading + normal * rng.choice((-0.6, 0.6), (count, 1))
        curl = 0.3 * bend
        twigs.extend(
            fork + 0.45 * length[:, None, None] * (turn[:, None] * along + curl[:, None] * along**2)
        )
    return tuple(vessels), tuple(twigs)


def _tissue(rng: np.random.Generator, width: float, height: float) -> tuple[Blob, ...]:
    parts = []
    for side in (-1, 1):
        hilum = (side * 0.24 * width, height * rng.uniform(0.40, 0.46))
        parts.append(Blob(ellipse(hilum, (12, 24), 0.35 * side, 0.12), 0.09, 8))
    if rng.random() < 0.4:
        low, size = height * rng.uniform(0.80, 0.98), rng.uniform(0.36, 0.5) * width
        density = rng.uniform(0.05, 0.11)
        for side in (-1, 1):
            breast = ellipse((side * 0.62 * width, low), (size, size * 1.05))
            parts.append(Blob(breast, density, 5))
    if rng.random() < 0.6:
        centre = (rng.uniform(0.40, 0.66) * width, height * rng.uniform(0.97, 1.06))
        size = rng.uniform(7, 15)
        gas = ellipse(centre, (size * rng.uniform(1.2, 2.4), size), rng.normal(0, 0.15), 0.1)
        parts.append(Blob(gas, -rng.uniform(0.10, 0.26), 3))
    return tuple(parts)


def _opacities(
    rng: np.random.Generator, width: float, height: float, nodule: bool
) -> tuple[Blob, ...]:
    side = int(rng.choice((-1, 1)))
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
        blobs.append(Blob(outline, rng.uniform(0.10, 0.32), rng.uniform(3, 9)))
    if rng.random() < 0.3:
        depth = rng.uniform(0.08, 0.24)
        outline = ellipse((side * width * 0.9, height), (0.5 * width, height * depth), 0.3 * side)
        blobs.append(Blob(outline, 0.38, 4))
    return tuple(blobs)

"""The levels of a mask: the grey values or colours of its flat areas, without its edges.

A mask of two levels may still hold many values: JPEG and smooth resizing leave a thin band of them
along each edge. A mask of several structures has a flat area for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from contract.arrays import Mask

LEAST_LEVEL = 0.002
"""A flat area below this share of the file is no structure."""
ENOUGH = 1_000_000
"""Levels are looked for in about so many pixels of larger files."""
MOST_LEVEL_VALUES = 1024
"""So many values, the most frequent ones, are sorted into levels."""
FEW = 16
"""Files of so few values hold each for itself; near values of others are one level."""
NEAR = 24
"""How far values of one level lie apart in lossy files, out of 255."""
LEVELS_SHOWN = 6
LIKE_SIZE = 0.4
"""The smaller of two lungs has at least this share of the larger one's area."""

NAMED = {
    "black": 0x000000, "white": 0xFFFFFF, "red": 0xFF0000, "green": 0x00FF00, "blue": 0x0000FF,
    "yellow": 0xFFFF00, "cyan": 0x00FFFF, "magenta": 0xFF00FF, "grey": 0x808080,
    "dark red": 0x800000, "dark green": 0x008000, "dark blue": 0x000080, "orange": 0xFFA500,
    "purple": 0x800080,
}  # fmt: skip


@dataclass(frozen=True)
class Level:
    """One flat level of a mask.

    Attributes:
        value: the grey value or palette index, or the colour as ``0xRRGGBB``.
        where: its pixels ``(H, W)``.
    """

    value: int
    where: Mask

    @property
    def share(self) -> float:
        """Its share of the file's pixels."""
        return int(np.count_nonzero(self.where)) / self.where.size if self.where.size else 0.0

    @property
    def on_border(self) -> float:
        """Its share of the file's border."""
        return border_share(self.where)


def border_share(mask: Mask) -> float:
    """Return the share of a mask's ``(H, W)`` outermost pixels that it covers."""
    edges = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    return float(edges.mean()) if edges.size else 0.0


def levels_of(values: NDArray[np.integer], *, colours: bool) -> list[Level]:
    """Return the levels of a mask's values, the largest first.

    Args:
        values: grey values ``(H, W)``, or colours as ``0xRRGGBB``.
        colours: which of both they are.
    """
    few = one_or_two(values)
    step = max(1, round((values.size / ENOUGH) ** 0.5))
    values = values[::step, ::step]
    if few is not None:
        found = [Level(value, values == value) for value in few]
        return sorted(found, key=lambda level: -level.share)
    distinct = counted(values.ravel())[0].tolist()
    channels = _channels(values) if colours else values[..., None]
    span = 255 if colours else max(distinct) - min(distinct)
    flat = _flat(channels, span // 100)
    near = 0 if len(distinct) <= FEW else max(1, span * NEAR // 255)
    kept, counts = counted(values[flat])
    clusters: list[tuple[int, list[int], int]] = []
    for index in np.argsort(-counts, kind="stable")[:MOST_LEVEL_VALUES].tolist():
        value, count = int(kept[index]), int(counts[index])
        for number, (centre, members, total) in enumerate(clusters):
            if _distance(value, centre, colours) <= near:
                clusters[number] = (centre, [*members, value], total + count)
                break
        else:
            clusters.append((value, [value], count))
    least = LEAST_LEVEL * values.size
    found = [
        Level(centre, np.isin(values, members)) for centre, members, total in clusters
        if total >= least
    ]  # fmt: skip
    return sorted(found, key=lambda level: -level.share)


def one_or_two(values: NDArray[np.integer]) -> tuple[int, ...] | None:
    """Return the values of a plane that has no more than two; None of others."""
    if not values.size:
        return ()
    low, high = int(values.min()), int(values.max())
    if low == high:
        return (low,)
    return (low, high) if bool(((values == low) | (values == high)).all()) else None


def counted(values: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Return the distinct values in order, and how often each stands there."""
    if not values.size:
        return values.ravel(), np.zeros(0, np.intp)
    low, high = int(values.min()), int(values.max())
    if low == high:
        return np.array([low], values.dtype), np.array([values.size])
    if low >= 0 and high < 1 << 16:
        counts = np.bincount(values)
        kept = np.flatnonzero(counts)
        return kept, counts[kept]
    return np.unique(values, return_counts=True)


def _any_of(values: NDArray[np.integer], members: Sequence[int]) -> Mask:
    low, high = min(members), max(members)
    if high - low + 1 == len(members):
        return (values >= low) & (values <= high)
    return np.isin(values, members)


def _channels(values: NDArray[np.integer]) -> NDArray[np.integer]:
    return np.stack([values >> 16, values >> 8 & 255, values & 255], axis=-1)


def _flat(channels: NDArray[np.integer], tolerance: int) -> Mask:
    """Return the pixels whose neighbours differ by no more than a tolerance."""
    box = np.ones((3, 3), np.uint8)
    flat = np.ones(channels.shape[:2], np.bool_)
    for number in range(channels.shape[2]):
        plane = channels[..., number]
        small = bool(plane.min(initial=0) >= 0 and plane.max(initial=0) < 1 << 16)
        plane = plane.astype(np.uint16 if small else np.float32)
        flat &= cv2.subtract(cv2.dilate(plane, box), cv2.erode(plane, box)) <= tolerance
    return flat


def _distance(value: int, other: int, colours: bool) -> int:
    if not colours:
        return abs(value - other)
    return max(abs((value >> shift & 255) - (other >> shift & 255)) for shift in (16, 8, 0))


def colour_text(value: int) -> str:
    """Return a colour as ``#ff0000``."""
    return f"#{value:06x}"


def colour_name(value: int) -> str:
    """Return a colour as ``#ff0000 (red)``, named where it is near to one that has a name."""
    name, nearest = min(NAMED.items(), key=lambda item: _distance(item[1], value, colours=True))
    near = _distance(nearest, value, colours=True) <= NEAR
    return f"{colour_text(value)} ({name})" if near else colour_text(value)


def told(levels: Sequence[Level], *, colours: bool) -> str:
    """Return levels in words, with their shares of the file."""
    ordered = levels if colours else sorted(levels, key=lambda level: level.value)
    named = [
        f"{colour_name(level.value) if colours else level.value} in {level.share:.0%}"
        for level in ordered[:LEVELS_SHOWN]
    ]
    more = len(levels) - LEVELS_SHOWN
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def propose(levels: Sequence[Level], *, colours: bool) -> Mapping[str, int | str]:
    """Return what the levels of a chest film's mask most likely mean, for a user to confirm.

    The background covers the border; of the others the two largest are the lungs, told apart by
    their place; a third one is the heart.
    """
    background = max(levels, key=lambda level: level.on_border, default=None)
    others = [level for level in levels if level is not background and level.where.any()]
    values = [colour_text(level.value) if colours else level.value for level in others]
    if len(others) < 2:
        return dict(zip(("lungs",), values, strict=False))
    columns = [_centre(level.where) for level in others[:2]]
    at_left, at_right = (0, 1) if columns[0] < columns[1] else (1, 0)
    found = {"right_lung": values[at_left], "left_lung": values[at_right]}
    return found | dict(zip(("heart",), values[2:3], strict=False))


def _centre(mask: Mask) -> float:
    return float(np.average(np.arange(mask.shape[1]), weights=mask.sum(axis=0)))


def part_centres(mask: Mask) -> list[tuple[float, float]]:
    """Return (column, row) of the centres of a mask's parts that are of like size: two lungs."""
    count, _, stats, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    order = sorted(range(1, count), key=lambda part: -int(stats[part, cv2.CC_STAT_AREA]))
    areas = [int(stats[part, cv2.CC_STAT_AREA]) for part in order]
    if len(order) < 2 or areas[1] < LIKE_SIZE * areas[0]:
        return []
    return [(float(centres[part][0]), float(centres[part][1])) for part in order[:2]]

"""What a CT scan offers whatever its files are: slices from below, their grid, their HU values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from contract.arrays import Spacing

AIR = -1024
"""The HU value of padding, and the lowest that is kept."""


class ScanSlices(ABC):
    """A scan's slices in order along their normal, the lowest first; ``len`` counts them."""

    uid: str
    """What masks and messages call the scan."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of slices."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """A slice's rows and columns."""

    @property
    @abstractmethod
    def spacing(self) -> Spacing:
        """Millimetres from one pixel to the next: down a column, along a row."""

    @property
    @abstractmethod
    def slice_mm(self) -> float:
        """The distance between slices in mm, averaged; 0 for a single slice."""

    @property
    @abstractmethod
    def affine(self) -> NDArray[np.float64]:
        """``(4, 4)``: (column, row, slice, 1) to mm in the patient's system (left, back, head)."""

    @property
    def stored_order(self) -> str | None:
        """How the axes of a file that holds all slices lie, such as ``RAS``; None for others.

        Raises:
            DataError: if the file is damaged.
        """
        return None

    @abstractmethod
    def read_slice(self, index: int) -> NDArray[np.int16]:
        """Return a slice in HU ``(H, W)``, padding and everything below -1024 at -1024.

        Raises:
            DataError: if the file is damaged.
        """

    def each(self) -> Iterator[NDArray[np.int16]]:
        """Yield every slice as ``read_slice`` returns it, the lowest first.

        Raises:
            DataError: if a file is damaged.
        """
        yield from map(self.read_slice, range(len(self)))

"""Which case goes where: exact batches in training, every case once in testing.

Both are PyTorch's ``DistributedSampler`` by kind, so that a plain ``Trainer`` on several processes,
which puts its own in place of any other sampler (padding with duplicates), leaves them alone and
tells them the epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import DistributedSampler

from contract.errors import UserError


class EpochSampler(DistributedSampler[Any]):
    """Keys (index, epoch), the same joint batches on any number of processes.

    The order is drawn from (seed, epoch). Each process gets its equal share of every joint batch,
    taking turns, so that equal parts of the shares are together parts of the joint batch: loaded
    in batches of ``share`` they are the joint batches. The last incomplete joint batch is dropped.

    Args:
        cases: number of training cases.
        batch_size: joint batch size over all processes.
        seed: the cell's seed.
        epoch: the epoch to begin with, on resume the one after the last whole epoch.
        rank: this process.
        processes: number of processes.

    Attributes:
        share: this process's part of each joint batch, its own batch size.

    Raises:
        UserError: if the processes do not divide the batch, or no whole batch fits.
    """

    def __init__(
        self, cases: int, batch_size: int, seed: int, epoch: int, rank: int, processes: int
    ) -> None:
        if batch_size % processes:
            raise UserError(
                "batch_size",
                f"{batch_size} over {processes} processes",
                "a number of processes that divides the joint batch",
                "change --devices or the system's batch_size",
            )
        if cases < batch_size:
            raise UserError(
                "batch_size",
                f"{batch_size} with {cases} training cases",
                "at least one whole batch",
                "lower batch_size",
            )
        super().__init__(range(cases), processes, rank, shuffle=False, seed=seed)  # type: ignore[arg-type]
        self._cases, self._batch_size = cases, batch_size
        self.share = batch_size // processes
        self.epoch = epoch  # Lightning tells each epoch as it begins (``set_epoch``)

    def __len__(self) -> int:
        return self._cases // self._batch_size * self.share

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self._cases)
        for start in range(0, len(self) * self.num_replicas, self._batch_size):
            own = order[start + self.rank : start + self._batch_size : self.num_replicas]
            yield from ((int(index), self.epoch) for index in own)


class ShardSampler(DistributedSampler[int]):
    """Every item once over all processes: no padding, no duplicates, scans whole and in order.

    Args:
        groups: the items of each case, in order; a film's is one, a scan's are its slices.
        rank: this process.
        processes: number of processes.
    """

    def __init__(self, groups: Sequence[range], rank: int, processes: int) -> None:
        super().__init__(groups, processes, rank, shuffle=False)  # type: ignore[arg-type]
        self._indices = [index for group in groups[rank::processes] for index in group]
        self.leaves_some_idle = len(groups) < processes
        """Whether some process gets no item, so that Lightning skips its loop."""

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

"""Which case goes where: exact batches in training, every case once in testing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from contract.errors import UserError


class EpochSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (index, epoch), the same joint batches on any number of processes.

    The order is drawn from (seed, epoch). Each process gets its equal share of every joint batch;
    the last incomplete joint batch is dropped.

    Args:
        cases: number of training cases.
        batch_size: joint batch size over all processes.
        seed: the cell's seed.
        epoch: the epoch to begin with, on resume the one after the last whole epoch.
        rank: this process.
        processes: number of processes.

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
        self._cases, self._batch_size, self._seed = cases, batch_size, seed
        self._rank, self._processes = rank, processes
        self.epoch = epoch

    @property
    def sampler(self) -> EpochSampler:
        """Where Lightning looks for ``set_epoch``: the sampler of a batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning when an epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._cases // self._batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng([self._seed, self.epoch]).permutation(self._cases)
        share = self._batch_size // self._processes
        for batch in range(len(self)):
            start = batch * self._batch_size + self._rank * share
            yield [(int(index), self.epoch) for index in order[start : start + share]]


class ShardSampler(Sampler[int]):
    """Every item once over all processes: no padding, no duplicates, scans whole and in order.

    Args:
        groups: the items of each case, in order; a film's is one, a scan's are its slices.
        rank: this process.
        processes: number of processes.
    """

    def __init__(self, groups: Sequence[range], rank: int, processes: int) -> None:
        self._indices = [index for group in groups[rank::processes] for index in group]

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

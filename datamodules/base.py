"""The LightningDataModule behind every data set and protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from contract.batch import EvaluationBatch, TrainingBatch
from contract.machine import own_cores
from contract.words import BACKGROUND
from datamodules.augmentation import Augmentation
from datamodules.cache import PreparedSet, prepare
from datamodules.datasets import CaseList, EvaluationSet, TrainingSet, collate, stack
from datamodules.digests import Progress, no_progress
from datamodules.division import DividedProtocol, OpenedSet
from datamodules.preprocessing import Preprocessing
from datamodules.protocol import Protocol
from datamodules.samplers import EpochSampler, ShardSampler
from datamodules.sources import Source, open_sources
from datamodules.splits import Split

DEFAULT_SIZE = 256
"""Side of the network's square in pixels where no preprocessing is given."""
MOST_WORKERS = 8
"""Processes that load images for one GPU, unless a number is given."""


def default_cache() -> Path:
    """Return the folder for prepared images of this user: ``lungbench`` among the caches.

    That is ``~/.cache`` (or ``$XDG_CACHE_HOME``) on Linux, ``~/Library/Caches`` on macOS.
    """
    return platformdirs.user_cache_path("lungbench", appauthor=False)


class ProtocolDataModule(pl.LightningDataModule):
    """Batches for a protocol over one or more data sets.

    Args:
        root: the data root, which holds the official folders side by side.
        protocol: which cases train, validate and test.
        cache: the folder for prepared images, which data modules may share; ``default_cache()``
            if not given.
        preprocessing: film to network input, a square of 256 pixels in [-1, 1] if not given.
        structures: the network's output channels in order, ``background`` included for softmax.
        batch_size: joint batch size over all processes.
        seed: fixes order and augmentation.
        augmentation: random changes of training images, or none.
        eval_batch_size: batch size of one process in validation and testing.
        workers: data-loading processes; results do not depend on it. If not given, none beside
            a network on the CPU, and beside a GPU as many as there are cores to spare, up to
            ``MOST_WORKERS``.
        fold: which of the protocol's folds tests.
        mixup: blend training images and targets in pairs, in shares that follow
            Beta(mixup, mixup), or none.

    The few-shot set that trains, where the protocol has several, follows from ``seed``.
    """

    def __init__(
        self,
        root: Path | str,
        protocol: Protocol,
        cache: Path | str | None = None,
        preprocessing: Preprocessing | None = None,
        structures: Sequence[str] = (BACKGROUND, "lungs"),
        batch_size: int = 8,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        eval_batch_size: int = 8,
        workers: int | None = None,
        fold: int = 0,
        mixup: float | None = None,
    ) -> None:
        super().__init__()
        # With fewer test cases than processes some processes have nothing to test.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._root, self._cache = Path(root), Path(cache or default_cache())
        self.protocol = protocol
        self._preprocessing = preprocessing or Preprocessing(size=DEFAULT_SIZE)
        self._structures = tuple(structures)
        self._batch_size, self._eval_batch_size = batch_size, eval_batch_size
        self._seed, self._augmentation, self._workers = seed, augmentation, workers
        self._fold, self._mixup = fold, mixup
        self.progress: Progress = no_progress
        self.split: Split | None = None
        self.phantom = False
        self.sources: dict[str, Source] = {}

    def prepare_data(self) -> None:
        """Build the caches or read them whole, on one process a node; the others find them."""
        self._open(whole=True)

    def _open(self, whole: bool) -> dict[str, PreparedSet]:
        sources = open_sources(self.protocol.datasets, self._root, self._cache)
        self.sources = {source.name: source for source in sources.values()}
        cases = {name: source.cases() for name, source in sources.items()}
        opened = {name: OpenedSet(source, cases[name]) for name, source in sources.items()}
        divided = DividedProtocol(self.protocol, opened)
        self.phantom, self.split = divided.phantom, divided.split(self._seed, self._fold)
        self._cases = {
            sources[name].name: {c.case_id: c for c in found} for name, found in cases.items()
        }
        return {
            source.name: prepare(
                source, cases[name], self._preprocessing, self._cache, self.progress, whole
            )
            for name, source in sources.items()
        }

    def setup(self, stage: str) -> None:
        """Open the caches and divide the cases.

        Raises:
            DataError: if a data set is absent, incomplete or damaged.
        """
        prepared = self._open(whole=False)
        assert self.split is not None
        self.train_cases = CaseList(
            self.split.train, prepared, self._cases, self.protocol.slices == "lung"
        )
        self.validation_cases, self.test_cases = (
            CaseList(keys, prepared, self._cases)
            for keys in (self.split.validation, self.split.test)
        )

    def train_dataloader(self) -> DataLoader[TrainingBatch]:
        """Joint batches that follow from (seed, epoch), on any number of processes."""
        masks = None
        if self.protocol.shuffle_masks:
            masks = another_for_each(len(self.train_cases), self.protocol.split_seed)
        data = TrainingSet(
            self.train_cases,
            self._preprocessing,
            self._structures,
            self._augmentation,
            self._seed,
            masks,
            self._mixup,
        )
        rank, processes = self._place()
        # On resume Lightning makes the iterator before it tells the sampler the epoch.
        epoch = 0
        if self.trainer:
            epoch = self.trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        sampler = EpochSampler(len(data), self._batch_size, self._seed, epoch, rank, processes)
        return DataLoader(
            data,
            batch_size=sampler.share,
            sampler=sampler,
            collate_fn=stack,
            persistent_workers=self._loaders() > 0,  # keys carry their epoch
            **self._loader_options(self._loaders()),
        )

    def val_dataloader(self) -> DataLoader[EvaluationBatch]:
        """Validation images, each once over all processes; a scan's slices need not stay together.

        With fewer images than processes every process validates all of them, which leaves the
        mean as it is.
        """
        images = [range(index, index + 1) for index in range(len(self.validation_cases))]
        rank, processes = self._place()
        place = (0, 1) if len(images) < processes else (rank, processes)
        workers = self._workers or 0  # they would start anew for a few images of each epoch
        return self._evaluation(self.validation_cases, images, place, False, workers)

    def test_dataloader(self) -> DataLoader[EvaluationBatch]:
        """Test cases with their references, each once and whole over all processes."""
        groups = self.test_cases.groups
        return self._evaluation(self.test_cases, groups, self._place(), True, self._loaders())

    def predict_dataloader(self) -> DataLoader[EvaluationBatch]:
        """Test cases without their references, each once and whole over all processes."""
        groups = self.test_cases.groups
        return self._evaluation(self.test_cases, groups, self._place(), False, self._loaders())

    def _evaluation(
        self,
        cases: CaseList,
        groups: Sequence[range],
        place: tuple[int, int],
        references: bool,
        workers: int,
    ) -> DataLoader[EvaluationBatch]:
        data = EvaluationSet(cases, self._preprocessing, self._structures, references)
        loader: DataLoader[Any] = DataLoader(
            data,
            batch_size=self._eval_batch_size,
            sampler=ShardSampler(groups, *place),
            collate_fn=collate,
            **self._loader_options(workers),
        )
        return loader

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _on_gpu(self) -> bool:
        return bool(self.trainer and self.trainer.accelerator.name() == "cuda")

    def _loaders(self) -> int:
        """Return how many processes load training or test images."""
        if self._workers is not None or not self._on_gpu():
            return self._workers or 0
        assert self.trainer is not None
        return min(MOST_WORKERS, own_cores(self.trainer.num_devices) - 1)

    def _loader_options(self, workers: int) -> dict[str, Any]:
        return {"num_workers": workers, "pin_memory": self._on_gpu()}


def another_for_each(count: int, seed: int) -> list[int]:
    """Return for each of ``count`` cases the number of another one, each number once.

    Args:
        count: how many cases there are; a single one has only itself.
        seed: fixes the pairing.
    """
    order = np.random.default_rng([seed, count]).permutation(count)
    partner = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
    return [partner[case] for case in range(count)]

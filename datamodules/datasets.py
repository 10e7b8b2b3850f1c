"""Prepared cases as torch datasets, and how their items become batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from contract.batch import CaseIdentity, EvaluationBatch, TrainingBatch
from contract.errors import UserError
from contract.rows import SUBGROUPS
from datamodules.augmentation import Augmentation
from datamodules.cache import PLANES, PreparedSet
from datamodules.preprocessing import Preprocessing
from datamodules.sources.base import Case
from datamodules.splits import Key
from datamodules.targets import to_channels

_SHUFFLED = 0x736875
"""Keeps the draws that move a foreign mask apart from those that move the film."""

_MIXUP = 0x6D6978
"""Keeps the draws of mixup apart from those of augmentation, which share seed, epoch, index."""


class CaseList:
    """The prepared cases of one side of a split, over one or more data sets.

    An item is a film, or a slice of a scan; a scan's slices follow one another, the lowest first.

    Args:
        keys: (data set, case id) pairs.
        prepared: each data set's prepared cases.
        cases: each data set's cases by id.
        with_lung: leave out slices whose reference is empty.
    """

    def __init__(
        self,
        keys: Sequence[Key],
        prepared: Mapping[str, PreparedSet],
        cases: Mapping[str, Mapping[str, Case]],
        with_lung: bool = False,
    ) -> None:
        self.cases: list[Case] = []
        """Each item's case."""
        self.groups: list[range] = []
        """The items of each case."""
        self._places: list[tuple[PreparedSet, int]] = []
        for dataset, case_id in keys:
            own = prepared[dataset]
            places = [
                (own, place)
                for place in own.places[case_id]
                if not (with_lung and own.entries[place].empty)
            ]
            self.groups.append(range(len(self._places), len(self._places) + len(places)))
            self._places += places
            self.cases += [cases[dataset][case_id]] * len(places)

    def __len__(self) -> int:
        return len(self._places)

    def pixels(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return grey values and bit planes, both ``(size, size)``."""
        prepared, place = self._places[index]
        return np.asarray(prepared.images[place]), np.asarray(prepared.masks[place])

    def place(self, index: int) -> tuple[PreparedSet, int]:
        """Return the prepared set and the position in it."""
        return self._places[index]

    def slice_of(self, index: int) -> tuple[int, int] | None:
        """Return a slice's index in its scan and how many slices that has; None for a film."""
        prepared, place = self._places[index]
        case_id = self.cases[index].case_id
        if case_id not in prepared.slice_mm:
            return None
        slices = prepared.places[case_id]
        return place - slices.start, len(slices)


class TrainingSet(Dataset[TrainingBatch]):
    """Training items, indexed by (index, epoch) so that randomness follows from both.

    Args:
        cases: the training cases.
        preprocessing: gives the range of grey values.
        structures: the target's channels.
        augmentation: random changes, or none.
        seed: the cell's seed.
        masks: for each image the index of the mask that it is paired with (its own, but for the
            shuffled-mask control).
        mixup: blend each image and its target with another one's, in shares that follow
            Beta(mixup, mixup), drawn anew in each epoch (Zhang et al., "mixup", 2018); or none.

    Raises:
        UserError: if ``mixup`` is not positive.
    """

    def __init__(
        self,
        cases: CaseList,
        preprocessing: Preprocessing,
        structures: Sequence[str],
        augmentation: Augmentation | None,
        seed: int,
        masks: Sequence[int] | None = None,
        mixup: float | None = None,
    ) -> None:
        if mixup is not None and mixup <= 0:
            raise UserError("mixup", str(mixup), "a positive number, or none")
        self._cases, self._preprocessing, self._structures = cases, preprocessing, structures
        self._augmentation, self._seed = augmentation, seed
        self._masks, self._mixup = masks, mixup

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, key: tuple[int, int] | int) -> TrainingBatch:
        """Return ``image (1, H, W)`` and ``target (C, H, W)``, soft where images are mixed.

        Args:
            key: the case's number and the epoch, as ``EpochSampler`` gives them, or the number
                alone, as the samplers do that Lightning's ``overfit_batches`` takes instead.
        """
        index, epoch = key if isinstance(key, tuple) else (key, 0)
        item = self._item(index, epoch)
        if self._mixup is None or len(self) < 2:
            return item
        random = np.random.default_rng([_MIXUP, self._seed, epoch, index])
        share = float(random.beta(self._mixup, self._mixup))
        partner = (index + int(random.integers(1, len(self)))) % len(self)
        other = self._item(partner, epoch)
        return {
            "image": torch.lerp(other["image"], item["image"], share),
            "target": torch.lerp(other["target"], item["target"], share),
        }

    def _item(self, index: int, epoch: int) -> TrainingBatch:
        image, planes = self._cases.pixels(index)
        if self._masks is not None:
            planes = self._cases.pixels(self._masks[index])[1]
        if self._augmentation is not None:
            random = np.random.default_rng([self._seed, epoch, index])
            image, moved = self._augmentation(image, planes, random)
            if self._masks is not None:
                # Moved alike, a film would tell where its foreign mask went.
                random = np.random.default_rng([_SHUFFLED, self._seed, epoch, index])
                moved = self._augmentation(image, planes, random)[1]
            planes = moved
        return {
            "image": torch.from_numpy(self._preprocessing.to_range(image)[None]),
            "target": torch.from_numpy(to_channels(planes, self._structures)),
        }


class EvaluationSet(Dataset[dict[str, Any]]):
    """Validation and test items.

    Args:
        cases: the cases.
        preprocessing: gives the range of grey values and where the film lies.
        structures: the target's channels.
        references: whether items carry the reference masks on the grid that is scored.
    """

    def __init__(
        self,
        cases: CaseList,
        preprocessing: Preprocessing,
        structures: Sequence[str],
        references: bool,
    ) -> None:
        self._cases, self._preprocessing, self._structures = cases, preprocessing, structures
        self._references = references

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return an item; see ``collate`` for its parts."""
        image, planes = self._cases.pixels(index)
        case = self._cases.cases[index]
        at = self._cases.slice_of(index)
        prepared, place = self._cases.place(index)
        entry = prepared.entries[place]
        box = self._preprocessing.box(entry.film_shape)
        item: dict[str, Any] = {
            "image": torch.from_numpy(self._preprocessing.to_range(image)[None]),
            "target": torch.from_numpy(to_channels(planes, self._structures)),
            "identity": self._identity(case, at),
            "box": (box.top, box.left, box.height, box.width),
            "film_shape": entry.film_shape,
        }
        if self._references:
            references = prepared.reference(place)
            height, width = next(iter(references.values())).shape
            item["references"] = references
            item["lungs"] = (planes & PLANES["lungs"]) > 0
            item["spacing"] = entry.spacing and (
                entry.spacing[0] * entry.film_shape[0] / height,
                entry.spacing[1] * entry.film_shape[1] / width,
            )
            item["scan"] = at and {
                "scan_id": case.case_id,
                "n_slices": at[1],
                "slice_mm": prepared.slice_mm[case.case_id],
            }
            item["nodules"] = prepared.nodules(place)
        return item

    def _identity(self, case: Case, at: tuple[int, int] | None) -> CaseIdentity:
        told: dict[str, Any] = {
            "test_on": case.dataset,
            "case_id": case.case_id if at is None else f"{case.case_id}:{at[0]:04d}",
            "patient_id": case.patient_id,
            "reference": "dilated" if self._preprocessing.dilate > 1 else case.reference,
            "unit": "image" if at is None else "slice",
            **{name: case.attributes[name] for name in SUBGROUPS if name in case.attributes},
        }
        if at is None:
            told["finding"] = case.stratum
        else:
            told |= {"scan_id": case.case_id, "slice_index": at[0]}
        return cast("CaseIdentity", told)


def stack(items: Sequence[TrainingBatch]) -> TrainingBatch:
    """Return training items as a batch: images and targets stacked to ``(N, C, H, W)``."""
    return {
        "image": torch.stack([item["image"] for item in items]),
        "target": torch.stack([item["target"] for item in items]),
    }


def collate(items: Sequence[dict[str, Any]]) -> EvaluationBatch:
    """Return evaluation items as a batch, with references a ``contract.batch.ReferenceBatch``.

    Images and targets are stacked to ``(N, C, H, W)``; everything else becomes a list.
    """
    batch: dict[str, Any] = {key: [item[key] for item in items] for key in items[0]}
    for key in ("image", "target"):
        batch[key] = torch.stack(batch[key])
    return cast("EvaluationBatch", batch)

"""What a protocol says: which data sets train, validate and test, and by which rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Len

from contract.errors import UserError

FOLDS = {"scr": 2}
"""Rules that test every case once over several folds, and how many folds each has."""


@dataclass(frozen=True)
class Protocol:
    """Which cases train, validate and test.

    A number below 1 is a share, any other a count of cases of the official release. Training
    cases are what testing leaves; validation is taken out of them first, then ``train_size``.

    Attributes:
        train: data sets that train, by name or as YAML files of a user's own data.
        test: data sets that test; a set named in both is divided by ``held_out`` or ``folds``.
        validation: how much of the training cases validates instead of training.
        held_out: how much of the sets that both train and test is kept for testing.
        split_seed: fixes the division; a cell's ``seed`` never changes it.
        shuffle_masks: pair each training film with another one's mask. A control: whatever is
            trained so must come out at the mean shape.
        train_size: train on so many of the training cases only; the others are listed and
            unused. Of one draw, smaller sets lie inside larger ones, and all inside the whole list.
        draws: how many different sets of ``train_size`` there are; seed s trains on draw
            s mod ``draws``, the same for all systems.
        folds: ``scr`` divides JSRT by SCR's two folds: fold k tests on SCR's fold k + 1 and trains
            on the other one, so that every case is tested once over the folds.
        patients: so many patients of the sets that both train and test take part, with one scan
            each (the first by id); the others are listed and unused. They are the first in an
            order that follows from ``split_seed`` and each patient's id alone, so that a patient
            more or less below the root exchanges no other. All phantoms take part, and counts
            are scaled to them.
        slices: which slices of CT scans train: ``all``, or those whose reference holds lung. All
            slices validate and test.

    Raises:
        UserError: if the rules contradict one another.
    """

    train: Annotated[tuple[str, ...], Len(1)]
    test: Annotated[tuple[str, ...], Len(1)]
    validation: Annotated[float, Ge(0)] = 0.1
    held_out: Annotated[float, Ge(0)] = 0
    split_seed: Annotated[int, Ge(0)] = 20200831
    shuffle_masks: bool = False
    train_size: Annotated[int, Ge(1)] | None = None
    draws: Annotated[int, Ge(1)] = 1
    folds: str | None = None
    patients: Annotated[int, Ge(2)] | None = None
    slices: Literal["all", "lung"] = "all"

    def __post_init__(self) -> None:
        """Reject a protocol whose rules contradict one another."""
        object.__setattr__(self, "train", tuple(self.train))
        object.__setattr__(self, "test", tuple(self.test))
        shared = sorted(set(self.train) & set(self.test))
        divided = bool(self.held_out) or self.folds is not None
        if not self.train or not self.test:
            raise _fault("train and test", "an empty list", "at least one data set in each")
        if shared and not divided:
            found = f"{', '.join(shared)} in both"
            raise _fault("train and test", found, "held_out, which divides them")
        if self.held_out and not shared:
            raise _fault("held_out", "it given", "a data set that both trains and tests")
        if self.held_out and self.folds is not None:
            raise _fault("held_out and folds", "both given", "one of them")
        if self.folds is not None and self.folds not in FOLDS:
            raise _fault("folds", repr(self.folds), f"one of {', '.join(FOLDS)}")
        if self.folds is not None and (self.train, self.test) != (("jsrt",), ("jsrt",)):
            raise _fault("folds", repr(self.folds), "jsrt as the only data set")
        if min(self.validation, self.held_out) < 0:
            raise _fault("validation and held_out", "a negative number", "a share or a count")
        if self.train_size is not None and self.train_size < 1:
            raise _fault("train_size", str(self.train_size), "at least 1")
        if self.draws < 1 or (self.draws > 1 and self.train_size is None):
            raise _fault("draws", str(self.draws), "at least 1, and 1 without train_size")
        if self.patients is not None and (self.patients < 2 or not shared):
            expected = "at least 2, of a data set that both trains and tests"
            raise _fault("patients", str(self.patients), expected)
        if self.slices not in ("all", "lung"):
            raise _fault("slices", repr(self.slices), "all or lung")

    @property
    def datasets(self) -> tuple[str, ...]:
        """All data sets, training ones first, each once."""
        return tuple(dict.fromkeys((*self.train, *self.test)))

    @property
    def fold_count(self) -> int:
        """How many folds there are: 1 without ``folds``."""
        return 1 if self.folds is None else FOLDS[self.folds]

    def draw(self, seed: int) -> int:
        """Return which few-shot set a cell of that seed trains on."""
        return seed % self.draws


def _fault(key: str, found: str, expected: str) -> UserError:
    return UserError(f"protocol: {key}", found, expected, "mend the protocol's YAML file")

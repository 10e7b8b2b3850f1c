"""What a protocol says: which data sets train, validate and test, and by which rule."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Len

from contract.errors import UserError
from datamodules.case_lists import CaseLists, read_case_lists

SCR_FOLDS = 2


@dataclass(frozen=True)
class Protocol:
    """Which cases train, validate and test.

    A number below 1 is a share, any other a count of cases of the official release. Training
    cases are what testing leaves; validation is taken out of them first, then ``train_size``.

    Attributes:
        train: data sets that train, by name or as YAML files of a user's own data.
        test: data sets that test; a set named in both is divided by ``held_out``, ``folds`` or
            ``lists``.
        validation: how much of the training cases validates instead of training.
        held_out: how much of the sets that both train and test is kept for testing.
        split_seed: fixes the division; a cell's ``seed`` never changes it.
        shuffle_masks: pair each training film with another one's mask. A control: whatever is
            trained so must come out at the mean shape.
        train_size: train on so many of the training cases only; the others are listed and
            unused. Of one draw, smaller sets lie inside larger ones, and all inside the whole list.
        draws: how many different sets of ``train_size`` there are; seed s trains on draw
            s mod ``draws``, the same for all systems.
        folds: a number divides the sets that both train and test into so many folds, whole
            patients only and strata in proportion: each fold trains on what it does not test, so
            that every case is tested once over the folds, all in one cell. ``scr`` takes JSRT's
            two folds of SCR instead: fold k tests on SCR's fold k + 1.
        patients: so many patients of the sets that both train and test take part, with one scan
            each (the first by id); the others are listed and unused. They are the first in an
            order that follows from ``split_seed`` and each patient's id alone, so that a patient
            more or less below the root exchanges no other. All phantoms take part, and counts
            are scaled to them.
        slices: which slices of CT scans train: ``all``, or those whose reference holds lung. All
            slices validate and test.
        lists: a file of case ids that says for each case what it does: nnU-Net's
            ``splits_final.json``, or a CSV file; see ``case_lists``. Its path starts at the
            protocol's folder, the data root or the current folder.
        unlisted: what becomes of cases that ``lists`` does not name: ``error``, or ``unused``.
        lists_digest: what the content of ``lists`` must have for its digest; a cell's config
            states it, so that it never trains on other lists.

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
    folds: Annotated[int, Ge(2)] | Literal["scr"] | None = None
    patients: Annotated[int, Ge(2)] | None = None
    slices: Literal["all", "lung"] = "all"
    lists: str | None = None
    unlisted: Literal["error", "unused"] = "error"
    lists_digest: str | None = None

    def __post_init__(self) -> None:
        """Reject a protocol whose rules contradict one another."""
        object.__setattr__(self, "train", tuple(self.train))
        object.__setattr__(self, "test", tuple(self.test))
        for side in ("train", "test"):
            names = getattr(self, side)
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise _fault(side, f"{', '.join(twice)} more than once", "each data set once")
        shared = sorted(set(self.train) & set(self.test))
        divisions = [key for key in ("held_out", "folds", "lists") if getattr(self, key)]
        if not self.train or not self.test:
            raise _fault("train and test", "an empty list", "at least one data set in each")
        if shared and not divisions:
            found = f"{', '.join(shared)} in both"
            raise _fault("train and test", found, "held_out, folds or lists, which divide them")
        if len(divisions) > 1:
            raise _fault(" and ".join(divisions), "all given", "one of them")
        if self.held_out and not shared:
            raise _fault("held_out", "it given", "a data set that both trains and tests")
        self._check_folds(shared)
        self._check_lists()
        if min(self.validation, self.held_out) < 0:
            raise _fault("validation and held_out", "a negative number", "a share or a count")
        if self.train_size is not None and self.train_size < 1:
            raise _fault("train_size", str(self.train_size), "at least 1")
        if self.draws < 1 or (self.draws > 1 and self.train_size is None):
            raise _fault("draws", str(self.draws), "at least 1, and 1 without train_size")
        if self.patients is not None and (self.patients < 2 or not shared):
            expected = "at least 2, of a data set that both trains and tests"
            raise _fault("patients", str(self.patients), expected)
        if self.patients is not None and self.lists is not None:
            raise _fault("patients and lists", "both given", "one of them")
        if self.slices not in ("all", "lung"):
            raise _fault("slices", repr(self.slices), "all or lung")

    def _check_folds(self, shared: list[str]) -> None:
        folds = self.folds
        if folds is None:
            return
        if folds != "scr" and (type(folds) is not int or folds < 2):
            raise _fault("folds", repr(folds), "a whole number above 1, or scr")
        if folds == "scr" and (self.train, self.test) != (("jsrt",), ("jsrt",)):
            raise _fault("folds", repr(folds), "jsrt as the only data set")
        if not shared:
            raise _fault("folds", repr(folds), "a data set that both trains and tests")
        if only := sorted(set(self.test) - set(shared)):
            found = f"{', '.join(only)} only in test, which every fold would test anew"
            raise _fault("folds and test", found, "data sets that train too")

    def _check_lists(self) -> None:
        if self.lists is None and (self.unlisted != "error" or self.lists_digest is not None):
            raise _fault("unlisted and lists_digest", "no lists beside them", "lists")
        if self.unlisted not in ("error", "unused"):
            raise _fault("unlisted", repr(self.unlisted), "error or unused")

    @property
    def datasets(self) -> tuple[str, ...]:
        """All data sets, training ones first, each once."""
        return tuple(dict.fromkeys((*self.train, *self.test)))

    @cached_property
    def case_lists(self) -> CaseLists | None:
        """What the file ``lists`` says, or None where there is none.

        Raises:
            UserError: if it is absent or faulty, or its content is not what was planned.
        """
        if self.lists is None:
            return None
        read = read_case_lists(Path(self.lists))
        if self.lists_digest not in (None, read.digest):
            raise UserError(
                self.lists,
                f"other lists than those that were planned (digest {read.digest})",
                f"digest {self.lists_digest}",
                "put the old file back, or plan anew",
            )
        return read

    @property
    def fold_count(self) -> int:
        """How many folds there are: 1 without ``folds`` or ``lists`` of several."""
        if self.case_lists is not None:
            return len(self.case_lists.folds)
        if self.folds is None:
            return 1
        return SCR_FOLDS if self.folds == "scr" else self.folds

    @property
    def settings(self) -> dict[str, Any]:
        """What differs from the defaults, and always ``train``, ``test`` and ``validation``."""
        stated = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, (value, default) in stated.items()
            if value != default or key == "validation"
        }

    def draw(self, seed: int) -> int:
        """Return which few-shot set a cell of that seed trains on."""
        return seed % self.draws


def _fault(key: str, found: str, expected: str) -> UserError:
    return UserError(f"protocol: {key}", found, expected, "mend the protocol's YAML file")

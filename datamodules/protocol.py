"""What a protocol says: which data sets train, validate and test, and by which rule."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """Which cases train, validate and test.

    A number below 1 is a share, any other a count of cases of the official release.

    Attributes:
        train: data sets that train.
        test: data sets that test; a set named in both is divided by ``held_out``.
        validation: how much of the training cases validates instead of training.
        held_out: how much of the sets that both train and test is kept for testing.
        split_seed: fixes the division; a cell's ``seed`` never changes it.
        shuffle_masks: pair each training film with another one's mask. A control: whatever is
            trained so must come out at the mean shape.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]
    validation: float = 0.1
    held_out: float = 0
    split_seed: int = 20200831
    shuffle_masks: bool = False

    def __post_init__(self) -> None:
        """Reject a protocol whose train and test sets overlap without a rule to divide them."""
        object.__setattr__(self, "train", tuple(self.train))
        object.__setattr__(self, "test", tuple(self.test))
        shared = sorted(set(self.train) & set(self.test))
        if shared and not self.held_out:
            raise ValueError(f"{', '.join(shared)} both train and test: held_out must be given")
        if self.held_out and not shared:
            raise ValueError("held_out is given, but no data set both trains and tests")

    @property
    def datasets(self) -> tuple[str, ...]:
        """All data sets, training ones first, each once."""
        return tuple(dict.fromkeys((*self.train, *self.test)))

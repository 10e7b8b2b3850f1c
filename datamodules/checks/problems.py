"""What a check of data finds: faults, and one report a data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from contract.errors import UserError

SYSTEMATIC = frozenset({
    "mismatched", "empty_mask", "several_greys", "colours", "alpha", "pages", "inverted",
    "all_lung", "grey_picture", "sides_exchanged", "bytes_exchanged", "turned",
})  # fmt: skip
"""Kinds of faults that one way of saving files gives to many of them."""


@dataclass(frozen=True)
class Problem:
    """One fault.

    Attributes:
        kind: ``absent``, ``folder``, ``missing``, ``unreadable``, ``duplicated``, ``leaking``,
            ``reading``, ``odd_name``, or one of ``SYSTEMATIC``.
        path: the file, folder or cases at fault.
        found: what is there.
        expected: what should be there.
        todo: what to do about it.
        breaks: whether a benchmark on such data would be wrong.
    """

    kind: str
    path: str
    found: str
    expected: str = ""
    todo: str = ""
    breaks: bool = True

    @classmethod
    def of(cls, kind: str, error: UserError, breaks: bool = True) -> Problem:
        """Return the problem that a reader's error tells."""
        return cls(kind, error.where, error.found, error.expected, error.todo, breaks)

    def __str__(self) -> str:
        return str(UserError(self.path, self.found, self.expected, self.todo))


@dataclass
class Report:
    """What was found of one data set.

    Attributes:
        dataset: its name.
        present: whether there is anything of it.
        phantom: whether it is synthetic.
        folder: where its images are, or should be.
        download: where to get it and under which terms.
        images: images found, those that have no mask in the official release included.
        images_expected: images of the official release (fewer in phantoms).
        masks: cases found with all their masks.
        masks_expected: cases that should have masks.
        problems: all faults.
    """

    dataset: str
    present: bool
    phantom: bool
    folder: str
    download: str
    images: int = 0
    images_expected: int = 0
    masks: int = 0
    masks_expected: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing that was found makes a benchmark wrong."""
        return not any(problem.breaks for problem in self.problems)

    def as_object(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
        return asdict(self) | {"sound": self.sound}

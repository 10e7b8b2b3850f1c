"""What passes between data and networks: batches, and what a network returns for a case.

``N`` counts films (or slices of CT scans), ``C`` the network's output channels, ``H`` and ``W`` are
the sides of its square; ``h`` and ``w`` are the reference's own grid. DataModules make these
mappings; modules, callbacks and a user's own ``LightningModule`` read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from contract.arrays import Mask, Spacing

if TYPE_CHECKING:
    from torch import Tensor

FilmBox = tuple[int, int, int, int]
"""Top, left, height and width of the film inside the network's square, in pixels."""

CaseRow = dict[str, Any]
"""One case and structure: columns of ``contract.rows.CASE_SCHEMA``, the cell's own left out."""


class TrainingBatch(TypedDict):
    """What a training step needs.

    Attributes:
        image: grey values ``(N, 1, H, W)`` in the preprocessing's range.
        target: one channel a structure ``(N, C, H, W)`` in [0, 1], soft where images are mixed.
    """

    image: Tensor
    target: Tensor


class CaseIdentity(TypedDict):
    """Which film, or slice of a scan, it is: the first columns of its rows.

    Attributes:
        test_on: the data set.
        case_id: the film; of a slice, its scan and number.
        patient_id: the patient.
        reference: one of ``contract.words.REFERENCES``.
        unit: ``image`` or ``slice``.
        scan_id: the scan, for slices.
        slice_index: its place in the scan from 0, the lowest first, for slices.
        finding: what the data set says is seen on a film.
        sex: of the patient, where told.
        age: of the patient, where told.
        view: of the film, where told.
        subgroup: from a user's own table.
    """

    test_on: str
    case_id: str
    patient_id: str
    reference: str
    unit: str
    scan_id: NotRequired[str]
    slice_index: NotRequired[int]
    finding: NotRequired[str]
    sex: NotRequired[str]
    age: NotRequired[str]
    view: NotRequired[str]
    subgroup: NotRequired[str]


class ScanPlace(TypedDict):
    """The scan that a slice belongs to.

    Attributes:
        scan_id: the scan.
        n_slices: how many slices it has.
        slice_mm: mm between slices.
    """

    scan_id: str
    n_slices: int
    slice_mm: float


class EvaluationBatch(TrainingBatch):
    """What validation and prediction need; lists hold an entry a film or slice.

    Attributes:
        identity: whose it is.
        box: where the film lies inside the network's square.
        film_shape: height and width of the film on its own grid.
    """

    identity: list[CaseIdentity]
    box: list[FilmBox]
    film_shape: list[tuple[int, int]]


class ReferenceBatch(EvaluationBatch):
    """What testing needs.

    Attributes:
        references: each structure's mask ``(h, w)`` on the grid that is scored.
        lungs: the raw union of the lungs' masks ``(H, W)``, which no heart cut, at the network's
            size; where it is not given, scores at that size take the target's.
        spacing: mm from one pixel of that grid to the next, or None where unknown.
        scan: the scan of a slice; None for a film.
        nodules: identity and mask ``(h, w)`` of each nodule in a slice.
    """

    references: list[Mapping[str, Mask]]
    lungs: NotRequired[list[Mask]]
    spacing: list[Spacing | None]
    scan: list[ScanPlace | None]
    nodules: list[list[tuple[str, Mask]]]


class TestedRows(TypedDict):
    """What ``test_step`` hands to callbacks.

    Attributes:
        rows: the batch's rows, one a case and structure. Other threads score them while the next
            batch is predicted, so that looking into them waits: keep them until the epoch ends.
    """

    rows: Sequence[CaseRow]


class Prediction(TypedDict):
    """What ``predict_step`` returns for a film or slice.

    Attributes:
        identity: whose it is.
        masks: each structure's hard mask on the film's own grid, ``lungs`` always among them.
    """

    identity: CaseIdentity
    masks: dict[str, Mask]

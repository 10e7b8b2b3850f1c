"""The cases of a test on their way from the network to rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from torch import Tensor

from contract.arrays import Mask, Spacing
from contract.batch import CaseIdentity, CaseRow, FilmBox, ReferenceBatch, ScanPlace
from lightning_modules.metrics.scans import ComingSlice, GrowingScan, ScansInOrder, SliceMasks
from lightning_modules.scoring_threads import LateRows, ScoringThreads


@dataclass(frozen=True)
class PredictedCase:
    """A film or slice and what was predicted for it, on the CPU.

    Attributes:
        identity: whose it is.
        probabilities: ``(C, H, W)`` at the network's size.
        target: ``(C, H, W)``, the reference at the network's size, boolean.
        references: each structure's mask ``(h, w)`` on the grid that is scored.
        box: where the film lies inside the network's square.
        spacing: mm from one pixel of that grid to the next, or None where unknown.
        mirrored: of films, the lungs ``(H, W)`` predicted for the mirrored one, mirrored back.
        lungs: the raw union of the reference lungs ``(H, W)``, where the batch gives it.
        scan: the scan of a slice.
        nodules: identity and mask ``(h, w)`` of each nodule in a slice.
    """

    identity: CaseIdentity
    probabilities: Tensor
    target: Tensor
    references: Mapping[str, Mask]
    box: FilmBox
    spacing: Spacing | None
    mirrored: Mask | None = None
    lungs: Mask | None = None
    scan: ScanPlace | None = None
    nodules: Sequence[tuple[str, Mask]] = ()


def predicted_cases(
    batch: ReferenceBatch, probabilities: Tensor, target: Tensor, mirrored: Tensor | None = None
) -> list[PredictedCase]:
    """Return the cases of a batch.

    Args:
        batch: as it was loaded, but for tensors.
        probabilities: ``(N, C, H, W)``, these and all others on the CPU.
        target: ``(N, C, H, W)``, boolean.
        mirrored: the lungs ``(N, H, W)`` predicted for the mirrored films, boolean.
    """
    return [
        PredictedCase(
            identity=identity,
            probabilities=probabilities[place],
            target=target[place],
            references=batch["references"][place],
            box=batch["box"][place],
            spacing=batch["spacing"][place],
            mirrored=None if mirrored is None else mirrored[place].numpy(),
            lungs=batch["lungs"][place] if "lungs" in batch else None,
            scan=batch["scan"][place] if "scan" in batch else None,
            nodules=batch["nodules"][place] if "nodules" in batch else (),
        )
        for place, identity in enumerate(batch["identity"])
    ]


class CaseScoring:
    """Scores the cases of one test on threads, while the next are predicted.

    Its methods are for the thread that predicts. Of predictions, those of at most a batch and of
    as many further cases as there are threads are kept, and of scans a bit for each voxel of those
    in progress.

    Args:
        threads: how many.
        score: scores a case; called on those threads.
        masks: cuts a slice's masks for its scan; called there too.
    """

    def __init__(
        self,
        threads: int,
        score: Callable[[PredictedCase], list[CaseRow]],
        masks: Callable[[PredictedCase], Mapping[str, SliceMasks]],
    ) -> None:
        self._score, self._masks = score, masks
        self._threads = ScoringThreads(threads)
        self._scans = ScansInOrder()
        self._slices: list[Future[list[CaseRow]]] = []  # of the scan that is still announced
        self._late: deque[LateRows] = deque()
        self._kept: list[CaseRow] = []

    def add(self, cases: Sequence[PredictedCase], arrival: Callable[[], None]) -> LateRows:
        """Have a batch scored; wait first while too many cases of earlier ones are unfinished.

        Args:
            cases: the batch.
            arrival: returns once the tensors hold what they should.

        Returns:
            The rows to come: of its cases, then of the scans that end in it.

        Raises:
            Exception: what scoring an earlier case raised.
            RuntimeError: if a scan's slices do not come in order.
        """
        self._threads.wait_for_room()
        self._keep()
        parts, scans = [], []
        for case in cases:
            scan = self._scan_of(case)
            part = self._threads.submit(self._one, case, scan, arrival)
            parts.append(part)
            if scan is not None:
                self._slices.append(part)
                if scan.is_announced:
                    scans.append(self._threads.submit(_rows_of_scan, scan, self._slices))
                    self._slices = []
        rows = LateRows(self._threads, [*parts, *scans])
        self._late.append(rows)
        return rows

    def finish(self) -> list[CaseRow]:
        """Wait for all rows; return those of films and scans, not those of slices.

        Raises:
            Exception: what scoring a case raised.
            RuntimeError: if a scan lacks slices.
        """
        self._threads.finish()
        self._scans.finish()
        self._keep()
        return self._kept

    def stop(self) -> None:
        """Drop what has not begun."""
        self._threads.stop()

    def _keep(self) -> None:
        while self._late and self._late[0].are_there:
            # Slices have no part in the means, and a scan has hundreds.
            self._kept += [row for row in self._late.popleft() if row["unit"] != "slice"]

    def _scan_of(self, case: PredictedCase) -> GrowingScan | None:
        if case.scan is None:
            return None
        assert case.spacing is not None  # every scan's is known
        shapes = {name: mask.shape for name, mask in case.references.items()}
        return self._scans.next(ComingSlice(case.identity, case.scan, case.spacing, shapes))

    def _one(
        self, case: PredictedCase, scan: GrowingScan | None, arrival: Callable[[], None]
    ) -> list[CaseRow]:
        try:
            arrival()
            rows = self._score(case)
            if scan is not None:
                scan.put(case.identity["slice_index"], self._masks(case), case.nodules)
        except Exception as error:
            error.add_note(f"{case.identity['test_on']}, case {case.identity['case_id']}")
            raise
        return [{**case.identity, **row} for row in rows]


def _rows_of_scan(scan: GrowingScan, slices: Sequence[Future[list[CaseRow]]]) -> list[CaseRow]:
    for one in slices:
        one.result()
    return scan.rows()


def to_cpu(*tensors: Tensor) -> tuple[list[Tensor], Callable[[], None]]:
    """Copy tensors of one device to the CPU, from a CUDA device without waiting for it.

    Returns:
        The copies, and what waits until they hold what they should; any thread may call it.
    """
    device = tensors[0].device
    if device.type != "cuda":
        return [tensor.cpu() for tensor in tensors], lambda: None
    copies = [tensor.to("cpu", non_blocking=True) for tensor in tensors]  # page-locked
    with torch.cuda.device(device):
        copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        copied.record()

    def wait() -> None:
        with torch.cuda.device(device):  # a thread's own is the first one, which may be another's
            copied.synchronize()

    return copies, wait

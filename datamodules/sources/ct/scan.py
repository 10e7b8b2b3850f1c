"""A CT scan as a case, and what a reader of CT data sets offers beside one of films."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contract.arrays import Spacing
from contract.errors import DataError, MissingDataError
from datamodules.sources.base import Case, Source
from datamodules.sources.ct.headers import SliceHeader, is_dicom_image, walk
from datamodules.sources.ct.index import HeaderIndex
from datamodules.sources.ct.lung_masks import (
    LUNA16_LUNGS,
    find_volume,
    read_segmentation_mask,
    read_volume_mask,
    survey_segmentations,
    volume_files,
)
from datamodules.sources.ct.nodules import Nodule
from datamodules.sources.ct.series import Series, assemble
from datamodules.sources.ct.slices import ScanSlices
from datamodules.sources.ct.survey import survey_headers

OWN_MASKS = "lung-masks"
"""The folder inside of a data set's for masks of the user's own, called after the series."""


class ScanCase(Case):
    """A case that is a CT scan, whatever its files are."""

    @property
    @abstractmethod
    def series(self) -> ScanSlices:
        """Its slices in order."""

    @property
    @abstractmethod
    def slice_count(self) -> int:
        """How many slices it has."""


@dataclass(frozen=True)
class Scan(ScanCase):
    """A case that is a CT series in DICOM files.

    Attributes:
        headers: its slices' headers in no order; ``series`` puts them in one.
        readings: the XML of its nodules, or None.
    """

    headers: tuple[SliceHeader, ...] = ()
    readings: Path | None = None

    @property
    def slice_count(self) -> int:
        """How many slices it has."""
        return len(self.headers)

    @cached_property
    def series(self) -> Series:
        """Its slices in order.

        Raises:
            DataError: if they are no whole series, see ``assemble``.
        """
        return assemble(self.headers)

    def require_whole(self) -> None:
        """Raise where ``series`` does.

        Raises:
            DataError: if the slices are no whole series.
        """
        len(self.series)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that decides on the case's pixels or nodules, each once."""
        slices = (header.path for header in sorted(self.headers, key=lambda h: h.instance))
        told = () if self.readings is None else (self.readings,)
        return tuple(dict.fromkeys((*slices, *self.mask_files, *self.described_by, *told)))


@dataclass(frozen=True)
class OpenScan:
    """A scan while it is read: the volumes that its slices need at hand.

    Attributes:
        series: its slices.
        lungs: the lungs on the scan's grid ``(slices, H, W)``.
        nodules: its nodules, none where nobody looked for them.
        volume: its HU values ``(slices, H, W)`` where they had to be read for the masks anyway.
    """

    series: ScanSlices
    lungs: NDArray[np.bool_]
    nodules: tuple[Nodule, ...] = ()
    volume: NDArray[np.int16] | None = None

    def hu(self, index: int) -> NDArray[np.int16]:
        """Return a slice in HU ``(H, W)``.

        Raises:
            DataError: if its file is damaged.
        """
        return self.series.read_slice(index) if self.volume is None else self.volume[index]


class ScanSource(Source):
    """The reader of a CT data set, whose cases are scans."""

    unit = "scan"
    structures = ("lungs",)
    where_masks: str
    """Where a user gets lung masks, or puts them."""

    @abstractmethod
    def survey_scans(self) -> tuple[Sequence[ScanCase], list[DataError]]:
        """Return every scan that could be told apart, and what was wrong with others.

        Raises:
            MissingDataError: if the data set is absent.
            DataError: if a folder cannot be read.
        """

    @abstractmethod
    def open(self, scan: Case) -> OpenScan:
        """Read what a scan's slices need at hand; the slices themselves are read one by one.

        Raises:
            DataError: if a file is damaged, or the mask or the nodules are another scan's.
        """

    def require_readings(self, scan: ScanCase) -> None:
        """Raise where what people said of a scan without a mask is damaged; most sets have none.

        Raises:
            DataError: if the readings are damaged or another scan's.
        """

    def read_image(self, case: Case) -> NDArray[np.uint8]:
        """Refuse: a scan has slices, see ``open``."""
        raise TypeError(f"{case.case_id} is a scan; open it and read its slices")

    def spacing(self, shape: tuple[int, int]) -> Spacing | None:
        """Return None: every scan states its own."""
        return None


class CTSource(ScanSource):
    """The reader of a public CT data set.

    Lung masks of the user's own, in the folder ``lung-masks``, are taken before all others.
    """

    folder_name: ClassVar[str]
    released: ClassVar[int]
    """Scans of the official release."""
    released_masks: ClassVar[int]
    """Scans of it that have lung masks, public or computed."""
    memory: Path | None = None
    """A folder in which headers are remembered, where one is given."""

    @cached_property
    def folder(self) -> Path:
        """The data set's folder below the root."""
        return self.root / self.folder_name

    @property
    def official_ids(self) -> tuple[str, ...]:
        """Sorted ids of the scans that were found with lung masks (or of the phantom's)."""
        if self.phantom is None:
            return tuple(case.case_id for case in self.cases())
        written = self.phantom.get("ids")
        return tuple(sorted(map(str, written))) if isinstance(written, list) else ()

    @property
    def official_share(self) -> float:
        """1 for real data; the scans written as a share of the release for phantoms."""
        return 1.0 if self.phantom is None else len(self.official_ids) / self.released

    def cases(self) -> list[Case]:
        """Return every scan that has a lung mask, sorted by id.

        Scans without one are left out, as LUNA16 leaves out thick slices; ``scans`` gives all.

        Raises:
            MissingDataError: if the data set is absent, or no scan has a mask.
            DataError: if a scan that has a mask is no whole series.
        """
        scans = self.scans()
        masked = [scan for scan in scans if scan.masks]
        if not masked:
            raise MissingDataError(
                self.folder,
                f"no lung mask for any of its scans ({len(scans)}): series {scans[0].case_id} …",
                "a lung mask of each scan that is to train or test",
                self.where_masks,
            )
        for scan in masked:
            scan.require_whole()
        return list(masked)

    def scans(self) -> list[Scan]:
        """Return every CT scan, with a lung mask or without, sorted by id.

        Raises:
            MissingDataError: if the data set is absent.
            DataError: if a file is damaged, a folder mixes series, or there is no scan at all.
        """
        scans, faults = self._found
        if faults:
            raise faults[0]
        return scans

    def survey_scans(self) -> tuple[list[Scan], list[DataError]]:
        """Return every scan that could be told apart, and what was wrong in other folders.

        Raises:
            MissingDataError: if the data set is absent.
            DataError: if a folder cannot be read.
        """
        return self._found

    @cached_property
    def _found(self) -> tuple[list[Scan], list[DataError]]:
        self.require_folder()
        index = HeaderIndex(self.memory and self.memory / f"headers-{self.name}.json")
        found = survey_headers(walk(self.folder), index)
        index.save()
        faults, by_series = [error for _, error in found.faults], found.series
        others: dict[str, list[SliceHeader]] = defaultdict(list)
        for header in found.others:
            others[self._patient(header)].append(header)
        patients = {self._patient(headers[0]) for headers in by_series.values()}
        segmentations = [h.path for own in others.values() for h in own if h.modality == "SEG"]
        drawn_on, lungs, unusable = survey_segmentations(segmentations)
        faults += unusable
        for patient, own in sorted(others.items()):
            if patient not in patients:
                lost = [h for h in own if not drawn_on.get(h.path, set()) & by_series.keys()]
                faults += _segmentation_without_scan(patient, lost)
        if not by_series and not faults:
            faults.append(
                DataError(
                    self.folder,
                    "no CT series",
                    "DICOM files of modality CT",
                    f"download it: {self.download}",
                )
            )
        scans = []
        for uid, headers in sorted(by_series.items()):
            try:
                readings = [p for p in found.beside[uid] if p.suffix.lower() == ".xml"]
                scans.append(self._scan(uid, headers, readings, lungs.get(uid)))
            except DataError as error:
                faults.append(error)
        return scans, faults

    def _patient(self, header: SliceHeader) -> str:
        return header.patient or header.path.relative_to(self.folder).parts[0]

    def _scan(
        self,
        uid: str,
        headers: Sequence[SliceHeader],
        beside: Sequence[Path],
        segmentation: Path | None,
    ) -> Scan:
        masks, reference = self._mask_files(uid, segmentation)
        spacing = headers[0].spacing
        return Scan(
            dataset=self.name,
            case_id=uid,
            patient_id=self._patient(headers[0]),
            stratum="scan",
            image=headers[0].path,
            masks={"lungs": masks} if masks is not None else {},
            attributes=headers[0].attributes,
            spacing=(spacing[0], spacing[1]) if len(spacing) == 2 else None,
            reference=reference,
            headers=tuple(headers),
            readings=self._readings(uid, beside),
        )

    def _mask_files(
        self, uid: str, segmentation: Path | None
    ) -> tuple[tuple[Path, ...] | None, str]:
        """Return the files of a scan's lung mask and what it is; no mask: None.

        A data set whose masks are computed gives no files, which is not None.
        """
        own = find_volume(self.folder / OWN_MASKS, uid)
        if own is not None:
            return volume_files(own), "plain"
        if segmentation is not None:
            return (segmentation,), "plain"
        return self._public_masks(uid)

    @abstractmethod
    def _public_masks(self, uid: str) -> tuple[tuple[Path, ...] | None, str]:
        """Return the files of the mask that the public offers for a scan, and what it is."""

    def _readings(self, uid: str, beside: Sequence[Path]) -> Path | None:
        """Return the XML file of a scan's nodules, if there is one."""
        return None

    def open(self, scan: Case) -> OpenScan:
        """Read what a scan's slices need at hand; the slices themselves are read one by one.

        Raises:
            DataError: if a file is damaged, or the mask or the nodules are another scan's.
        """
        assert isinstance(scan, Scan)
        lungs, volume = self._lungs(scan)
        if not lungs.any():
            raise DataError(
                scan.mask_files[0] if scan.mask_files else scan.image,
                f"an empty mask of the lungs of series {scan.case_id}",
                "some foreground",
                self.where_masks,
            )
        return OpenScan(scan.series, lungs, self.nodules(scan), volume)

    def _lungs(self, scan: Scan) -> tuple[NDArray[np.bool_], NDArray[np.int16] | None]:
        files = scan.mask_files
        if not files:
            raise DataError(
                scan.image, f"no lung mask of series {scan.case_id}", "one", self.where_masks
            )
        if is_dicom_image(files[0]):
            return read_segmentation_mask(files[0], scan.series), None
        labels = LUNA16_LUNGS if scan.reference == "automatic" else None
        return read_volume_mask(files[0], scan.series, labels), None

    def require_readings(self, scan: ScanCase) -> None:
        """Raise where the readings of a scan's nodules are damaged or another scan's.

        Raises:
            DataError: as told.
        """
        assert isinstance(scan, Scan)
        self.nodules(scan)

    def nodules(self, scan: Scan) -> tuple[Nodule, ...]:
        """Return the nodules that readers outlined in a scan; none where nobody looked.

        Raises:
            DataError: if the readings are damaged or another scan's.
        """
        return ()


def _segmentation_without_scan(patient: str, headers: Iterable[SliceHeader]) -> list[DataError]:
    return [
        DataError(
            header.path,
            f"a DICOM-SEG (series {header.series}) and no CT of patient {patient}",
            "the CT series that it was drawn on",
            "download the patient's CT series too",
        )
        for header in headers
        if header.modality == "SEG"
    ][:1]

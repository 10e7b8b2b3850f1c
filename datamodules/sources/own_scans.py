"""A user's own CT scans in volume files, described by a YAML file and no code.

Its keys are those of films (see ``own_data``), with ``unit: scan``::

    name: our_ct
    unit: scan
    images: scans              # NIfTI (.nii, .nii.gz), MetaImage (.mha, .mhd) or NRRD files
    masks: lung_masks          # one volume a scan
    labels: {left_lung: 1, right_lung: 2}   # where masks hold several values
    nnunet: Dataset002_CT      # instead of images and masks
    table: patients.csv        # optional

**Scans** lie where their headers say: axes in any order and direction are read as axial slices
from the lowest to the highest, rows to the patient's left, columns to the back, as DICOM series
are. Axes more than 30° off the patient's are refused. Values are HU; a volume without air or
without tissue (a window, stored values without their rescale) is refused, and what lies below
-1024 is air.

**Masks** lie on their scan's grid, in whatever order of axes, and are looked up where they lie in
the patient. Without ``labels`` they hold 0 and one other value, which is lung; the union of both
sides is scored.

**The table** is that of films, without spacing, which the headers state. A scan without a
``patient_id`` is a patient of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.errors import DataError, UserError
from datamodules.sources.base import Case
from datamodules.sources.ct.lung_masks import read_volume_labels, volume_files
from datamodules.sources.ct.scan import OpenScan, ScanCase, ScanSource
from datamodules.sources.ct.volumes import VolumeSlices
from datamodules.sources.files import VOLUME_ENDINGS
from datamodules.sources.own_files import content_of, files_by_id
from datamodules.sources.own_source import OwnSource
from datamodules.sources.own_table import CaseEntry, read_case_table

FILMS_ALONE = ("spacing_mm", "bits")
"""Keys that mean nothing for scans, whose headers state a spacing and whose values are HU."""


@dataclass(frozen=True)
class VolumeScan(ScanCase):
    """A scan in one volume file, ``image``."""

    @cached_property
    def series(self) -> VolumeSlices:
        """Its slices in order."""
        return VolumeSlices(self.image, self.case_id)

    @property
    def slice_count(self) -> int:
        """How many slices it has."""
        return len(self.series)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that decides on the case's voxels, each once."""
        volumes = (*volume_files(self.image), *self.mask_files, *self.described_by)
        return tuple(dict.fromkeys(volumes))


class OwnScans(OwnSource, ScanSource):
    """The reader of a CT data set that a YAML file describes.

    Args:
        file: the YAML file.
        root: the data root, where paths that are not beside the file are looked for.

    Raises:
        UserError: if a key of the file is unknown, missing or wrong.
        DataError: if a folder or file that it names does not exist.
    """

    item = "scan"
    where_masks = "draw its lungs, or mend the mask"

    def __init__(self, file: Path, root: Path) -> None:
        super().__init__(file, root)
        about = self._about
        if "" not in about.masks:
            raise UserError(
                f"{file}: masks", "a folder for each structure", "one folder of lung masks",
                "join left and right into one mask, or into labels of one file",
            )  # fmt: skip
        for key in FILMS_ALONE:
            if getattr(about, key.removesuffix("_mm")) is not None:
                raise UserError(f"{file}: {key}", "it beside unit: scan", "none", "remove the key")

    @cached_property
    def official_ids(self) -> tuple[str, ...]:
        """Sorted ids of all scans."""
        return tuple(sorted(self._volumes))

    @cached_property
    def _volumes(self) -> Mapping[str, Path]:
        found = files_by_id(self.folder, self._about.image_name, VOLUME_ENDINGS)
        if not found:
            raise DataError(
                self.folder,
                f"no scan called {self._about.image_name} (there: {content_of(self.folder)})",
                f"volumes in one of the formats {' '.join(VOLUME_ENDINGS)}",
                f"mend image_name or the folder in {self._about.file}",
            )
        return found

    def cases(self) -> list[Case]:
        """Return every scan, sorted by id; of the volumes only headers are read.

        Raises:
            DataError: if a scan, a mask or a line of the table lacks its counterparts, or a header
                is damaged.
        """
        return list(self._cases)

    def survey_scans(self) -> tuple[Sequence[ScanCase], list[DataError]]:
        """Return every scan; a description of which something is missing is an error."""
        return self._cases, []

    @cached_property
    def _cases(self) -> list[VolumeScan]:
        about = self._about
        masks = files_by_id(about.masks[""], about.mask_names[""], VOLUME_ENDINGS)
        self._require_ids(about.masks[""], set(masks), "mask")
        rows: Mapping[str, CaseEntry] = {}
        if about.table is not None:
            rows = read_case_table(about.table)
            self._require_ids(about.table, set(rows), "line")
        scans = []
        for case_id in self.official_ids:
            row = rows.get(case_id, CaseEntry())
            if row.spacing is not None:
                raise DataError(
                    f"{about.table}", f"a spacing of case {case_id}",
                    "none: the scans' headers state it", "remove the column",
                )  # fmt: skip
            scan = VolumeScan(
                dataset=self.name,
                case_id=case_id,
                patient_id=row.patient or case_id,
                stratum=row.stratum,
                image=self._volumes[case_id],
                masks={"lungs": volume_files(masks[case_id])},
                attributes=row.attributes,
                described_by=about.files,
            )
            len(scan.series)  # reads the header
            scans.append(scan)
        return scans

    def open(self, scan: Case) -> OpenScan:
        """Read a scan and its mask.

        Raises:
            DataError: if a file is damaged, the mask lies on another grid, is empty or holds values
                that mean nothing, or the scan is not in HU.
        """
        assert isinstance(scan, VolumeScan)
        lungs = self._lungs(scan)
        return OpenScan(scan.series, lungs, volume=scan.series.read())

    def _lungs(self, scan: VolumeScan) -> NDArray[np.bool_]:
        path = scan.mask_files[0]
        values = read_volume_labels(path, scan.series)
        present = np.unique(values)
        labels = self._about.labels
        if labels is None:
            if len(present) > 2 or (len(present) == 2 and present[0] != 0):
                found = f"the values {', '.join(f'{v:g}' for v in present[:8])}"
                raise DataError(
                    path, found, "0 and one other value, which is lung",
                    f"say in {self._about.file} what they mean, e.g. "
                    "labels: {left_lung: 1, right_lung: 2}",
                )  # fmt: skip
            lungs = values != 0
        else:
            parts = labels.get("lungs") or labels["left_lung"] | labels["right_lung"]
            if not all(isinstance(value, int) for value in parts):
                raise UserError(
                    f"{self._about.file}: labels", ", ".join(sorted(map(str, parts))),
                    "whole numbers: masks of scans hold no colours or pages", "mend labels",
                )  # fmt: skip
            lungs = np.isin(values, list(parts))
        if not lungs.any():
            found = f"an empty mask of the lungs; its values are {present[:8].tolist()}"
            raise DataError(path, found, "some foreground", "mend mask or labels")
        return np.asarray(lungs, np.bool_)

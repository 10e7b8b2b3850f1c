"""The reader of a public data set whose layout and ids are known."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import ClassVar

from contract.errors import DataError
from datamodules.sources.base import PHANTOM_MARKER, Case, Gap, Source
from datamodules.sources.clinical import read_clinical_texts
from datamodules.sources.files import list_files


class OfficialSource(Source):
    """The reader of a public data set in its official layout, whose ids are known."""

    folder_name: ClassVar[str]
    ids_file: ClassVar[str]
    same_patient: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Ids of films that show one patient: a minimum, found by eye after alignment."""

    @cached_property
    def folder(self) -> Path:
        """The data set's folder below the root."""
        return self.root / self.folder_name

    @classmethod
    def released_ids(cls) -> tuple[str, ...]:
        """Sorted ids of the cases that have masks in the official release."""
        listed = resources.files("datamodules.sources.official") / cls.ids_file
        return tuple(sorted(listed.read_text().split()))

    @cached_property
    def official_ids(self) -> tuple[str, ...]:
        """Sorted ids of the cases that have masks in the official release (or the phantom's)."""
        released = self.released_ids()
        if self.phantom is None:
            return released
        written = self.phantom.get("ids")
        if not isinstance(written, list):
            raise DataError(self.folder / PHANTOM_MARKER, "no list of ids", '"ids": [...]')
        return tuple(sorted(set(released) & set(map(str, written))))

    @property
    def official_share(self) -> float:
        """Cases found as a share of the official release: 1 for real data, less for phantoms."""
        return len(self.official_ids) / len(self.released_ids())

    @classmethod
    def patient(cls, case_id: str) -> str:
        """Return the patient's id: the first film's, where several show one patient."""
        return next((films[0] for films in cls.same_patient if case_id in films), case_id)

    def cases(self) -> list[Case]:
        """Return every official case that has a mask, sorted by id.

        Raises:
            MissingDataError: if the data set is absent.
            DataError: if a file of the official release is missing, naming it.
        """
        cases, gaps = self.survey()
        if gaps:
            shown = "; ".join(f"{gap.case_id} {gap.lacks}" for gap in gaps[:5])
            shown += " …" if len(gaps) > 5 else ""
            raise DataError(
                self.folder,
                f"{len(gaps)} of {len(self.official_ids)} cases incomplete: missing {shown}",
                "every case of the official release",
                "download the data set again; a smaller split would not be comparable",
            )
        return cases

    def survey(self) -> tuple[list[Case], list[Gap]]:
        """Return the complete cases, sorted by id, and what the others lack.

        Raises:
            MissingDataError: if the data set is absent.
            DataError: if a folder is missing or unreadable.
        """
        self.require_folder()
        images, attributes = self._images(), self._attributes()
        masks = {structure: list_files(folder) for structure, folder in self._mask_folders()}
        cases, gaps = [], []
        for case_id in self.official_ids:
            files: dict[str, tuple[Path, ...]] = {}
            for structure, parts in self._mask_names(case_id).items():
                found = tuple(masks[part][name] for part, name in parts if name in masks[part])
                if len(found) == len(parts):
                    files[structure] = found
            missing = tuple(sorted(set(self.structures) - set(files)))
            if case_id not in images or missing:
                gaps.append(Gap(case_id, case_id not in images, missing))
            else:
                cases.append(
                    Case(
                        dataset=self.name,
                        case_id=case_id,
                        patient_id=self.patient(case_id),
                        stratum=self.stratum(case_id),
                        image=images[case_id],
                        masks=files,
                        attributes=attributes.get(case_id, {}),
                    )
                )
        return cases, gaps

    @classmethod
    @abstractmethod
    def stratum(cls, case_id: str) -> str:
        """Return the finding that the id tells."""

    @abstractmethod
    def _images(self) -> Mapping[str, Path]:
        """Return the image file of each case id found."""

    @abstractmethod
    def _mask_folders(self) -> Sequence[tuple[str, Path]]:
        """Return the mask folders, each under a short name."""

    @abstractmethod
    def _mask_names(self, case_id: str) -> Mapping[str, Sequence[tuple[str, str]]]:
        """Return for each structure the (folder's short name, file name) pairs of its masks."""

    def _attributes(self) -> Mapping[str, Mapping[str, str]]:
        """Return what the clinical files tell of each case id, where they are present."""
        return read_clinical_texts(self.folder / "ClinicalReadings")

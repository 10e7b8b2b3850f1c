"""CT series below some folders, told apart by their headers: the one way that scans are found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contract.errors import DataError
from datamodules.sources.ct.headers import SliceHeader
from datamodules.sources.ct.index import HeaderIndex
from datamodules.sources.ct.series import require_one_series


@dataclass
class HeaderSurvey:
    """What the headers of DICOM files tell.

    Attributes:
        series: the slices of each CT series by its UID, in no order and from however many folders.
        beside: every file in these folders, by the same UID.
        others: headers of other modalities.
        faults: folders that cannot be used, with the reason.
    """

    series: dict[str, list[SliceHeader]] = field(default_factory=lambda: defaultdict(list))
    beside: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    others: list[SliceHeader] = field(default_factory=list)
    faults: list[tuple[Path, DataError]] = field(default_factory=list)


def survey_headers(
    folders: Iterable[tuple[Path, Sequence[Path]]], index: HeaderIndex
) -> HeaderSurvey:
    """Tell apart the CT series in some folders; files that are no DICOM are left aside.

    A folder with a damaged file, or with a CT series and something else, is a fault.

    Args:
        folders: each folder with its files.
        index: reads the headers, or remembers them.
    """
    found = HeaderSurvey()
    for folder, files in folders:
        try:
            headers = index.headers(folder, files)
            slices = [header for header in headers if header.modality == "CT"]
            if slices:
                require_one_series(folder, headers)
        except DataError as error:
            found.faults.append((folder, error))
            continue
        if slices:
            found.series[slices[0].series] += slices
            found.beside[slices[0].series] += files
        found.others += [header for header in headers if header.modality != "CT"]
    return found

"""CT series of The Cancer Imaging Archive, one by one from its NBIA service.

The service packs each series into a ZIP file as it is asked (``getImage``), whose length and
digest nobody knows before: what is whole is told by ZIP's checksums and by the number of files that
``getSeries`` states. A fetch that broke off goes on with the series that are not there.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.errors import UserError
from datamodules.digests import Progress, no_progress
from datamodules.fetch.addresses import Collection
from datamodules.fetch.download import ResumingDownloader, open_address, require_answer
from datamodules.fetch.unpacking import require_room, unpack

UID = re.compile(r"[0-9]{1,20}(\.[0-9]{1,40}){3,30}")
PATIENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}")
MOST_SERIES_BYTES = 4e9
DICOM = (".dcm", "")


@dataclass(frozen=True)
class OfferedSeries:
    """A series that a service offers.

    Attributes:
        uid: its SeriesInstanceUID.
        folder: where it belongs, below the collection's folder: patient, study, series.
        files: how many images it has.
        size: their bytes, 0 where the service does not say.
    """

    uid: str
    folder: Path
    files: int
    size: int


def list_series(collection: Collection, timeout_s: tuple[float, float]) -> list[OfferedSeries]:
    """Return the series that the service offers of a collection, sorted by folder.

    Raises:
        UserError: if it does not answer, or not with a list of series.
    """
    from requests import RequestException

    url = f"{collection.service}/getSeries"
    try:
        with open_address(
            url, timeout_s,
            Collection=collection.name, Modality=collection.modality, format="json",
        ) as answer:  # fmt: skip
            require_answer(answer, answer.url)
            rows = answer.json()
    except (RequestException, ValueError) as error:
        found = f"no list of series ({type(error).__name__})"
        raise UserError(url, found, "the collection's series", "try again later") from None
    if not isinstance(rows, list) or not rows:
        raise UserError(url, "no series", f"those of {collection.name}", "see the provider's page")
    return sorted((_series(row, url) for row in rows), key=lambda one: str(one.folder))


def fetch_series(
    collection: Collection,
    offered: Sequence[OfferedSeries],
    root: Path,
    progress: Progress,
    downloader: ResumingDownloader,
) -> int:
    """Fetch what is not there and return how many series that were.

    Raises:
        UserError: as ``ResumingDownloader`` and ``unpack``, and if a series comes with another
            number of files than the service states.
    """
    home = root / collection.folder
    absent = [series for series in offered if not (home / series.folder).is_dir()]
    home.mkdir(parents=True, exist_ok=True)
    require_room(home, sum(series.size for series in absent), f"for {len(absent)} series")
    downloader.progress = no_progress  # the series' own bar is enough
    for one in progress(absent, len(absent), f"{collection.name}, series"):
        assert isinstance(one, OfferedSeries)
        _fetch(collection, one, home, downloader)
    return len(absent)


def _fetch(
    collection: Collection, series: OfferedSeries, home: Path, downloader: ResumingDownloader
) -> None:
    url = f"{collection.service}/getImage?SeriesInstanceUID={series.uid}"
    archive = downloader.part.with_name(f"{series.uid}.zip")
    # Packed anew at each call: a part of an earlier one fits no later one.
    downloader.part.unlink(missing_ok=True)
    downloader(url, str(archive), None)
    arrived = archive.with_suffix("")
    try:
        if arrived.exists():
            shutil.rmtree(arrived)
        unpack(archive, "", arrived, MOST_SERIES_BYTES, no_progress)
        images = [path for path in sorted(arrived.rglob("*")) if path.suffix.lower() in DICOM]
        images = [path for path in images if path.is_file() and path.name.upper() != "LICENSE"]
        if series.files and len(images) != series.files:
            raise UserError(
                url,
                f"{len(images)} images",
                f"the {series.files} that getSeries states",
                "run the command again: it goes on with this series",
            )
        target = home / series.folder
        target.parent.mkdir(parents=True, exist_ok=True)
        arrived.replace(target)
    finally:
        archive.unlink(missing_ok=True)
        if arrived.exists():
            shutil.rmtree(arrived, ignore_errors=True)


def _series(row: object, url: str) -> OfferedSeries:
    stated: Mapping[str, Any] = row if isinstance(row, Mapping) else {}
    uid, study = str(stated.get("SeriesInstanceUID")), str(stated.get("StudyInstanceUID"))
    patient = str(stated.get("PatientID"))
    named = UID.fullmatch(uid) and UID.fullmatch(study) and PATIENT.fullmatch(patient)
    files, size = stated.get("ImageCount") or 0, stated.get("FileSize") or 0
    if not named or type(files) is not int or type(size) is not int or min(files, size) < 0:
        raise UserError(
            url,
            f"a series of patient {patient[:70]!r}, study {study[:70]!r}, UID {uid[:70]!r}, "
            f"{files!r} images",
            "plain identifiers and numbers",
            "try again later; if it stays so, the service has changed",
        )
    return OfferedSeries(uid, Path(patient, study, uid), files, size)

"""One data set from its provider into a data root."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contract.errors import UserError
from datamodules.digests import Progress
from datamodules.fetch.addresses import Archive, Offer, is_filled
from datamodules.fetch.download import TIMEOUT_S, WAIT_S, ResumingDownloader, download
from datamodules.fetch.series import fetch_series, list_series
from datamodules.fetch.unpacking import unpack
from datamodules.sources.base import PHANTOM_MARKER

HIDDEN = ".fetched"
"""The folder below a data root of what is on its way, and of pinned digests."""


@dataclass(frozen=True)
class Fetched:
    """What came of a fetch.

    Attributes:
        new: what was downloaded and unpacked, for people.
        there: what was there before and left as it is.
    """

    new: tuple[str, ...]
    there: tuple[str, ...]


def fetch_dataset(
    offer: Offer,
    root: Path,
    progress: Progress,
    say: Callable[[str], None],
    wait_s: float = WAIT_S,
    timeout_s: tuple[float, float] = TIMEOUT_S,
) -> Fetched:
    """Download what a data root lacks of a data set, and unpack it in the official layout.

    Args:
        offer: where it is offered.
        root: the data root; it is made where absent.
        progress: shows MiB, files and series.
        say: tells people what happens.
        wait_s: seconds between two tries of a broken download.
        timeout_s: seconds until a server must accept, and between two parts of its answer.

    Raises:
        UserError: if a download or an archive is faulty, or there is no room.
    """
    new, there = [], []
    for archive in offer.archives:
        if is_filled(root / archive.folder):
            there.append(archive.folder)
            continue
        home = root / HIDDEN
        part = home / f"{archive.file_name}.part"
        _fetch_archive(archive, root, ResumingDownloader(part, progress, wait_s, timeout_s), say)
        new.append(archive.folder)
    collection = offer.collection
    if collection is not None:
        marker = root / collection.folder / PHANTOM_MARKER
        if marker.is_file():
            todo = "choose another data root, or remove the phantoms"
            raise UserError(marker.parent, "phantoms", "real scans or nothing", todo)
        offered = list_series(collection, timeout_s)
        part = root / HIDDEN / "series.part"
        downloader = ResumingDownloader(part, progress, wait_s, timeout_s)
        number = fetch_series(collection, offered, root, progress, downloader)
        if number:
            new.append(f"{number} series of {collection.folder}")
        if number < len(offered):
            there.append(f"{len(offered) - number} series of {collection.folder}")
    return Fetched(tuple(new), tuple(there))


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep other fetches out of a data root.

    Raises:
        UserError: if one is running, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = root / HIDDEN / "lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=0):
            yield
    except Timeout:
        found = "another `data fetch` that is running"
        raise UserError(root, found, "one at a time", "wait until it has ended") from None
    except PermissionError as error:
        found = f"a folder that cannot be written ({error.strerror})"
        raise UserError(error.filename or root, found, todo="choose another data root") from None


def _fetch_archive(
    archive: Archive, root: Path, downloader: ResumingDownloader, say: Callable[[str], None]
) -> None:
    file = root / HIDDEN / archive.file_name
    pin = file.with_name(f"{file.name}.sha256")
    digest = download(archive.url, file, archive.sha256, downloader, pin)
    known = "as stated" if archive.sha256 else f"kept in {pin} to compare the next time"
    say(f"{file.name}: {file.stat().st_size:,} bytes, SHA-256 {digest} ({known})")
    try:
        most = archive.at_most_gb * 1e9
        unpack(file, archive.inside, root / archive.folder, most, downloader.progress)
    except UserError as error:
        # An archive without room is fetched once; one that is no good is not kept, nor its digest.
        if error.where == str(file):
            file.unlink(missing_ok=True)
            if not archive.sha256:
                pin.unlink(missing_ok=True)
        raise
    file.unlink()

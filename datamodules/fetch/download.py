"""One file over HTTP: resumed where it broke off, checked, and pinned for the next time.

pooch compares the digest and puts a file in place only when it is right; it begins a broken
download anew, so the downloader that it is given here goes on instead.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from contract.errors import UserError
from contract.files import write_atomically
from datamodules.digests import Progress
from datamodules.fetch.unpacking import require_room

if TYPE_CHECKING:
    from requests import Response

MIB = 1 << 20
PIECE = 1 << 16
"""Bytes read at a time: what is lost at most when a connection breaks."""

TRIES = 5
"""Connections that may break before a download gives up; what came is kept."""

WAIT_S = 2.0
TIMEOUT_S = (15.0, 60.0)
"""Seconds until a server must accept, and between two parts of its answer."""


@dataclass
class ResumingDownloader:
    """A downloader for pooch that goes on where an earlier one broke off, by an HTTP range.

    What came is kept as ``.part``, with the server's mark of that version in ``.version``: a file
    that changed meanwhile is fetched from its start.

    Attributes:
        part: the file that grows.
        progress: shows MiB.
        wait_s: seconds between two tries.
        timeout_s: seconds until a server must accept, and between two parts of its answer.
    """

    part: Path
    progress: Progress
    wait_s: float = WAIT_S
    timeout_s: tuple[float, float] = TIMEOUT_S

    def __call__(self, url: str, output_file: str | IO[bytes], pooch: object) -> None:
        """Download to the file, as pooch calls it.

        Raises:
            UserError: if the server refuses, the connection broke ``TRIES`` times, or the disk has
                no room.
        """
        from requests import ConnectionError as Broken
        from requests import RequestException, Timeout
        from requests.exceptions import ChunkedEncodingError

        self.part.parent.mkdir(parents=True, exist_ok=True)
        for left in reversed(range(TRIES)):
            try:
                self._go_on(url)
                break
            except (Broken, Timeout, ChunkedEncodingError) as error:
                if left == 0:
                    raise UserError(
                        url,
                        f"{_in_words(error)}, {TRIES} times; {_size(self.part):,} bytes came",
                        "the whole file",
                        "run the command again later: it goes on from there if the server lets it",
                    ) from None
                time.sleep(self.wait_s)
            except RequestException as error:
                raise UserError(
                    url,
                    f"no answer that can be read ({type(error).__name__})",
                    "a file",
                    "look whether the address is still right",
                ) from None
        self.part.replace(str(output_file))
        self._version.unlink(missing_ok=True)

    @property
    def _version(self) -> Path:
        return self.part.with_suffix(".version")

    def _go_on(self, url: str) -> None:
        have, version = _size(self.part), _text(self._version)
        headers = {}
        if have and version:
            headers = {"Range": f"bytes={have}-", "If-Range": version}
        with open_address(url, self.timeout_s, headers) as answer:
            if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                if _total(answer) == have:
                    return
                self.part.unlink()  # longer than the file is now
                return self._go_on(url)
            require_answer(answer, url)
            goes_on = answer.status_code == HTTPStatus.PARTIAL_CONTENT
            if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                self.part.unlink()
                return self._go_on(url)
            if not goes_on:
                have = 0
                write_atomically(self._version, _mark(answer))
            self._write(answer, have, goes_on)
        return None

    def _write(self, answer: Response, have: int, goes_on: bool) -> None:
        from requests import RequestException

        length = answer.headers.get("Content-Length", "")
        number = -(-int(length) // MIB) if length.isdecimal() else 0
        if number:
            require_room(self.part.parent, int(length), f"to download {self.part.stem}")
        title = f"{self.part.stem}, MiB" + (f" after the first {have >> 20:,}" if have else "")
        try:
            with self.part.open("ab" if goes_on else "wb") as file:
                written = _written(answer, file)
                for _ in self.progress(written, number, title) if number else written:
                    pass
        except OSError as error:
            if isinstance(error, RequestException):  # which are OSErrors too
                raise
            raise UserError(
                self.part,
                f"a file that cannot be written ({error.strerror})",
                "room for the archive",
                "make room and run the command again: it goes on from there",
            ) from None


def download(
    url: str, to: Path, known: str | None, downloader: ResumingDownloader, pin: Path
) -> str:
    """Download a file and return its SHA-256 digest, which is pinned for the next time.

    Args:
        url: where it is offered.
        to: the file to write; pooch takes it as it is where its digest is right.
        known: the digest where it is stated, else the pinned one is taken.
        downloader: fetches it.
        pin: the file that holds the digest of the last download.

    Raises:
        UserError: as ``ResumingDownloader``, and if the digest is another one.
    """
    import pooch

    pooch.get_logger().setLevel("ERROR")  # what it says is said here, in words
    stated = known or _text(pin)
    try:
        pooch.retrieve(url, stated or None, to.name, to.parent, downloader=downloader)
    except ValueError:
        whence = "the file of addresses" if known else str(pin)
        raise UserError(
            url,
            "a file with another SHA-256 digest; it was removed",
            f"{stated}, which {whence} states",
            "run the command again; if it stays so, the provider changed the file: look there why"
            + ("" if known else f", and remove {pin} to accept it"),
        ) from None
    digest = str(pooch.file_hash(str(to)))
    write_atomically(pin, digest)
    return digest


def open_address(
    url: str,
    timeout_s: tuple[float, float],
    headers: dict[str, str] | None = None,
    **parameters: Any,
) -> Response:
    """Return a server's answer, its content not yet read.

    Raises:
        requests.RequestException: if there is none.
    """
    import requests

    answer = requests.get(
        url,
        params=parameters or None,
        headers={"Accept-Encoding": "identity", **(headers or {})},  # lengths are the file's own
        stream=True,
        timeout=timeout_s,
    )
    if url.startswith("https:") and not answer.url.startswith("https:"):
        answer.close()
        raise UserError(url, f"a way on to {answer.url}", "https", "look at the provider's page")
    return answer


def require_answer(answer: Response, url: str) -> None:
    """Refuse an answer that is not the file.

    Raises:
        UserError: naming the address and what the server says.
    """
    if answer.ok:
        return
    status = answer.status_code
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "unknown"
    gone = status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
    todo = "the address has changed: look at the provider's page" if gone else "try again later"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        todo = "the provider asks for an account by now: follow its page by hand"
    raise UserError(url, f"the server's answer {status} ({phrase})", "a file", todo)


def _written(answer: Response, file: BinaryIO) -> Iterator[int]:
    """Write an answer's content to a file, and give each MiB's number when it is written."""
    done = told = 0
    for piece in answer.iter_content(PIECE):
        file.write(piece)
        done += len(piece)
        while done - told * MIB >= MIB:
            told += 1
            yield told
    if done > told * MIB:
        yield told + 1


def _in_words(error: Exception) -> str:
    from requests import ConnectTimeout, Timeout
    from requests.exceptions import ChunkedEncodingError, ProxyError, SSLError

    if isinstance(error, SSLError):
        return "a certificate that this machine does not trust"
    if isinstance(error, ProxyError):
        return "a proxy that does not let through"
    if isinstance(error, ConnectTimeout):
        return "a server that does not accept the connection in time"
    if isinstance(error, Timeout) or "timed out" in str(error):
        return "a server that fell silent"
    if isinstance(error, ChunkedEncodingError):
        return "a connection that broke off"
    return "no connection to the server"


def _mark(answer: Response) -> str:
    """Return what tells this version of the file from another; a weak mark tells nothing."""
    etag = str(answer.headers.get("ETag", ""))
    if etag and not etag.startswith("W/"):
        return etag
    return str(answer.headers.get("Last-Modified", ""))


def _total(answer: Response) -> int | None:
    found = re.fullmatch(r"bytes \*/(\d+)", str(answer.headers.get("Content-Range", "")))
    return int(found[1]) if found else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _text(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""

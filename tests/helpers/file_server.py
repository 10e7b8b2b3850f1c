"""A small HTTP server of one folder, which can break off, fall silent and refuse."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


@dataclass
class Served:
    """What a server hands out, and how it behaves.

    Attributes:
        files: contents by path.
        breaks: lengths after which the next answers break off, one an answer.
        status: answer every request so.
        silent_s: seconds to wait in the middle of an answer.
        chunked: state neither length nor version, as a service that packs files when asked.
        claims: the length that answers state, in place of the true one.
        version: the files' ETag.
        ranges: whether parts are handed out.
        asked: the ``Range`` of every request, or none.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    status: int = 200
    silent_s: float = 0
    chunked: bool = False
    claims: int | None = None
    version: str = '"one"'
    ranges: bool = True
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


@contextlib.contextmanager
def serving(served: Served):
    """Serve on a free port of this machine; ``served.url`` is its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def send_chunks(self, content):
            self.close_connection = True
            most = served.breaks.pop(0) if served.breaks else None
            for start in range(0, len(content), 1 << 16):
                if most is not None and start >= most:
                    return  # without the last chunk, which ends the answer
                piece = content[start : start + (1 << 16)]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

        def do_GET(self):
            asked = self.headers.get("Range")
            served.asked.append(asked)
            parts = urlsplit(self.path)
            uids = parse_qs(parts.query).get("SeriesInstanceUID")
            content = served.files.get(f"{parts.path}?{uids[0]}" if uids else parts.path)
            if served.status != 200 or content is None:
                self.send_error(served.status if served.status != 200 else 404)
                return
            start, whole = 0, len(content)
            if asked and served.ranges and self.headers.get("If-Range") == served.version:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= whole:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{whole}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            else:
                self.send_response(200)
            if served.chunked:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.send_chunks(content)
                return
            self.send_header("ETag", served.version)
            self.send_header("Content-Length", str(served.claims or whole - start))
            self.end_headers()
            sent = content[start:]
            if served.breaks:
                sent = sent[: served.breaks.pop(0)]
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(sent[: len(sent) // 2])
                if served.silent_s:
                    self.wfile.flush()
                    time.sleep(served.silent_s)
                self.wfile.write(sent[len(sent) // 2 :])
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


def as_json(value) -> bytes:
    """Return a value as a service answers it."""
    return json.dumps(value).encode()


def write_addresses(file: Path, offers: dict) -> Path:
    """Write a file of addresses; JSON is YAML."""
    file.write_text(json.dumps(offers))
    return file

"""The server of the local page: no connection is held for ever, and only so many at once."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

MOST_AT_ONCE = 16
"""Connections; a browser opens some six."""
SILENCE_S = 20.0
"""How long a connection may be silent: within a request, before it, or while an answer waits."""
AFTER_REFUSAL_S = 1.0
"""The same once a request was refused: what it still sends is read, so that it sees the answer."""

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Retry-After: 5\r\nConnection: close\r\nContent-Length: 43\r\n\r\n"
    b"Too many connections at once; try it again."
)


class PatientHandler(WSGIRequestHandler):
    """Answers one request of a connection, then closes it."""

    timeout = SILENCE_S

    def send_response(self, code: int, message: str | None = None) -> None:
        """Begin an answer; a refused client has not long to go on sending."""
        if code >= 400:
            self.connection.settimeout(AFTER_REFUSAL_S)
        super().send_response(code, message)


class LocalServer(ThreadedWSGIServer):
    """A thread for each connection, up to ``MOST_AT_ONCE``; others are told to try again.

    Args:
        listening: a socket that listens; the caller closes it.
        app: the application.
    """

    def __init__(self, listening: socket.socket, app: Flask) -> None:
        host, port = listening.getsockname()[:2]
        super().__init__(host, port, app, PatientHandler, fd=listening.fileno())
        self._room = threading.BoundedSemaphore(MOST_AT_ONCE)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a connection's thread, where there is room for it."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        request.settimeout(AFTER_REFUSAL_S)
        with suppress(OSError):
            request.sendall(_FULL)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, then make room for the next."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

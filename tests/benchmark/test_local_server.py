"""The local page's server drops who is silent, holds so many at once, and says good-bye."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

import pytest
from flask import Flask, request

from benchmark.prediction import local_server
from benchmark.prediction.local_server import LocalServer, PatientHandler
from benchmark.prediction.serve import serve


@pytest.fixture
def port(monkeypatch):
    """The port of a small application behind the real server, which is not patient."""
    monkeypatch.setattr(PatientHandler, "timeout", 0.5)
    monkeypatch.setattr(local_server, "AFTER_REFUSAL_S", 0.3)
    monkeypatch.setattr(local_server, "MOST_AT_ONCE", 3)
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 1000

    @app.get("/")
    def hello() -> str:
        return "hello"

    @app.post("/")
    def take() -> str:
        return str(len(request.get_data()))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = LocalServer(listening, app)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield listening.getsockname()[1]
        server.shutdown()
        thread.join()


def answer(port: int, sent: bytes) -> tuple[str, float]:
    """What comes back until the server closes the connection, and after how many seconds."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(sent)
        said = b""
        while got := client.recv(65536):
            said += got
    return said.decode(), time.monotonic() - started


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: "


@pytest.mark.parametrize(
    "sent", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\n", HEAD + b"900\r\n\r\nhalf"]
)
def test_a_half_open_connection_is_dropped(port, sent):
    said, seconds = answer(port, sent)
    assert "hello" not in said and seconds < 3
    assert "hello" in answer(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")[0]


@pytest.mark.parametrize("more", [b"", b"x" * 5000])
def test_a_refused_upload_sees_why_and_its_connection_is_closed(port, more):
    said, seconds = answer(port, HEAD + b"5000000\r\n\r\n" + more)
    assert "413" in said.splitlines()[0] and seconds < 3


def test_so_many_at_once_and_the_next_is_told_to_wait(port):
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    time.sleep(0.1)
    said, _ = answer(port, b"")
    assert "503" in said.splitlines()[0] and said.endswith(
        "Too many connections at once; try it again."
    )
    time.sleep(1)
    assert "hello" in answer(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")[0]
    for one in idle:
        one.close()


def test_ctrl_c_says_good_bye(trained_runs, capsys):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    try:
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        serve(trained_runs, 0)
    finally:
        signal.signal(signal.SIGINT, before)
    lines = capsys.readouterr().out.splitlines()
    assert "open http://127.0.0.1:" in lines[0] and lines[-1] == "stopped; good-bye"

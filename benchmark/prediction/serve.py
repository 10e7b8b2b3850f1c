"""The local web page for ``predict``: one film in, mask, overlay and measurements out."""

from __future__ import annotations

import base64
import logging
import socket
import tempfile
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from flask import Flask, Response, request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import BadRequest, NotFound, RequestEntityTooLarge, UnsupportedMediaType

from benchmark.prediction.local_guard import guard
from benchmark.prediction.local_server import LocalServer
from benchmark.prediction.networks import finished
from benchmark.prediction.outcome import without_place
from benchmark.prediction.pictures import as_jpeg, as_png, paint_structures
from benchmark.prediction.predictor import Model, Predictor
from benchmark.prediction.segmentation import Segmentation, segment
from benchmark.prediction.shipped import shipped_model
from benchmark.progress import say
from contract.errors import DataError, UserError
from contract.machine import give_back_memory
from datamodules.sources.films import Film, read_film
from datamodules.sources.volume_files import volume_ending

LOOPBACK = "127.0.0.1"
MOST_MEGABYTES = 32
"""A film of 40 million 16-bit pixels, compressed, is smaller."""

FORM_BYTES = 64 << 10
"""What a form says besides its image."""


class Shelf:
    """Trained systems below a runs folder, and the one that ships; the last used stays loaded.

    Args:
        runs: the runs folder.
        device: where networks predict.
    """

    def __init__(self, runs: Path, device: str) -> None:
        self._runs, self._device = runs, device
        self._lock = threading.Lock()
        self._loaded: tuple[Model, Predictor] | None = None

    def systems(self) -> list[Model]:
        """Return what can segment films by now, the model that comes with the package last."""
        films = (one for one in finished(self._runs) if one.unit == "image")
        return [*films, shipped_model()]

    def segment(self, name: str, film: Film) -> tuple[Model, Segmentation]:
        """Segment a film, one at a time.

        Args:
            name: a system's ``Model.name``.
            film: the film.

        Raises:
            NotFound: if there is no such system.
            UserError: if it cannot be loaded.
        """
        known = {system.name: system for system in self.systems()}
        if name not in known:
            raise NotFound(f"There is no finished system called {name!r}; load the page again.")
        with self._lock:
            if self._loaded is None or self._loaded[0] != known[name]:
                self._loaded = None  # two large systems might not fit beside each other
                self._loaded = known[name], known[name].load(self._device)
            model, networks = self._loaded
            return model, segment(networks, film)


def create_app(runs: Path, device: str = "auto") -> Flask:
    """Return the web application.

    Args:
        runs: the runs folder, whose finished cells can be chosen.
        device: where networks predict.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = (MOST_MEGABYTES << 20) + FORM_BYTES
    guard(app)
    shelf = Shelf(runs, device)
    one_at_a_time = threading.Lock()  # two large films might not fit beside each other
    page = {name: (files("benchmark.prediction.page") / name).read_text() for name in
            ("page.html.j2", "page.css", "page.js")}  # fmt: skip
    template = jinja2.Environment(autoescape=True).from_string(page["page.html.j2"])

    @app.get("/")
    def show() -> str:
        return template.render(systems=shelf.systems(), most=MOST_MEGABYTES)

    @app.get("/page.css")
    def style() -> Response:
        return Response(page["page.css"], mimetype="text/css")

    @app.get("/page.js")
    def script() -> Response:
        return Response(page["page.js"], mimetype="text/javascript")

    @app.post("/segment")
    def answer() -> dict[str, Any]:
        with one_at_a_time:
            give_back_memory()
            film = _read_upload(request.files.getlist("image"))
            model, found = shelf.segment(request.form.get("system", ""), film)
            return describe_result(model, film, found)

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(error: RequestEntityTooLarge) -> tuple[dict[str, str], int]:
        size = "more" if request.content_length is None else f"{request.content_length / 2**20:.0f}"
        return {"error": f"The upload has {size} MB; a film may have {MOST_MEGABYTES} MB."}, 413

    @app.errorhandler(UserError)
    def at_fault(error: UserError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, 500

    return app


def _read_upload(uploads: list[FileStorage]) -> Film:
    """Read the one film of a form; no part of its file's name touches the disk.

    Raises:
        BadRequest: if there is not exactly one file, or its name holds a path.
        UnsupportedMediaType: if it is no readable film.
    """
    if len(uploads) != 1:
        raise BadRequest(f"Expected one image, found {len(uploads)}.")
    name = uploads[0].filename or ""
    stated = uploads[0].headers.get("Content-Disposition", "")  # where backslashes still are
    if any(sign in name + stated for sign in "/\\\0") or name in (".", ".."):
        raise BadRequest(f"The file's name {name!r} holds a path; expected a plain name.")
    with tempfile.TemporaryDirectory(prefix="lungbench-film-") as folder:
        path = Path(folder) / f"upload{volume_ending(name)}"
        uploads[0].save(path)
        try:
            return read_film(path, force=True)
        except DataError as error:
            raise UnsupportedMediaType(f"Not a readable film: {without_place(error)}.") from None


def describe_result(model: Model, film: Film, found: Segmentation) -> dict[str, Any]:
    """Return what the page shows of a segmented film, pictures as ``data:`` addresses."""
    heart = found.measured.get("heart")
    return {
        "system": model.name,
        "phantom": model.phantom,
        "height": film.shape[0],
        "width": film.shape[1],
        "spacing": film.spacing,
        "areas": [
            {"structure": name.replace("_", " "), "px": of["area_px"], "mm2": of["area_mm2"]}
            for name, of in found.measured.items()
        ],
        "cardiothoracic_ratio": heart and heart["cardiothoracic_ratio"],
        "disagreement": found.mirrored,
        "disagreement_networks": found.networks,
        "components": found.quality.components,
        "flagged": found.quality.flagged or bool(film.doubts),
        "reasons": [*film.doubts, *found.quality.reasons],
        "remarks": film.remarks,
        "film": _address("jpeg", as_jpeg(paint_structures(film.pixels, {}))),
        "overlay": _address("jpeg", as_jpeg(paint_structures(film.pixels, found.masks))),
        "masks": {name: _address("png", as_png(mask)) for name, mask in found.masks.items()},
    }


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def serve(runs: Path, port: int, device: str = "auto") -> None:
    """Serve the page on this machine's loopback address until interrupted.

    Args:
        runs: the runs folder.
        port: the TCP port; 0 for any free one.
        device: where networks predict.

    Raises:
        UserError: if the port is in use.
    """
    systems = Shelf(runs, device).systems()
    try:
        listening = socket.create_server((LOOPBACK, port))
    except OSError as error:
        found = f"a port that cannot be used ({error.strerror})"
        raise UserError(f"--port {port}", found, todo="choose another") from None
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with listening:
        app = create_app(runs, device)
        port = listening.getsockname()[1]
        server = LocalServer(listening, app)
        say(f"{len(systems)} system(s); open http://{LOOPBACK}:{port}/ and stop with Ctrl-C")
        server.serve_forever()  # which ends at Ctrl-C
        say("stopped; good-bye")

"""Who may talk to the local web page: this machine's browser, from the page itself."""

from __future__ import annotations

from flask import Flask, Response, request
from werkzeug.exceptions import Forbidden, HTTPException

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere loads and nothing goes elsewhere."""


def guard(app: Flask) -> None:
    """Make an application answer its own page only, with errors in plain words.

    A request whose ``Host`` is another name comes from a page that made its own name point to
    this machine (DNS rebinding); one with a foreign ``Origin`` from another page. Answers are
    never stored, since they show patients.
    """

    @app.before_request
    def refuse_strangers() -> None:
        port = request.environ["SERVER_PORT"]
        hosts = [f"127.0.0.1:{port}", f"localhost:{port}"]
        if port == "80":
            hosts += ["127.0.0.1", "localhost"]
        if request.host not in hosts:
            raise Forbidden(f"This page answers to {hosts[0]} only, not to {request.host}.")
        origin = request.headers.get("Origin")
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        foreign = origin is not None and origin not in [f"http://{host}" for host in hosts]
        if request.method != "GET" and (foreign or site not in ("same-origin", "none")):
            raise Forbidden("Only this machine's own page may send images here.")

    @app.after_request
    def protect(answer: Response) -> Response:
        answer.headers |= {
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        return answer

    @app.errorhandler(HTTPException)
    def in_words(error: HTTPException) -> tuple[dict[str, str], int]:
        return {"error": error.description or error.name}, error.code or 500

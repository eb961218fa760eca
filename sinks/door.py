"""Shell: the HTTP door of the sinks' process: routes to functions, for health and metrics (and what else is served there)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ingest.contract.errors import UnavailableError

log = logging.getLogger(__name__)


class Reply(NamedTuple):
    """An answer: status, content type, body."""

    status: int
    content_type: str
    body: bytes


#: Takes the request's query string and headers.
Route = Callable[[str, Mapping[str, str]], Reply]


def text(status: int, words: str) -> Reply:
    """A plain text answer."""
    return Reply(status, "text/plain; charset=utf-8", words.encode() + b"\n")


class Door(ThreadingHTTPServer):
    """The server: exact paths to routes, GET only. `serve_forever` is a thread's life, `shutdown` ends it."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, routes: Mapping[str, Route]) -> None:
        """Raises UnavailableError when the port is in use."""
        self.routes = routes
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise UnavailableError(
                f"{host}:{port} cannot be used for health and metrics ({error.strerror}): set sinks.port"
            ) from error

    @property
    def port(self) -> int:
        """The port that was bound."""
        return int(self.server_address[1])

    def serve_forever(self, poll_interval: float = 0.1) -> None:
        """As the base has it, but quicker to stop."""
        super().serve_forever(poll_interval)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a connection ended in an error", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: Door
    protocol_version = "HTTP/1.1"
    server_version = "footfall"
    sys_version = ""
    timeout = 30
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Nothing: scrapes and probes are no news."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        route = self.server.routes.get(url.path)
        reply = route(url.query, dict(self.headers.items())) if route else text(404, "not found")
        with contextlib.suppress(OSError):
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(reply.body)

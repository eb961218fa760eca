"""Shell: the HTTP door of the sinks' process: routes to functions, for health and metrics (and what else is served there)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from sinks.listener import Handler, Listener


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


class Door(Listener):
    """The server: exact paths to routes, GET only."""

    def __init__(self, host: str, port: int, routes: Mapping[str, Route]) -> None:
        """Raises UnavailableError when the port is in use."""
        self.routes = routes
        super().__init__(host, port, _Handler, "health and metrics", "sinks.port")


class _Handler(Handler):
    server: Door
    timeout = 30

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

"""A door in front of a collector that fails first, as a load balancer may, and then passes requests on byte for byte."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from ingest.routes import ROUTES

#: refuse: 503, and nothing reached the collector; lose: the collector has it, and its answer is replaced by a 503; cut: likewise,
#: and instead of an answer the connection ends.
Failure = Literal["refuse", "lose", "cut"]
_HOP = {"connection", "transfer-encoding", "content-length", "host", "keep-alive", "server", "date"}


class FailingFront:
    """A context manager. The first event requests meet with the `failures`, one each; all others are passed on."""

    def __init__(self, port: int, failures: tuple[Failure, ...] = ()) -> None:
        self._port = port
        self._failures = list(failures)
        self._lock = threading.Lock()
        #: Method, path and status (0: none) of every request, in order of the answers.
        self.seen: list[tuple[str, str, int]] = []
        #: Content-Encoding of all event requests.
        self.encodings: set[str] = set()
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_any(self) -> None:
                front.handle(self)

            do_GET = do_POST = do_OPTIONS = do_any

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> FailingFront:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def failed(self) -> int:
        """How many requests have met with a failure."""
        return sum(status in (0, 503) for _, _, status in self.seen)

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """One request."""
        path = request.path.partition("?")[0]
        body = _body(request)
        failure: Failure | None = None
        with self._lock:
            if request.command != "OPTIONS" and path in ROUTES:
                self.encodings.add(request.headers.get("Content-Encoding", ""))
                failure = self._failures.pop(0) if self._failures else None
        status, headers, answer = 503, {"Retry-After": "1", "Content-Type": "application/json"}, _UNAVAILABLE
        if failure != "refuse":
            told = self._pass_on(request, body)
            if failure is None:
                status, headers, answer = told
        if failure and (origin := request.headers.get("Origin")):
            headers |= {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
            headers["Access-Control-Expose-Headers"] = "Retry-After"
        self.seen.append((request.command, path, 0 if failure == "cut" else status))
        if failure == "cut":
            request.close_connection = True
            return
        try:
            request.send_response_only(status)
            for name, value in headers.items():
                request.send_header(name, value)
            if status != 204:
                request.send_header("Content-Length", str(len(answer)))
            request.end_headers()
            request.wfile.write(answer)
        except OSError:
            request.close_connection = True  # a page that has gone does not wait for its answer

    def _pass_on(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
            headers["Host"] = request.headers.get("Host", "")
            connection.request(request.command, request.path, body or None, headers)
            answer = connection.getresponse()
            found = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
            return answer.status, found, answer.read()
        finally:
            connection.close()


_UNAVAILABLE = b'{"code":"unavailable","message":"try again"}'


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding", "").lower() == "chunked":
        parts = []
        while size := int(request.rfile.readline().split(b";")[0], 16):
            parts.append(request.rfile.read(size))
            request.rfile.readline()
        request.rfile.readline()
        return b"".join(parts)
    return request.rfile.read(int(request.headers.get("Content-Length") or 0))

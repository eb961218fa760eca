"""Shell: the HTTP server of console and API: a thread a connection, bounded; read-only."""

from __future__ import annotations

import contextlib
import gzip
import logging
import threading
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec

from sinks.api.errors import ApiError, Problem
from sinks.api.routes import PREFIX
from sinks.api.service import Service
from sinks.console.files import File, load
from sinks.console.guard import CHALLENGE, HEADERS, check
from sinks.listener import Handler, Listener

log = logging.getLogger(__name__)

_JSON = "application/json"
_STREAMS = 32
_EVERY_S = 1.0
_WORTH_PACKING = 1400
_METHODS = "GET, HEAD"


class Console(Listener):
    """The server. `shutdown` ends every stream too."""

    def __init__(self, host: str, port: int, service: Service, token: str) -> None:
        """Raises UnavailableError when the port is in use."""
        self.service = service
        self.token = token
        self.files: dict[str, File] = load()
        self.ending = threading.Event()
        self.streams = threading.BoundedSemaphore(_STREAMS)
        super().__init__(host, port, _Handler, "the console", "sinks.console_port")

    def shutdown(self) -> None:
        """Ends the streams, then the server."""
        self.ending.set()
        super().shutdown()

    def server_close(self) -> None:
        """Ends the streams, gives the port up, and ends the connections that are kept alive."""
        self.ending.set()
        super().server_close()


class _Handler(Handler):
    server: Console
    timeout = 60

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base refuses by itself (methods, nonsense) is answered as all else is."""
        status = 405 if code == HTTPStatus.NOT_IMPLEMENTED else int(code)
        self.close_connection = True
        words = f"only {_METHODS} here" if status == 405 else message or HTTPStatus(code).phrase
        self._problem(ApiError(status, "method" if status == 405 else "bad_request", words))

    def _serve(self) -> None:
        try:
            if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
                self.close_connection = True  # a body is not read
            check({name.lower(): value for name, value in self.headers.items()}, self.server.token)
            url = urlsplit(self.path)
            if url.path == PREFIX + "/live":
                self.server.service.answer(url.path, url.query)  # its parameters are checked
                self._stream()
            elif url.path.startswith("/api/"):
                answer = self.server.service.answer(url.path, url.query)
                saved = [("Content-Disposition", f'attachment; filename="{answer.filename}"')] if answer.filename else []
                following = [("Link", f'<{answer.next_page}>; rel="next"')] if answer.next_page else []
                self._reply(200, answer.media, answer.body, [("Cache-Control", "no-store"), *saved, *following])
            else:
                self._file(url.path)
        except ApiError as error:
            self._problem(error)
        except OSError:
            self.close_connection = True
        except ValueError:  # urlsplit, of what is no URL
            self._problem(ApiError(400, "bad_request", "this is no URL"))
        except Exception:
            log.exception("the API failed unforeseen")
            self._problem(ApiError(500, "unforeseen", "a fault of ours: the log of the sinks has the details"))

    def _file(self, path: str) -> None:
        file = self.server.files.get(path)
        if file is None:
            raise ApiError(404, "not_found", "there is no such page")
        headers = [("Cache-Control", "no-cache"), ("ETag", file.tag)]
        if self.headers.get("If-None-Match") == file.tag:
            self._reply(304, file.media, b"", headers)
        else:
            self._reply(200, file.media, file.body, headers, file.packed)

    def _stream(self) -> None:
        if not self.server.streams.acquire(blocking=False):
            raise ApiError(503, "busy", f"{_STREAMS} live streams are open already: close a page, or poll {PREFIX}/now")
        try:
            self.close_connection = True
            self._head(200, "text/event-stream; charset=utf-8", [("Cache-Control", "no-store"), ("Connection", "close")])
            if self.command == "HEAD":
                return
            self.wfile.write(b"retry: 2000\n\n")
            while not self.server.ending.is_set():
                self.wfile.write(b"event: now\ndata: " + self.server.service.live() + b"\n\n")
                self.wfile.flush()
                self.server.ending.wait(_EVERY_S)
        finally:
            self.server.streams.release()

    def _problem(self, error: ApiError) -> None:
        body = msgspec.json.encode(Problem(error.problem.code, error.problem.message))
        headers = [("Cache-Control", "no-store")]
        if error.status == 401:
            headers.append(CHALLENGE)
        if error.status == 405:
            headers.append(("Allow", _METHODS))
        self._reply(error.status, _JSON, body, headers)

    def _reply(self, status: int, media: str, body: bytes, headers: list[tuple[str, str]], packed: bytes = b"") -> None:
        text = media.startswith(("text/", _JSON))
        headers_read = getattr(self, "headers", None)  # a request line that is none has no headers
        accepted = headers_read.get("Accept-Encoding", "") if headers_read else ""
        if text and len(body) > _WORTH_PACKING and "gzip" in accepted:
            body = packed or gzip.compress(body, 1)
            headers = [*headers, ("Content-Encoding", "gzip")]
        if text:
            headers = [*headers, ("Vary", "Accept-Encoding")]
        with contextlib.suppress(OSError):
            self._head(status, media, [*headers, ("Content-Length", str(len(body)))])
            if self.command != "HEAD" and status != 304:
                self.wfile.write(body)

    def _head(self, status: int, media: str, headers: list[tuple[str, str]]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media)
        for name, value in (*HEADERS, *headers):
            self.send_header(name, value)
        if self.close_connection and not any(name == "Connection" for name, _ in headers):
            self.send_header("Connection", "close")
        self.end_headers()

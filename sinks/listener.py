"""Shell: what the doors of the sinks' process have in common: how they bind, bound their connections, and stop."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ingest.contract.errors import UnavailableError

log = logging.getLogger(__name__)

_CONNECTIONS = 128


class Listener(ThreadingHTTPServer):
    """A thread a connection, a bounded number of them. `serve_forever` is a thread's life; `shutdown` and `server_close` end it.

    what, setting: what the port is for, and which setting names it, for the error of a port in use.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler], what: str, setting: str) -> None:
        """Raises UnavailableError when the port is in use."""
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), handler)
        except OSError as error:
            raise UnavailableError(f"{host}:{port} cannot be used for {what} ({error.strerror}): set {setting}") from error

    @property
    def port(self) -> int:
        """The port that was bound."""
        return int(self.server_address[1])

    def serve_forever(self, poll_interval: float = 0.1) -> None:
        """As the base has it, but quicker to stop."""
        super().serve_forever(poll_interval)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts a connection's thread, unless there are too many."""
        with self._open_lock:
            full = len(self._open) >= _CONNECTIONS
            if not full:
                self._open.add(request)
        if full:
            super().shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Ends a connection."""
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Gives the port up and ends the connections that are kept alive."""
        super().server_close()
        with self._open_lock:
            still = list(self._open)
        for connection in still:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a connection ended in an error", exc_info=True)


class Handler(BaseHTTPRequestHandler):
    """A request's handler that says nothing of itself and writes no log."""

    protocol_version = "HTTP/1.1"
    server_version = "footfall"
    sys_version = ""
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Nothing: a URL may hold a password, and what somebody looks at is nobody else's business."""

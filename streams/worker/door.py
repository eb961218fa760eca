"""Shell: the worker's health door: GET /health/live, /health/ready, /metrics. Runs in the worker's own event loop, so that a
loop that hangs is not called alive."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from ingest.contract.errors import UnavailableError


class Door:
    """Serves health and metrics. The port is taken at once (0: a free one), `port` says which; answers come from `start` on.

    Raises UnavailableError when the port is taken.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry, ready: Callable[[], bool]) -> None:
        self._registry = registry
        self._ready = ready
        self._runner: web.AppRunner | None = None
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._socket = socket.create_server((host, port), family=family)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise UnavailableError(f"worker.port {port} on {host} cannot be used ({why}): free it or set another") from error
        self.port: int = self._socket.getsockname()[1]

    async def start(self) -> None:
        """Begins to answer."""
        app = web.Application()
        app.router.add_get("/health/live", self._live)
        app.router.add_get("/health/ready", self._is_ready)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()

    async def stop(self) -> None:
        """Closes the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def _is_ready(self, _: web.Request) -> web.Response:
        if self._ready():
            return web.Response(text="ready\n")
        return web.Response(text="recovering or waiting for partitions\n", status=503)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

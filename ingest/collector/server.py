"""Shell: the HTTP server for SDKs. Reads a body within its limits, has it read by `ingest.intake`, answers when all is safe.

aiohttp's low-level server: one handler, no router and no redirects.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from ingest import answers, stubs
from ingest.answers import Answer
from ingest.collector.outlet import Outlet
from ingest.collector.secret import read_key
from ingest.collector.stats import Stats
from ingest.contract.errors import UnavailableError
from ingest.contract.settings import Settings
from ingest.intake import Intake, Request, take, unforeseen
from ingest.keys import Keys
from ingest.limits import limits_of
from ingest.privacy.rule import Privacy
from ingest.routes import ROUTES, Route
from ingest.rules import rules_of

log = logging.getLogger(__name__)

#: A body that is not there after that long is a client that is gone, or one that means ill.
BODY_S = 30.0
#: Bytes beyond the limit that are read and thrown away so that an answer can be given at all; then the connection is cut.
_DRAIN_BYTES = 64 * 1024 * 1024
#: Request lines: Sensors' browser SDK puts an event of many properties into one.
_MAX_LINE = 64 * 1024
_KEEPALIVE_S = 75.0
_STOP_S = 15.0
#: On stopping, how long connections that are open already are still served: each is told to close.
_LINGER_STOP_S = 0.3


class _Held:
    """Bytes of one request that are counted as in flight."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0


class Server:
    """The collector's public port."""

    def __init__(self, settings: Settings, outlet: Outlet, stats: Stats) -> None:
        self._host = settings.collector.host
        self.port = settings.collector.port
        self._keys = Keys(settings.apps)
        self._limits = limits_of(settings.collector)
        privacy = settings.privacy
        self._privacy = Privacy(privacy, settings, read_key(privacy)) if privacy.in_force else None
        self._conceal = self._privacy.conceal if self._privacy is not None else None
        self._rules = rules_of(settings, self._privacy)
        self._max_in_flight = settings.collector.max_in_flight_bytes
        self._reading = 0
        self._outlet = outlet
        self._stats = stats
        self.stopping = False
        self._runner: web.ServerRunner | None = None
        self._site: web.TCPSite | None = None
        stats.in_flight_bytes.set_function(lambda: self._in_flight)

    async def start(self) -> None:
        """Opens the port; raises UnavailableError when it cannot be had."""
        server = web.Server(
            self._handle,
            access_log=None,
            auto_decompress=False,  # with a bound, in ingest.inflate
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_LINE,
            keepalive_timeout=_KEEPALIVE_S,
            tcp_keepalive=True,
        )
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_STOP_S)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, self._host, self.port, backlog=1024)
        try:
            await self._site.start()
        except OSError as error:
            await self._runner.cleanup()
            why = os.strerror(error.errno or 0)
            raise UnavailableError(
                f"collector.port {self.port} on {self._host} cannot be used ({why}): free it, or set another"
            ) from error
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Takes no new connections, answers what was asked, and closes the others."""
        self.stopping = True
        if self._site is not None:
            await self._site.stop()
        await asyncio.sleep(_LINGER_STOP_S)
        if self._runner is not None:
            await self._runner.cleanup()

    def why_not_ready(self) -> str:
        """Why no request can be taken at the moment; "" when one can."""
        return "the collector stops" if self.stopping else self._outlet.why_away

    @property
    def _in_flight(self) -> int:
        return self._reading + self._outlet.pending_bytes

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        target = request.raw_path
        path, _, query = target.partition("?") if target.startswith("/") else request.rel_url.raw_path_qs.partition("?")
        route = ROUTES.get(path)
        headers: Mapping[str, str] = request.headers
        origin = headers.get("Origin", "")
        stub = stubs.stub_of(path) if route is None else None
        if stub is not None and request.method in stubs.METHODS:
            label, answer = "stub", stub(stubs.Asked(query, headers))
        elif route is None and stub is None:
            label, answer = self._other(request.method, path)
        elif request.method == "OPTIONS":
            label, answer = "preflight", Answer(204, "", b"", answers.cors(origin or "*", preflight=True))
        elif route is None or request.method not in route.methods:
            methods = stubs.METHODS if route is None else route.methods
            label, allowed = "stub" if route is None else route.protocol, {"Allow": ", ".join((*methods, "OPTIONS"))}
            answer = answers.error(405, "method", f"{path} takes {' and '.join(methods)}", allowed)
        else:
            label, answer = route.protocol, await self._take(request, path, query, route)
        self._stats.request(label, answer.status)
        response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        response.headers["Server"] = "footfall"
        if answer.content_type:
            response.headers["Content-Type"] = answer.content_type
        if origin and label != "preflight":
            response.headers.update(answers.cors(origin))
        if self.stopping or answer.status >= 500:
            response.force_close()
        return response

    def _other(self, method: str, path: str) -> tuple[str, Answer]:
        if method in ("GET", "HEAD") and path in ("/health/live", "/health/ready"):
            why = self.why_not_ready() if path == "/health/ready" else ""
            return "health", Answer(
                503 if why else 200, "text/plain; charset=utf-8", f"{why or path.rpartition('/')[2]}\n".encode()
            )
        return "other", answers.error(404, "not_found", f"nothing is here; events go to {', '.join(list(ROUTES)[:2])} or /sa")

    async def _take(self, request: web.BaseRequest, path: str, query: str, route: Route) -> Answer:
        why = self._outlet.why_away
        if why:
            return answers.unavailable(why)
        held = _Held()
        try:
            body, cut = await self._read(request, held)
            intake = self._intake(Request(request.method, path, query, request.headers, body, cut), route)
            started = time.perf_counter()
            await self._outlet.put(intake.accepted, intake.rejected)
            self._stats.ack_seconds.observe(time.perf_counter() - started)
        except UnavailableError as error:
            return answers.unavailable(str(error))
        except TimeoutError:
            return answers.unavailable(f"the body did not come within {BODY_S:.0f} s")
        except (OSError, ClientPayloadError, HttpProcessingError) as error:
            return answers.unavailable(f"the body did not come whole: {type(error).__name__}")
        finally:
            self._reading -= held.size
        self._stats.request_bytes.inc(len(body))
        self._stats.safe(route.protocol, intake)
        return intake.answer

    async def _read(self, request: web.BaseRequest, held: _Held) -> tuple[bytes, bool]:
        """The body, and whether it is longer than allowed: then its beginning, the rest read and thrown away.

        Raises UnavailableError when there is no room for it at the moment.
        """
        content = request.content
        limit = self._limits.body_bytes
        if content.is_eof():  # it came with the headers, as most do
            body = content.read_nowait()
            self._hold(len(body), held)
            return (body, False) if len(body) <= limit else (body[:limit], True)
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # the low-level server leaves that to us
        parts: list[bytes] = []
        size = 0
        async with asyncio.timeout(BODY_S):
            while part := await content.readany():
                size += len(part)
                if size <= limit:
                    self._hold(len(part), held)
                    parts.append(part)
                elif size - len(part) < limit:
                    parts.append(part[: limit - size])
                elif size > limit + _DRAIN_BYTES:
                    break
        return b"".join(parts), size > limit

    def _hold(self, size: int, held: _Held) -> None:
        if self._in_flight + size > self._max_in_flight:
            raise UnavailableError("too much waits for Kafka already (collector.max_in_flight_bytes)")
        held.size += size
        self._reading += size

    def _intake(self, request: Request, route: Route) -> Intake:
        received = time.time_ns() // 1_000_000
        try:
            return take(request, route, self._keys, self._limits, received, self._rules, self._conceal)
        except Exception as error:
            log.exception("a request to %s could not be read; it is kept in the rejected topic", request.path)
            return unforeseen(request, route, self._keys, self._limits, received, error, self._conceal)
        finally:
            if self._privacy is not None:
                self._stats.masked(self._privacy)

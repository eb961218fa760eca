"""Shell: the HTTP server for SDKs. Reads a body within its limits, has it read by `ingest.intake`, answers when all is safe."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from typing import Literal, cast

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from ingest import answers, openapi, stubs
from ingest.addresses import bucket_name, client_address
from ingest.answers import Answer
from ingest.collector.connections import Connection, Connections, HttpServer
from ingest.collector.outlet import Outlet
from ingest.collector.secret import read_key
from ingest.collector.stats import Stats
from ingest.contract.errors import ConfigError, UnavailableError
from ingest.contract.settings import Settings
from ingest.intake import Intake, Request, take, unforeseen
from ingest.policy import policy_of
from ingest.routes import ROUTES, Route

log = logging.getLogger(__name__)

#: Bytes beyond the limit that are read and thrown away so that an answer can be given at all; then the connection is cut.
_DRAIN_BYTES = 64 * 1024 * 1024
#: The part of collector.max_in_flight_bytes that bodies may fill that are still on their way: slow clients leave room.
_UNFINISHED_SHARE = 0.5
#: On stopping, how long requests may still take that are being taken: their bodies to come, and to be safe.
_STOP_S = 15.0
#: After that, how long what hangs is waited for before it is cut.
_CUT_S = 1.0
#: On stopping, how long connections that are open already are still served: each is told to close.
_LINGER_STOP_S = 0.3


class _Held:
    """Bytes of one request that are counted as in flight; `unfinished` while more is to come."""

    __slots__ = ("size", "unfinished")

    def __init__(self) -> None:
        self.size = self.unfinished = 0


class Server:
    """The collector's public port."""

    def __init__(self, settings: Settings, outlet: Outlet, stats: Stats) -> None:
        self._host = settings.collector.host
        self.port = settings.collector.port
        self._settings = settings
        self._salt = secrets.token_bytes(16)
        self._secret = read_key(settings.privacy) if settings.privacy.in_force else b""
        self.policy = policy_of(settings, self._salt, self._secret)
        self._max_in_flight = settings.collector.max_in_flight_bytes
        self._body_s = settings.collector.body_timeout_ms / 1000
        self._body_rate = settings.collector.body_bytes_per_s
        self._reading = 0
        self._unfinished = 0
        self._outlet = outlet
        self._stats = stats
        self.stopping = False
        self._runner: web.ServerRunner | None = None
        self._site: web.TCPSite | None = None
        stats.in_flight_bytes.set_function(lambda: self._in_flight)

    async def start(self) -> None:
        """Opens the port; raises UnavailableError when it cannot be had."""
        self._connections = Connections(self._settings.collector, self._stats)
        self._connections.start()
        server = HttpServer(self._handle, self._connections)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_CUT_S)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, self._host, self.port, backlog=1024)
        try:
            await self._site.start()
        except OSError as error:
            await self._runner.cleanup()
            await self._connections.stop()
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
            await self._connections.settled(_STOP_S)  # aiohttp's own waiting reads no body on
            await self._runner.cleanup()
            await self._connections.stop()

    def adopt(self, settings: Settings) -> None:
        """Takes over what other settings say about keys, limits of events, buckets, origins, proxies and rules, from now on.

        Raises ConfigError, and goes on with the old ones then.
        """
        if settings.privacy != self._settings.privacy:
            raise ConfigError("[privacy] has changed, and all collectors have to change it at once: stop them, then start them")
        policy = policy_of(settings, self._salt, self._secret)
        old, new = self._settings.collector, settings.collector
        if (old.key_events_per_s, old.key_burst_events) == (new.key_events_per_s, new.key_burst_events):
            policy = policy._replace(by_key=self.policy.by_key)
        if (old.address_requests_per_s, old.address_burst_requests) == (new.address_requests_per_s, new.address_burst_requests):
            policy = policy._replace(by_address=self.policy.by_address)
        self._connections.adopt(new)
        self.policy, self._settings = policy, settings

    def why_not_ready(self) -> str:
        """Why no request can be taken at the moment; "" when one can."""
        return "the collector stops" if self.stopping else self._outlet.why_away

    @property
    def _in_flight(self) -> int:
        return self._reading + self._outlet.pending_bytes

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast(Connection, request.protocol)
        connection.began()
        try:
            return await self._respond(request, connection)
        finally:
            connection.ended()

    async def _respond(self, request: web.BaseRequest, connection: Connection) -> web.StreamResponse:
        target = request.raw_path
        path, _, query = target.partition("?") if target.startswith("/") else request.rel_url.raw_path_qs.partition("?")
        route = ROUTES.get(path)
        headers, origins = request.headers, self.policy.origins
        origin = headers.get("Origin", "")
        stub = stubs.stub_of(path) if route is None else None
        if stub is not None and request.method in stubs.METHODS:
            label, answer = "stub", stub(stubs.Asked(query, headers))
        elif route is None and stub is None:
            label, answer = self._other(request.method, path)
        elif request.method == "OPTIONS":
            methods = stubs.METHODS if route is None else route.methods
            label, answer = "preflight", Answer(204, "", b"", origins.headers(origin, methods))
        elif route is None or request.method not in route.methods:
            methods = stubs.METHODS if route is None else route.methods
            label, allowed = "stub" if route is None else route.protocol, {"Allow": ", ".join((*methods, "OPTIONS"))}
            answer = answers.error(405, "method", f"{path} takes {' and '.join(methods)}", allowed)
        else:
            label, answer = route.protocol, await self._take(request, path, query, route, connection.peer)
        self._stats.request(label, answer.status)
        response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        response.headers["Server"] = "footfall"
        if answer.content_type:
            response.headers["Content-Type"] = answer.content_type
        if label not in ("preflight", "health", "other"):
            response.headers.update(origins.headers(origin))
        if self.stopping or answer.status >= 500 or answer.status == 429:
            response.force_close()
        return response

    def _other(self, method: str, path: str) -> tuple[str, Answer]:
        if method in ("GET", "HEAD") and path in ("/health/live", "/health/ready"):
            why = self.why_not_ready() if path == "/health/ready" else ""
            return "health", Answer(
                503 if why else 200, "text/plain; charset=utf-8", f"{why or path.rpartition('/')[2]}\n".encode()
            )
        if method in ("GET", "HEAD") and path == "/openapi.json":
            return "openapi", Answer(200, answers.JSON, openapi.encoded())
        return "other", answers.error(404, "not_found", f"nothing is here; events go to {', '.join(list(ROUTES)[:2])} or /sa")

    async def _take(self, request: web.BaseRequest, path: str, query: str, route: Route, peer: str) -> Answer:
        why = self._outlet.why_away
        if why:
            return answers.unavailable(why)
        policy = self.policy
        address = self._address(request, peer)
        if policy.by_address and (wait := policy.by_address.take(bucket_name(address), 1, time.monotonic())):
            return self._limited(route, "address", wait)
        foreign = not policy.origins.allow(request.headers.get("Origin", ""))
        held = _Held()
        try:
            body, cut = await self._read(request, held)
            self._hold(0, held)  # small bodies may become large frames: there may be no room by now
            intake = self._intake(Request(request.method, path, query, request.headers, body, cut, address, foreign), route)
            if policy.by_key and (wait := policy.by_key.take_all(intake.charge, time.monotonic())):
                return self._limited(route, "key", wait)
            started = time.perf_counter()
            await self._outlet.put(intake.accepted, intake.rejected)
            self._stats.ack_seconds.observe(time.perf_counter() - started)
        except UnavailableError as error:
            return answers.unavailable(str(error))
        except TimeoutError:
            self._stats.cut("slow_body")
            self._stats.by_client("slow_body")
            return answers.unavailable("the body comes too slowly")
        except (OSError, ClientPayloadError, HttpProcessingError) as error:
            self._stats.by_client("cut_body")
            return answers.unavailable(f"the body did not come whole: {type(error).__name__}")
        finally:
            self._reading -= held.size
            self._unfinished -= held.unfinished
        self._stats.request_bytes.inc(len(body))
        self._stats.safe(route.protocol, intake)
        return intake.answer

    def _address(self, request: web.BaseRequest, peer: str) -> str:
        policy = self.policy
        if not policy.proxies:
            return peer
        header = policy.forwarded_header
        return client_address(peer, request.headers.getall(header, []), header, policy.proxies)

    def _limited(self, route: Route, by: Literal["key", "address"], wait_s: float) -> Answer:
        self._stats.limited(by)
        if route.protocol != "native":  # that one is told by 429
            self._stats.by_client("limited")
        what = "of this write key" if by == "key" else "from this address"
        return answers.limited(route.protocol == "native", wait_s, f"too much {what} at once: send it again later")

    async def _read(self, request: web.BaseRequest, held: _Held) -> tuple[bytes, bool]:
        """The body, and whether it is longer than allowed: then its beginning, the rest read and thrown away.

        Raises UnavailableError when there is no room for it at the moment, TimeoutError when it comes too slowly.
        """
        content = request.content
        limit = self.policy.limits.body_bytes
        if content.is_eof():  # it came with the headers, as most do
            body = content.read_nowait()
            self._hold(len(body), held)
            return (body, False) if len(body) <= limit else (body[:limit], True)
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # the low-level server leaves that to us
        parts: list[bytes] = []
        size = 0
        async with asyncio.timeout(self._body_s) as timeout:
            until = timeout.when() or 0.0
            while part := await content.readany():
                size += len(part)
                if size <= limit:
                    self._hold(len(part), held, unfinished=True)
                    parts.append(part)
                elif size - len(part) < limit:
                    parts.append(part[: limit - size])
                elif size > limit + _DRAIN_BYTES:
                    break
                timeout.reschedule(until + min(size, limit) / self._body_rate)
        self._unfinished -= held.unfinished
        held.unfinished = 0
        return b"".join(parts), size > limit

    def _hold(self, size: int, held: _Held, unfinished: bool = False) -> None:
        if self._in_flight + size > self._max_in_flight:
            raise UnavailableError("too much waits for Kafka already (collector.max_in_flight_bytes)")
        if unfinished:
            if self._unfinished + size > self._max_in_flight * _UNFINISHED_SHARE:
                raise UnavailableError("too many bodies are on their way already (collector.max_in_flight_bytes)")
            held.unfinished += size
            self._unfinished += size
        held.size += size
        self._reading += size

    def _intake(self, request: Request, route: Route) -> Intake:
        received = time.time_ns() // 1_000_000
        policy = self.policy
        try:
            return take(request, route, policy.keys, policy.limits, received, policy.rules, policy.conceal)
        except Exception as error:
            said = "a request to %s could not be read (%s); it is kept in the rejected topic"
            # an error's own words may repeat what privacy rules take out
            log.error(said, request.path, type(error).__name__, exc_info=policy.privacy is None)
            return unforeseen(request, route, policy.keys, policy.limits, received, error, policy.conceal)
        finally:
            if policy.privacy is not None:
                self._stats.masked(policy.privacy)

"""Shell: the connections of the public port: how many there may be, and which are cut because nothing comes of them.

aiohttp closes connections that are idle; it has no limit to how long a request's head may take, to how long an answer may lie
unread, and to how many connections there are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter as Count
from typing import Any, cast

from aiohttp import web

from ingest import answers
from ingest.addresses import bucket_name, is_proxy, read_networks
from ingest.collector import background
from ingest.collector.stats import Stats
from ingest.contract.settings import CollectorSettings
from ingest.limits import MAX_HEADER, MAX_HEADERS, MAX_LINE

_LOOK_S = 0.5
#: An answer that the client does not read for that long keeps nobody's memory any longer.
UNREAD_S = 30.0
#: How long a body is read on and thrown away after an answer that did not wait for it: so the client gets to read that.
LINGER_S = 5.0
_WORDS = b'{"code":"unavailable","message":"too many connections"}'
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 2\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_WORDS), _WORDS)
)


class Connection(web.RequestHandler):
    """One connection.

    peer          the address it comes from
    busy          a request of it is being taken
    head_since    when the first byte of a request's head came that is not whole yet (loop's time); 0.0: nothing came
    overdue       that was too long ago at the last look
    unread_since  since when bytes of an answer have been waiting for the client; 0.0: none do
    """

    __slots__ = ("_owner", "busy", "head_since", "overdue", "peer", "socket", "unread_since")

    def __init__(self, server: web.Server, owner: Connections) -> None:
        super().__init__(
            server,
            loop=owner.loop,
            access_log=None,  # type: ignore[arg-type]  # as web.Server's own callers say it
            auto_decompress=False,  # with a bound, in ingest.inflate
            max_line_size=MAX_LINE,
            max_field_size=MAX_HEADER,
            max_headers=MAX_HEADERS,
            keepalive_timeout=owner.idle_s,
            lingering_time=LINGER_S,
            tcp_keepalive=True,
        )
        self._owner = owner
        self.peer = ""
        self.socket: asyncio.Transport | None = None
        self.busy = self.overdue = False
        self.head_since = self.unread_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, or says that there are too many."""
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if isinstance(peer, tuple) else ""
        self.socket = socket = cast(asyncio.Transport, transport)
        if self._owner.take(self):
            super().connection_made(transport)
        else:
            self.force_close()  # whatever comes is not read
            socket.write(_FULL)
            socket.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """It has ended."""
        self._owner.let_go(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came: of a request's head, if none is being taken."""
        if not self.busy and not self.head_since:
            self.head_since = self._owner.loop.time()
        super().data_received(data)

    def began(self) -> None:
        """A request's head is whole."""
        self.busy, self.overdue, self.head_since = True, False, 0.0

    def ended(self) -> None:
        """The request has been taken, its answer is on its way."""
        self.busy, self.head_since = False, 0.0
        self._owner.request_ended.set()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, or has a head beyond the limits: an error as all errors are."""
        self._owner.stats.request("no_http", status)
        if status >= 500:
            self.log_exception("a request could not be answered", exc_info=exc)
        words = (message or "").partition("\n")[0].rstrip(":") or "this is no HTTP request that can be read"
        answer = answers.error(status, "bad_request" if status < 500 else "unforeseen", answers.cut(words))
        response = web.Response(status=status, body=answer.body, headers={"Content-Type": answer.content_type})
        response.force_close()
        return response


class Connections:
    """All connections of a server. Belongs to one event loop."""

    def __init__(self, settings: CollectorSettings, stats: Stats) -> None:
        self.loop = asyncio.get_running_loop()
        self.stats = stats
        self.idle_s = settings.idle_timeout_ms / 1000
        self._head_s = settings.head_timeout_ms / 1000
        self._most = settings.max_connections
        self._most_of_one = settings.max_connections_per_address
        self._proxies = read_networks(settings.trusted_proxies)
        self._open: dict[Connection, None] = {}
        self._of: Count[str] = Count()
        self._looking: asyncio.Task[None] | None = None
        self.request_ended = asyncio.Event()
        stats.connections.set_function(lambda: len(self._open))

    def adopt(self, settings: CollectorSettings) -> None:
        """Takes over whose connections are those of many; the limits are those of the start. Raises ConfigError."""
        self._proxies = read_networks(settings.trusted_proxies)

    def start(self) -> None:
        """Starts to look for slow ones."""
        self._looking = background.start(self._look(), "looks for slow connections")

    async def stop(self) -> None:
        """Ends that; the connections are the server's to close."""
        await background.stop(self._looking)

    def take(self, connection: Connection) -> bool:
        """Whether there is room for one more; it is counted then. A proxy's connections are those of many."""
        name = bucket_name(connection.peer)
        if len(self._open) >= self._most:
            self.stats.cut("too_many")
            return False
        if self._most_of_one and self._of[name] >= self._most_of_one and not is_proxy(connection.peer, self._proxies):
            self.stats.cut("too_many_of_one_address")
            return False
        self._open[connection] = None
        self._of[name] += 1
        return True

    def let_go(self, connection: Connection) -> None:
        """A connection has ended."""
        if self._open.pop(connection, self) is None:
            name = bucket_name(connection.peer)
            self._of[name] -= 1
            if not self._of[name]:
                del self._of[name]

    async def settled(self, seconds: float) -> None:
        """Returns when no request is being taken any more, or after so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while any(one.busy for one in self._open):
                    self.request_ended.clear()
                    await self.request_ended.wait()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            now = self.loop.time()
            for connection in list(self._open):
                why = self._why_cut(connection, now)
                if why and connection.socket is not None:
                    self.stats.cut(why)
                    connection.socket.abort()

    def _why_cut(self, connection: Connection, now: float) -> str:
        if connection.socket is None:
            return ""
        if not connection.socket.get_write_buffer_size():
            connection.unread_since = 0.0
        elif not connection.unread_since:
            connection.unread_since = now
        elif now - connection.unread_since > UNREAD_S:
            return "unread_answer"
        overdue = not connection.busy and connection.head_since > 0 and now - connection.head_since > self._head_s
        if overdue and connection.overdue:  # at two looks: after a pause of ours, a head that is whole may just not be read yet
            return "slow_head"
        connection.overdue = overdue
        return ""


class HttpServer(web.Server):
    """aiohttp's low-level server (one handler, no router, no redirects) with these connections."""

    def __init__(self, handler: Any, connections: Connections) -> None:
        super().__init__(handler)
        self._owner = connections

    def __call__(self) -> web.RequestHandler:
        """A protocol for a new connection."""
        return Connection(self, self._owner)

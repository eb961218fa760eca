"""Shell: the way out: what is put in is in Kafka, acknowledged, when `put` returns; else UnavailableError.

While Kafka is away, requests are told so at once, instead of piling up; a connection that comes about says that it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import ParamSpec

from ingest.collector.frames import Frame, Gatherer, Ticket
from ingest.collector.kafka_thread import KafkaThread
from ingest.collector.stats import Stats
from ingest.contract.errors import FootfallError, UnavailableError
from ingest.contract.partition import partition_of
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from ingest.protocols import Accepted

log = logging.getLogger(__name__)

P = ParamSpec("P")

#: A frame that waits longer than this says that Kafka is away.
STALL_S = 2.0
_TICK_S = 0.25
_STOP_EXTRA_S = 8.0


class Outlet:
    """Frames by partition into the events topic, refusals into the rejected topic. Belongs to one event loop."""

    def __init__(self, settings: Settings, stats: Stats, failed: Callable[[FootfallError], None]) -> None:
        """`failed` is called in the loop when going on would be wrong."""
        names = topic_names(settings)
        self._partitions = settings.kafka.partitions
        self._linger_s = settings.collector.linger_ms / 1000
        self._ack_s = settings.collector.ack_timeout_ms / 1000
        self._rejected_topic = names.rejected
        self._stats = stats
        self._loop = asyncio.get_running_loop()
        self._gatherer = Gatherer(names.events)
        self._flush_handle: asyncio.Handle | None = None
        self._pending: dict[Frame, None] = {}
        self._pending_bytes = 0
        self._kafka = KafkaThread(
            settings,
            settled=self._in_loop(self._settled),
            reached=self._in_loop(self._reached),
            failed=self._in_loop(failed),
        )
        self._why_away = "not connected to Kafka yet"
        self._renewing = True
        self._ticker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts to connect to Kafka."""
        self._kafka.start()
        self._ticker = self._loop.create_task(self._tick())

    async def stop(self) -> None:
        """Sends what was put in, waits for it, and lets go of Kafka."""
        self._flush()
        await self._loop.run_in_executor(None, self._kafka.stop, not self._why_away, self._ack_s + _STOP_EXTRA_S)
        await asyncio.sleep(0)  # what the thread told the loop last
        for frame in list(self._pending):
            self._end(frame, UnavailableError("the collector stops"))
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker

    @property
    def why_away(self) -> str:
        """Why nothing can be made safe at the moment; "" when it can."""
        return self._why_away

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for Kafka."""
        return self._pending_bytes

    def put(self, accepted: Sequence[Accepted], rejected: Sequence[bytes]) -> asyncio.Future[None]:
        """A future that is done when all of it is acknowledged; UnavailableError when it is not: send it again."""
        future: asyncio.Future[None] = self._loop.create_future()
        if self._why_away:
            future.set_exception(UnavailableError(self._why_away))
            return future
        if not accepted and not rejected:
            future.set_result(None)
            return future
        ticket = Ticket(lambda error: _resolve(future, error))
        full: list[Frame] = []
        for _, person, line in accepted:
            frame = self._gatherer.add(partition_of(person, self._partitions), line, ticket)
            if frame is not None:
                full.append(frame)
        for record in rejected:
            frame = Frame(self._rejected_topic, 0)
            frame.add(record, ticket)
            full.append(frame.close())
        if full:
            self._send(full)
        if self._gatherer and self._flush_handle is None:
            self._flush_handle = self._loop.call_later(self._linger_s, self._flush)
        return future

    def _flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        frames = self._gatherer.take()
        if frames:
            self._send(frames)

    def _send(self, frames: list[Frame]) -> None:
        now = time.monotonic()
        for frame in frames:
            frame.born = now
            self._pending[frame] = None
            self._pending_bytes += len(frame.value)
            self._stats.frame_bytes.observe(len(frame.value))
        self._kafka.send(frames)

    def _settled(self, frame: Frame, error: Exception | None) -> None:
        if frame not in self._pending:
            return  # given up before
        if error is None:
            self._end(frame, None)
            self._back()
        else:
            self._away(f"Kafka does not acknowledge: {_first_line(error)}")
            self._renew()

    def _end(self, frame: Frame, error: Exception | None) -> None:
        del self._pending[frame]
        self._pending_bytes -= len(frame.value)
        frame.settle(error)

    def _renew(self) -> None:
        """Gives up all that is on its way, and has a new connection made; `_reached` tells when it is there."""
        self._renewing = True
        self._kafka.renew()
        error = UnavailableError(self._why_away)
        for frame in list(self._pending):
            self._stats.frames_failed.inc()
            self._end(frame, error)

    def _reached(self) -> None:
        self._renewing = False
        self._back()

    def _back(self) -> None:
        if self._why_away and not self._renewing:
            log.info("Kafka takes frames")
            self._why_away = ""
            self._stats.kafka_up.set(1)

    def _away(self, why: str) -> None:
        if not self._why_away:
            log.warning("Kafka is away, requests are answered 503: %s", why)
            self._stats.kafka_up.set(0)
        self._why_away = why

    async def _tick(self) -> None:
        """Looks at how long the oldest frame has been waiting."""
        while True:
            await asyncio.sleep(_TICK_S)
            oldest = next(iter(self._pending), None)
            if oldest is None:
                continue
            waited = time.monotonic() - oldest.born
            if waited > self._ack_s:
                self._away(f"no acknowledgement within {self._ack_s:.0f} s")
                self._renew()
            elif waited > STALL_S and not self._why_away:
                self._away(f"no acknowledgement for {STALL_S:.0f} s")

    def _in_loop(self, callback: Callable[P, None]) -> Callable[P, None]:
        def call(*args: P.args, **_: P.kwargs) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(callback, *args)

        return call


def _resolve(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]

"""Shell: the way out: what is put in is safe when `put` is done (acknowledged by Kafka, or fsynced in the spool), or refused.

Frames go to Kafka. While it is away they go to the spool, and so do those that Kafka left waiting: such a frame may come to be in
both, and so twice in Kafka once the spool drains; its events have the same ids, and count once. When Kafka is back, new frames go
there at once, past what still waits in the spool: no number depends on the order of events. Without a spool, or when it is full,
requests are told at once that Kafka is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import ParamSpec

from ingest.collector import background
from ingest.collector.drain import Drain
from ingest.collector.frames import Frame, Gatherer, Ticket
from ingest.collector.kafka_thread import KafkaThread, TooLargeError
from ingest.collector.spool import Spool
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
#: On stopping, how long the spool may go on draining, and how long its disk may take for what is in hand.
_STOP_DRAIN_S = 3.0
_STOP_DISK_S = 5.0
#: Frames that have lingered wait for the acknowledgement of those before them, up to so many times collector.linger_ms in all:
#: fewer and larger frames cost everybody less under load, and while nothing is on its way none waits.
_LONGEST_LINGER = 4
#: How long it is believed that Kafka refuses what is as large as what it has refused; then it is tried again.
_REFUSED_S = 600.0


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
        self._lingered = False
        #: What waits for Kafka, oldest first; what is drained from the spool included.
        self._pending: dict[Frame, None] = {}
        self._pending_bytes = 0
        self._kafka = KafkaThread(
            settings,
            settled=self._in_loop(self._settled),
            reached=self._in_loop(self._reached),
            failed=self._in_loop(failed),
        )
        self._spool: Spool | None = None
        self._drain: Drain | None = None
        if settings.collector.spool_bytes:
            self._spool = Spool(settings, stats, settled=self._way_ended, filled=self._filled)
            self._drain = Drain(settings, self._spool, self._to_kafka, self._too_large)
        #: The least bytes of a record that a topic has refused for its size, and until when that is believed.
        self._refused: dict[str, tuple[int, float]] = {}
        self._why_away = "not connected to Kafka yet"
        self._renewing = True
        self._ticker: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Takes the spool's folder; raises ConfigError when it cannot be had."""
        if self._spool is not None:
            self._spool.open()

    def start(self) -> None:
        """Starts to connect to Kafka, and to drain the spool once that is there."""
        self._kafka.start()
        if self._drain is not None:
            self._drain.start()
        self._ticker = background.start(self._tick(), "looks for frames that Kafka leaves waiting")

    async def stop(self) -> None:
        """Makes safe what was put in: in Kafka if that is there, else in the spool; and lets go of both."""
        self._flush()
        if self._drain is not None:
            if not self._why_away:
                await self._drain.empty(_STOP_DRAIN_S)
            await self._drain.stop()
        await self._loop.run_in_executor(None, self._kafka.stop, not self._why_away, self._ack_s + _STOP_EXTRA_S)
        await asyncio.sleep(0)  # what the thread told the loop last
        self._give_up("the collector stops")
        await background.stop(self._ticker)
        await self.close()

    async def close(self) -> None:
        """Lets go of the spool, once what is in hand is in it."""
        if self._spool is not None:
            await self._spool.close(_STOP_DISK_S)

    @property
    def why_away(self) -> str:
        """Why nothing can be made safe at the moment; "" when it can."""
        if not self._why_away or self._spool is None:
            return self._why_away
        why_not = self._spool.why_not
        return f"{self._why_away}; {why_not}" if why_not else ""

    @property
    def pending_bytes(self) -> int:
        """Bytes that are not safe yet."""
        return self._pending_bytes

    def put(self, accepted: Sequence[Accepted], rejected: Sequence[bytes]) -> asyncio.Future[None]:
        """A future that is done when all of it is safe; UnavailableError when it is not: send it again."""
        future: asyncio.Future[None] = self._loop.create_future()
        if why := self.why_away:
            future.set_exception(UnavailableError(why))
            return future
        if not accepted and not rejected:
            future.set_result(None)
            return future
        ticket = Ticket(lambda error: _resolve(future, error))
        full: list[Frame] = []
        for one in accepted:
            frame = self._gatherer.add(partition_of(one.person, self._partitions), one.line, ticket)
            if frame is not None:
                full.append(frame)
        for record in rejected:
            frame = Frame(self._rejected_topic, 0)
            frame.add(record, ticket)
            full.append(frame.close())
        if full:
            self._send(full)
        if self._gatherer and self._flush_handle is None:
            self._flush_handle = self._loop.call_later(self._linger_s, self._linger_over)
        return future

    def _linger_over(self) -> None:
        if self._pending and not self._why_away:
            self._lingered = True
            self._flush_handle = self._loop.call_later((_LONGEST_LINGER - 1) * self._linger_s, self._flush)
        else:
            self._flush()

    def _flush(self) -> None:
        self._lingered = False
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        frames = self._gatherer.take()
        if frames:
            self._send(frames)

    def _send(self, frames: list[Frame]) -> None:
        for frame in frames:
            self._pending_bytes += len(frame.value)
            self._stats.frame_bytes.observe(len(frame.value))
        if self._why_away and self._spool is not None:
            self._to_spool(self._spool, frames)
            return
        if self._refused and (large := [frame for frame in frames if self._too_large(frame)]):
            frames = [frame for frame in frames if frame not in large]
            self._set_apart(large)
        if frames:
            self._to_kafka(frames)

    def _too_large(self, frame: Frame) -> bool:
        """Whether Kafka is known to refuse it for its size. To try it would end the producer, for everybody."""
        least, until = self._refused.get(frame.topic, (0, 0.0))
        if not least or len(frame.value) < least:
            return False
        if time.monotonic() < until:
            return True
        del self._refused[frame.topic]
        return False

    def _set_apart(self, frames: list[Frame]) -> None:
        """Frames that are too large for Kafka: the spool keeps them, and draining it takes them apart; without one, they fail."""
        if self._spool is not None:
            self._to_spool(self._spool, frames)
            return
        for frame in frames:
            frame.ways += 1
            words = f"events are larger than {frame.topic} takes in Kafka, until its max.message.bytes is raised"
            self._way_ended(frame, UnavailableError(words))

    def _to_kafka(self, frames: list[Frame]) -> None:
        now = time.monotonic()
        for frame in frames:
            frame.born = now
            frame.ways += 1
            self._pending[frame] = None
        self._kafka.send(frames)

    def _to_spool(self, spool: Spool, frames: list[Frame]) -> None:
        for frame in frames:
            frame.ways += 1
            frame.spooled = True
        spool.put(frames)

    def _rescue(self) -> None:
        """Puts into the spool what waits for Kafka and is not there yet."""
        if self._spool is not None:
            self._to_spool(self._spool, [frame for frame in self._pending if not frame.spooled and not frame.drained])

    def _way_ended(self, frame: Frame, error: Exception | None) -> None:
        """A frame is safe; or it is not on one of its ways, so it never will be when that was the last."""
        frame.ways -= 1
        if error is None:
            frame.settle(None)
        elif not frame.ways and frame.tickets:
            self._stats.frames_failed.inc()
            frame.settle(error)
        if not frame.ways and not frame.drained:
            self._pending_bytes -= len(frame.value)

    def _settled(self, frame: Frame, error: Exception | None) -> None:
        if frame not in self._pending:
            return  # given up before
        if error is None:
            del self._pending[frame]
            self._way_ended(frame, None)
            if frame.drained and self._drain is not None:
                self._drain.acked(frame)
            self._back()
            if self._lingered and not self._pending:
                self._flush()
            return
        if isinstance(error, TooLargeError):
            log.error("Kafka refuses what is too large: %s", error)
            self._refuse(frame)
        self._away(f"Kafka does not acknowledge: {_first_line(error)}")
        self._renew()

    def _refuse(self, frame: Frame) -> None:
        least, _ = self._refused.get(frame.topic, (len(frame.value), 0.0))
        self._refused[frame.topic] = min(least, len(frame.value)), time.monotonic() + _REFUSED_S

    def _renew(self) -> None:
        """Gives up all that is on its way, and has a new connection made; `_reached` tells when it is there."""
        self._renewing = True
        self._kafka.renew()
        if self._drain is not None:
            self._drain.there(False)
        self._give_up(self._why_away)

    def _give_up(self, why: str) -> None:
        """Waits for Kafka no more: the spool has what waited for it, or is asked to take it now."""
        self._rescue()
        error = UnavailableError(why)
        frames, self._pending = list(self._pending), {}
        for frame in frames:
            self._way_ended(frame, error)

    def _reached(self) -> None:
        self._renewing = False
        if self._drain is None or self._spool is None or not self._spool.entries:
            self._back()
        if self._drain is not None:
            self._drain.there(True)  # and if there is something to drain, Kafka is back when it acknowledges that

    def _filled(self) -> None:
        if self._drain is not None:
            self._drain.wake()

    def _back(self) -> None:
        if self._why_away and not self._renewing:
            log.info("Kafka takes frames")
            self._why_away = ""
            if self._drain is not None:
                self._drain.pause(False)
            self._stats.kafka_up.set(1)

    def _away(self, why: str) -> None:
        if not self._why_away:
            instead = "requests are answered 503" if self._spool is None else "frames go to the spool"
            log.warning("Kafka is away, %s: %s", instead, why)
            self._stats.kafka_up.set(0)
        self._why_away = why

    async def _tick(self) -> None:
        """Looks at how long the oldest frame has been waiting."""
        while True:
            await asyncio.sleep(_TICK_S)
            if self._spool is not None:
                self._spool.give_up(self._ack_s)
            oldest = next(iter(self._pending), None)
            if oldest is None:
                if self._drain is not None and self._drain.idle:
                    self._back()
                continue
            waited = time.monotonic() - oldest.born
            if waited > self._ack_s:
                self._away(f"no acknowledgement within {self._ack_s:.0f} s")
                self._renew()
            elif waited > STALL_S:
                if not self._why_away:
                    self._away(f"no acknowledgement for {STALL_S:.0f} s")
                    if self._drain is not None:
                        self._drain.pause(True)
                self._rescue()

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

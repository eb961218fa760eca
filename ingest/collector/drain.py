"""Shell: the way from the spool to Kafka: segment by segment, in order per partition, a window at a time.

New traffic goes straight to Kafka meanwhile, through the same producer: the window bounds how long it waits for what is drained,
and what is in the window goes on however much is new.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

from ingest.collector import background
from ingest.collector.frames import Frame
from ingest.collector.spool import Spool
from ingest.collector.spool_format import EVENTS, REJECTED, Drained, halved, records_of
from ingest.contract.errors import UnavailableError
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names

log = logging.getLogger(__name__)

#: Bytes on their way to Kafka at a time.
WINDOW_BYTES = 2 * 1024 * 1024
#: Small frames are put together up to that: each record costs a worker something.
_RECORD_BYTES = 256 * 1024
_RETRY_S = 1.0


class Drain:
    """Empties a spool while Kafka is there. Belongs to one event loop.

    send       gives frames to the producer, in order
    too_large  whether Kafka is known to refuse a frame for its size
    """

    def __init__(
        self, settings: Settings, spool: Spool, send: Callable[[list[Frame]], None], too_large: Callable[[Frame], bool]
    ) -> None:
        names = topic_names(settings)
        self._topics = (names.events, names.rejected)
        self._partitions = settings.kafka.partitions
        self._spool = spool
        self._send = send
        self._too_large = too_large
        self._changed = asyncio.Event()
        self._there = False
        self._paused = False
        self._task: asyncio.Task[None] | None = None
        #: Of the segment in hand, in order: what is on its way to Kafka, and its bytes; what is to be sent; what can never be.
        self._sent: dict[Frame, None] = {}
        self._on_way = 0
        self._to_send: deque[Frame] = deque()
        self._unfit: list[Drained] = []
        self._idle = asyncio.Event()

    @property
    def idle(self) -> bool:
        """Whether it found nothing to drain when it looked last."""
        return self._idle.is_set()

    def start(self) -> None:
        """Drains from now on, whenever `there` says that Kafka takes frames."""
        self._task = background.start(self._run(), "drains the spool")

    async def empty(self, wait_s: float) -> None:
        """Waits until all is drained, for `wait_s` at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), wait_s)

    async def stop(self) -> None:
        """Leaves what is not drained where it is."""
        await background.stop(self._task)

    def there(self, yes: bool) -> None:
        """Whether Kafka takes frames. When it does not, what is on its way is taken for lost and will be sent again."""
        if self._there and not yes:
            self._to_send.extendleft(reversed(self._sent))
            self._sent = {}
            self._on_way = 0
        self._there = yes
        self._paused = False
        self._changed.set()

    def pause(self, yes: bool) -> None:
        """While Kafka stalls nothing more is sent; what is on its way may still be acknowledged."""
        self._paused = yes
        self._changed.set()

    def wake(self) -> None:
        """There may be something to do."""
        self._changed.set()

    def acked(self, frame: Frame) -> None:
        """Kafka has acknowledged a frame."""
        if frame in self._sent:
            del self._sent[frame]
            self._on_way -= len(frame.value)
            self._changed.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._drain()
            except Exception:
                log.exception("the spool cannot be drained at the moment")
                self._idle.set()
                await asyncio.sleep(_RETRY_S)

    async def _drain(self) -> None:
        found = None
        while found is None:
            self._changed.clear()
            found = await self._spool.oldest() if self._there and not self._paused else None
            if found is None:
                self._idle.set()
                await self._changed.wait()
        self._idle.clear()
        file, segment = found
        records, unreadable = await asyncio.to_thread(records_of, segment, self._partitions, _RECORD_BYTES)
        log.info("draining %s of the spool: %d frames", file.path.name, len(segment.entries))
        self._to_send = deque(map(self._frame, records))
        self._sent = {}
        self._on_way = 0
        self._unfit = []
        while True:
            self._changed.clear()
            self._fill_window()
            if not self._sent and not self._to_send:
                break
            await self._changed.wait()
        try:
            if unreadable:
                why = "have events that cannot be read"
                await self._spool.keep_records(file, "unreadable", segment.partitions, unreadable, why)
            if self._unfit:
                why = "are larger than Kafka takes (max.message.bytes of their topic)"
                await self._spool.keep_records(file, "unfit", self._partitions, self._unfit, why)
        except UnavailableError as error:
            self._spool.put_off(file, str(error))
            return
        await self._spool.drained(file)
        if not self._spool.entries:
            log.info("the spool is empty")

    def _frame(self, record: Drained) -> Frame:
        frame = Frame(self._topics[0 if record.topic == EVENTS else 1], record.partition)
        frame.value = record.value
        frame.drained = True
        return frame

    def _fill_window(self) -> None:
        if not self._there or self._paused:
            return
        batch: list[Frame] = []
        while self._to_send:
            frame = self._to_send[0]
            if self._too_large(frame):
                self._to_send.popleft()
                self._take_apart(frame)
                continue
            if self._on_way and self._on_way + len(frame.value) > WINDOW_BYTES:
                break
            batch.append(self._to_send.popleft())
            self._sent[frame] = None
            self._on_way += len(frame.value)
        if batch:
            self._send(batch)

    def _take_apart(self, frame: Frame) -> None:
        """What Kafka does not take in one may fit in two; a single event that is too large is too large."""
        topic = EVENTS if frame.topic == self._topics[0] else REJECTED
        parts = halved(frame.value) if topic == EVENTS else []
        if parts:
            self._to_send.extendleft(self._frame(Drained(topic, frame.partition, part)) for part in reversed(parts))
        else:
            self._unfit.append(Drained(topic, frame.partition, frame.value))

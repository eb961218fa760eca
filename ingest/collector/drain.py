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
from ingest.collector.spool_files import SegmentFile
from ingest.collector.spool_format import EVENTS, Segment, records_of
from ingest.contract.errors import BadLineError
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names

log = logging.getLogger(__name__)

#: Bytes on their way to Kafka at a time.
WINDOW_BYTES = 2 * 1024 * 1024
#: Small frames are put together up to that: each record costs a worker something.
_RECORD_BYTES = 256 * 1024
_RETRY_S = 1.0


class Drain:
    """Empties a spool while Kafka is there. Belongs to one event loop; `send` gives frames to the producer, in order."""

    def __init__(self, settings: Settings, spool: Spool, send: Callable[[list[Frame]], None]) -> None:
        names = topic_names(settings)
        self._topics = (names.events, names.rejected)
        self._partitions = settings.kafka.partitions
        self._spool = spool
        self._send = send
        self._changed = asyncio.Event()
        self._there = False
        self._paused = False
        self._task: asyncio.Task[None] | None = None
        #: Of the segment in hand: what Kafka has not acknowledged, in order; what is to be sent of it; bytes on their way.
        self._left: dict[Frame, None] = {}
        self._to_send: deque[Frame] = deque()
        self._on_way = 0
        self._alone = False
        self._unfit: list[Frame] = []
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
            self._to_send = deque(self._left)
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
        if frame in self._left:
            del self._left[frame]
            self._on_way -= len(frame.value)
            self._changed.set()

    def unfit(self, frame: Frame) -> None:
        """Kafka will never take a frame, or a batch with it: from now on they are sent one by one, to know which."""
        if self._alone and frame in self._left:
            del self._left[frame]
            self._unfit.append(frame)
        self._alone = True
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
        try:
            frames = await asyncio.to_thread(self._frames, segment)
        except BadLineError as error:
            await self._spool.put_aside(file, f"has events that cannot be read: {error}")
            return
        log.info("draining %s of the spool: %d frames", file.path.name, len(segment.entries))
        self._left = dict.fromkeys(frames)
        self._to_send = deque(frames)
        self._on_way = 0
        self._alone = False
        self._unfit = []
        while self._left or self._unfit:
            await self._keep_unfit(file)
            self._fill_window()
            self._changed.clear()
            if self._left:
                await self._changed.wait()
        await self._spool.drained(file)
        if not self._spool.entries:
            log.info("the spool is empty")

    def _frames(self, segment: Segment) -> list[Frame]:
        found = []
        for record in records_of(segment, self._partitions, _RECORD_BYTES):
            frame = Frame(self._topics[0 if record.topic == EVENTS else 1], record.partition)
            frame.value = record.value
            frame.drained = True
            found.append(frame)
        return found

    def _fill_window(self) -> None:
        if not self._there or self._paused:
            return
        batch: list[Frame] = []
        while self._to_send:
            size = len(self._to_send[0].value)
            if self._on_way and (self._alone or self._on_way + size > WINDOW_BYTES):
                break
            batch.append(self._to_send.popleft())
            self._on_way += size
        if batch:
            self._send(batch)

    async def _keep_unfit(self, file: SegmentFile) -> None:
        while self._unfit:
            frame = self._unfit[0]
            number = len(self._left) + len(self._unfit)  # falls with each
            why = f"for partition {frame.partition} of {frame.topic} is refused by Kafka"
            await self._spool.keep_unfit(file, f"{number}-from-the-end", frame.value, why)
            self._unfit.pop(0)

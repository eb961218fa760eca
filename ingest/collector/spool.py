"""Shell: the local spool: what cannot be in Kafka at the moment is safe on disk instead, and waits there.

Files are touched in one thread of the spool's own; whatever it says is told in the event loop. Frames that come while an fsync
runs share the next one.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from ingest.collector import background
from ingest.collector.frames import Frame
from ingest.collector.spool_files import SegmentFile, SpoolFiles
from ingest.collector.spool_format import ENTRY_BYTES, EVENTS, HEADER_BYTES, REJECTED, Drained, Segment
from ingest.collector.stats import Stats
from ingest.contract.errors import UnavailableError
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Between two looks at whether a spool that could not take a frame can again.
RETRY_S = 1.0
#: A segment that cannot be drained is tried again after RETRY_S, then after twice as long, and so on up to:
_MOST_RETRY_S = 30.0
#: One that cannot be read is set aside after so many tries,
_TRIES = 5
#: unless it is the process or the machine that lacks something: then it is no fault of the file.
_PASSING = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN}
#: The part of the spool that segments may fill at a start that were set aside before.
_TAKEN_BACK_SHARE = 0.25
#: Bytes that one fsync is for at most: nobody waits for a hundred megabytes of others.
_COMMIT_BYTES = 8 * 1024 * 1024

Settled = Callable[[Frame, Exception | None], None]


def spool_folder(settings: Settings) -> Path:
    """Where the spool is."""
    return Path(settings.collector.spool_dir or Path(settings.data_dir) / "spool")


class Spool:
    """The spool of one collector. Belongs to one event loop.

    settled(frame, error)   on disk (None), or not: UnavailableError
    filled()                there is something to drain
    """

    def __init__(self, settings: Settings, stats: Stats, settled: Settled, filled: Callable[[], None]) -> None:
        self._settings = settings
        self._events = topic_names(settings).events
        self._limit = settings.collector.spool_bytes
        self._stats = stats
        self._settled = settled
        self._filled = filled
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._files: SpoolFiles | None = None
        #: Frames that are not on disk yet, with when they came; those of the running commit are among them.
        self._waiting: dict[Frame, float] = {}
        self._uncommitted: list[Frame] = []
        self._queued_bytes = 0
        self._committing: asyncio.Task[None] | None = None
        self._unblocking: asyncio.Task[None] | None = None
        self._why_not = "the spool is not open"

    def open(self) -> None:
        """Takes the folder. Raises ConfigError when it cannot be used or another collector has it."""
        files = SpoolFiles(
            spool_folder(self._settings), self._settings.kafka.partitions, self._settings.collector.spool_keep_free_bytes
        )
        files.take_back(int(self._limit * _TAKEN_BACK_SHARE))
        self._files = files
        self._why_not = ""
        stats = self._stats
        stats.spool_bytes.set_function(lambda: files.size)
        stats.spool_frames.set_function(lambda: files.entries)
        stats.spool_limit_bytes.set(self._limit)
        stats.spool_age_seconds.set_function(self._age)
        if files.segments:
            log.info("the spool has %d frames (%d bytes) of before; they wait for Kafka", files.entries, files.size)

    def _age(self) -> float:
        first = next((one for one in self.files.segments if one.entries), None)
        return max(0.0, time.time() - first.created / 1000) if first else 0.0

    @property
    def files(self) -> SpoolFiles:
        """The folder, once it is open."""
        if self._files is None:
            raise UnavailableError(self._why_not)
        return self._files

    @property
    def why_not(self) -> str:
        """Why no frame can be taken at the moment; "" when one can."""
        return self._why_not

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.files.size

    @property
    def entries(self) -> int:
        """Frames on disk."""
        return self.files.entries

    # --- in

    def put(self, frames: list[Frame]) -> None:
        """Takes frames; `settled` is told of each, of those that find no room before this returns."""
        refused: list[Frame] = []
        for frame in frames:
            size = len(frame.value) + ENTRY_BYTES
            room = self._limit - self.files.size - self._queued_bytes - HEADER_BYTES
            if self._why_not or size > room:
                if not self._why_not and size + HEADER_BYTES <= self._limit:
                    self._block(f"the spool is full (collector.spool_bytes {self._limit:,})", size)
                refused.append(frame)
                continue
            self._waiting[frame] = time.monotonic()
            self._uncommitted.append(frame)
            self._queued_bytes += size
        if self._uncommitted and self._committing is None:
            self._committing = background.start(self._commit(), "writes the spool")
        for frame in refused:
            self._stats.spool_refused.inc()
            self._settled(frame, UnavailableError(self._why_not or "the frame is larger than the spool"))

    async def _commit(self) -> None:
        """Writes what waits, again and again until nothing does."""
        try:
            while self._uncommitted:
                batch = self._next_batch()
                error: Exception | None = None
                try:
                    took = await self._in_thread(partial(self.files.append, [self._entry(one) for one in batch]))
                    self._stats.spool_fsync_seconds.observe(took)
                except UnavailableError as failure:
                    error = failure
                    self._block(str(failure), sum(len(one.value) for one in batch))
                except OSError as failure:
                    error = UnavailableError(f"the spool cannot be written: {failure.strerror or failure}")
                    log.error("%s", error)
                    self._block(str(error), 0)
                except Exception as failure:
                    log.exception("the spool failed unforeseen")
                    error = UnavailableError(f"the spool failed: {type(failure).__name__}")
                self._queued_bytes -= sum(len(one.value) + ENTRY_BYTES for one in batch)
                self._tell(batch, error)
        finally:
            self._committing = None

    def _next_batch(self) -> list[Frame]:
        size, count = 0, 0
        for frame in self._uncommitted:
            size += len(frame.value)
            if count and size > _COMMIT_BYTES:
                break
            count += 1
        batch, self._uncommitted = self._uncommitted[:count], self._uncommitted[count:]
        return batch

    def _entry(self, frame: Frame) -> tuple[int, int, bytes]:
        return (EVENTS if frame.topic == self._events else REJECTED), frame.partition, frame.value

    def _tell(self, batch: list[Frame], error: Exception | None) -> None:
        if error is None:
            self._stats.spooled_frames.inc(len(batch))
            self._filled()
        else:
            self._stats.spool_refused.inc(len(batch))
        for frame in batch:
            if self._waiting.pop(frame, None) is not None:
                self._settled(frame, error)

    def give_up(self, after_s: float) -> None:
        """Tells those that have waited longer for the disk that it does not come; called now and then."""
        oldest = next(iter(self._waiting.values()), None)
        if oldest is None or time.monotonic() - oldest <= after_s:
            return
        error = UnavailableError(f"the spool's disk did not answer within {after_s:.0f} s")
        log.error("%s", error)
        self._block(str(error), 0)
        frames, self._waiting = list(self._waiting), {}
        self._queued_bytes -= sum(len(one.value) + ENTRY_BYTES for one in self._uncommitted)
        self._uncommitted = []
        for frame in frames:
            self._settled(frame, error)

    def _block(self, why: str, size: int) -> None:
        """Takes nothing more until there is room for so many bytes, and a new segment can be written."""
        if not self._why_not:
            log.warning("the spool takes nothing more: %s", why)
            self._unblocking = background.start(self._unblock(size), "looks whether the spool takes frames again")
        self._why_not = why

    async def _unblock(self, size: int) -> None:
        while True:
            await asyncio.sleep(RETRY_S)
            if size + HEADER_BYTES + ENTRY_BYTES > self._limit - self.files.size - self._queued_bytes:
                continue
            try:
                await self._in_thread(partial(self.files.probe, size))
            except UnavailableError as error:
                self._why_not = str(error)
            except OSError as error:
                self._why_not = f"the spool cannot be written: {error.strerror or error}"
            else:
                log.info("the spool takes frames again")
                self._why_not = ""
                return

    # --- out

    async def oldest(self) -> tuple[SegmentFile, Segment] | None:
        """The oldest segment that can be drained now and what is in it; None when there is none.

        What is damaged is set aside and counted. A segment that cannot be read, or whose damaged parts cannot be set aside now,
        holds up none behind it.
        """
        while (file := await self._in_thread(self.files.oldest)) is not None:
            try:
                segment, damaged = await self._in_thread(partial(self.files.read, file))
            except UnavailableError as error:
                self.put_off(file, str(error))
            except OSError as error:
                why = f"cannot be read: {error.strerror or error}"
                file.faults += error.errno not in _PASSING
                if file.faults < _TRIES:
                    self.put_off(file, why)
                else:
                    await self._put_aside(file, why)
            else:
                for kind in damaged:
                    self._stats.spool_damaged.labels(kind).inc()
                return file, segment
        return None

    def put_off(self, file: SegmentFile, why: str) -> None:
        """Leaves a segment for later; `filled` is called then."""
        wait = min(_MOST_RETRY_S, RETRY_S * 2.0 ** min(file.delays, 10))
        file.delays += 1
        file.due = time.monotonic() + wait
        log.error("the spool's %s waits for another %.0f s: %s", file.path.name, wait, why)
        self._loop.call_later(wait, self._filled)

    async def _put_aside(self, file: SegmentFile, why: str) -> None:
        where = await self._in_thread(partial(self.files.put_aside, file))
        self._stats.spool_damaged.labels("whole").inc()
        log.error("the spool's %s %s; its %d frames are kept in %s", file.path.name, why, file.entries, where)

    async def keep_records(self, file: SegmentFile, name: str, partitions: int, records: list[Drained], why: str) -> None:
        """Sets records of a segment aside, placed for so many partitions. Raises UnavailableError when it cannot be done now."""
        where = await self._in_thread(partial(self.files.keep_records, file, name, partitions, records))
        self._stats.spool_damaged.labels("unfit").inc(len(records))
        log.error("%d records of the spool's %s %s; they are kept in %s", len(records), file.path.name, why, where)

    async def drained(self, file: SegmentFile) -> None:
        """Everything in a segment is in Kafka, or set aside: it is deleted."""
        try:
            await self._in_thread(partial(self.files.delete, file))
        except OSError as error:
            await self._put_aside(file, f"is in Kafka, but cannot be deleted: {error.strerror or error}")
        self._stats.spool_drained_frames.inc(file.entries)

    # --- the end

    async def close(self, wait_s: float) -> None:
        """Waits for what is being written, for `wait_s` at most, and lets go of the folder."""
        until = time.monotonic() + wait_s
        if self._committing is not None:
            await asyncio.wait([self._committing], timeout=wait_s)
        self._why_not = "the spool is not open"
        await background.stop(self._committing, self._unblocking)
        self.give_up(-1.0)
        if self._files is not None:
            files, self._files = self._files, None
            if files.entries:
                log.info("%d frames (%d bytes) stay in the spool, for the next start", files.entries, files.size)
            closing = self._loop.run_in_executor(self._thread, files.close)
            await asyncio.wait([closing], timeout=max(0.1, until - time.monotonic()))
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._thread, work)

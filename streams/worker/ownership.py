"""Shell: the partitions that this worker owns, what waits to be acknowledged in each, and their checkpoints."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

from ingest.contract.settings import WorkerSettings
from streams.partition import Partition, Summary
from streams.worker.stats import Stats
from streams.worker.writer import CheckpointWriter

log = logging.getLogger(__name__)


class Owned:
    """A partition at work: frames joined but not yet safe wait in `pending`."""

    __slots__ = ("lock", "partition", "pending")

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.pending: list[Any] = []
        self.lock = asyncio.Lock()


class Ownership:
    """Partitions come (`change`, then `recovered`), are worked on (`frame`, `checkpoint`), and go (`change`).

    sum_up    the totals of partitions, on top of what recovery has read, as far as they could be summed up side by side
    make      builds a Partition on top of the same; sums up itself if it is given no totals
    applied   tells the store what a checkpoint wrote: (partition, records, last changelog offset)
    """

    def __init__(
        self,
        settings: WorkerSettings,
        writer: CheckpointWriter,
        stats: Stats,
        sum_up: Callable[[Collection[int]], Awaitable[dict[int, Summary]]],
        make: Callable[[int, Summary | None], Partition],
        applied: Callable[[int, int], None],
    ) -> None:
        self._settings = settings
        self._writer = writer
        self._stats = stats
        self._sum_up = sum_up
        self._make = make
        self._applied = applied
        self._owned: dict[int, Owned] = {}
        self._assigned: set[int] = set()
        self._times_gained: Counter[int] = Counter()
        self._changes = 0  # under way
        self.recovered_once = False
        self._closed = False

    @property
    def partitions(self) -> dict[int, Partition]:
        """What is owned and recovered, by number."""
        return {number: owned.partition for number, owned in self._owned.items()}

    @property
    def ready(self) -> bool:
        """Whether every assigned partition is recovered, and none is just being taken over."""
        return self.recovered_once and not self._changes and self._assigned == set(self._owned)

    async def change(self, lost: Iterable[int], gained: Iterable[int]) -> None:
        """A rebalance, before recovery. A lost partition's working set is forgotten: what it had not acknowledged comes again.

        One that is both was another's meanwhile.
        """
        self._changes += 1
        try:
            await self._change(list(lost), list(gained))
        finally:
            self._changes -= 1

    async def _change(self, lost: list[int], new: list[int]) -> None:
        gone = {number: self._owned.pop(number, None) for number in lost}
        self._assigned.difference_update(lost)  # all at once: the store has none of their records any more
        for number, owned in gone.items():
            async with owned.lock if owned else contextlib.nullcontext():  # not in the middle of a checkpoint
                await self._writer.disown(number)
        await asyncio.gather(*(self._writer.own(number) for number in new))
        for number in new:
            self._owned.pop(number, None)
            self._assigned.add(number)
            self._times_gained[number] += 1
        if lost or new:
            log.info("owns partitions %s", sorted(self._assigned))

    async def recovered(self) -> None:
        """The store holds all of the assigned partitions: sums up those that are new.

        A partition that goes meanwhile and comes back is read anew, and summed up after that.
        """
        gained = self._times_gained.copy()
        started, persons = time.perf_counter(), 0
        new = sorted(self._assigned - set(self._owned))
        summed = await self._sum_up(new)
        for number in new:
            if number in self._assigned and number not in self._owned and self._times_gained[number] == gained[number]:
                self._owned[number] = Owned(self._make(number, summed.get(number)))
                persons += self._owned[number].partition.persons
            await asyncio.sleep(0)  # heartbeats and health between partitions
        if new:
            seconds = time.perf_counter() - started
            log.info(
                "partitions %s: %d persons summed up in %.2f s, %d partitions side by side", new, persons, seconds, len(summed)
            )
        gc.freeze()  # millions of records that are no garbage: the collector need not look at them ever again
        self.recovered_once = True

    async def frame(self, event: Any) -> None:
        """Joins a frame of events; its message is acknowledged by the checkpoint that makes it safe."""
        await self._join(event, Partition.apply_frame)

    async def merge(self, event: Any) -> None:
        """Takes a message about persons that are one; as `frame`."""
        await self._join(event, Partition.apply_merges)

    async def _join(self, event: Any, apply: Callable[[Partition, bytes, int, int], None]) -> None:
        if self._closed:
            return  # not acknowledged: it will be read again
        message = event.message
        owned = self._owned[message.partition]
        apply(owned.partition, event.value or b"", message.offset, int(message.timestamp * 1000))
        owned.pending.append(event)
        if owned.partition.dirty >= self._settings.checkpoint_records:
            await self.checkpoint(message.partition, owned)

    async def close(self) -> None:
        """Lets go of all partitions."""
        self._closed = True
        for owned in list(self._owned.values()):
            async with owned.lock:  # a checkpoint that has begun is finished
                pass
        await self._writer.close()

    async def checkpoint_all(self) -> None:
        """One checkpoint of every partition that has something to write."""
        await asyncio.gather(*(self.checkpoint(number, owned) for number, owned in list(self._owned.items())))

    async def checkpoint(self, number: int, owned: Owned) -> None:
        """Writes what changed, then lets the frames behind it be acknowledged. Raises when it can't be written."""
        async with owned.lock:
            if self._closed or self._owned.get(number) is not owned:
                return
            started = time.perf_counter()
            pending, owned.pending = owned.pending, []
            taken = owned.partition.take(int(time.time() * 1000))  # a snapshot: no await since `pending`
            if any(taken):
                last = await self._writer.write(number, taken)
                if self._owned.get(number) is not owned:
                    return  # lost meanwhile: the frames are the new owner's, who has recovered what was just written
                owned.partition.commit(taken)
                if last is not None:
                    self._applied(number, last)
                self._stats.checkpoint(number, taken, time.perf_counter() - started, time.time())
            for event in pending:
                event.ack()

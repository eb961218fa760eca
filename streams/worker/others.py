"""Shell: how far all partitions of the topic have been read, whichever worker has them: asked from Kafka."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from ingest.contract.topics import TopicNames

_SCAN_S = 10.0


class Others:
    """Offsets of the workers' consumer group. Methods raise KafkaError or TimeoutError when Kafka does not answer."""

    def __init__(self, names: TopicNames, partitions: int, options: dict[str, Any]) -> None:
        self._group = names.worker_app
        self._options = options
        self._events = [TopicPartition(names.events, number) for number in range(partitions)]
        self._merges = [TopicPartition(names.merges, number) for number in range(partitions)]
        self._admin: AIOKafkaAdminClient | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._lock = asyncio.Lock()
        self._scanned: dict[TopicPartition, tuple[int, int]] = {}  # up to which offset, and after the last message there

    async def _connect(self) -> tuple[AIOKafkaAdminClient, AIOKafkaConsumer]:
        """Both clients, connected at first use: live, hours go by between two questions."""
        async with self._lock:
            if self._admin is None:
                admin = AIOKafkaAdminClient(**self._options)
                await admin.start()
                self._admin = admin
            if self._consumer is None:
                # uncommitted, like the worker itself reads: a record of a transaction that is still open counts as one to come
                consumer = AIOKafkaConsumer(**self._options, enable_auto_commit=False, isolation_level="read_uncommitted")
                await consumer.start()
                self._consumer = consumer
        return self._admin, self._consumer

    @property
    def clients(self) -> list[Any]:
        """The clients in use."""
        return [one for one in (self._admin, self._consumer) if one is not None]

    async def close(self) -> None:
        """Closes the clients."""
        if self._consumer is not None:
            await self._consumer.stop()
        if self._admin is not None:
            await self._admin.close()

    async def events_before(self, instant: int) -> dict[int, int]:
        """For each partition, the offset after the last frame that came into Kafka before `instant` (ms); 0: nothing is left."""
        _, consumer = await self._connect()
        later, begins, ends = await asyncio.gather(
            consumer.offsets_for_times(dict.fromkeys(self._events, instant)),
            consumer.beginning_offsets(self._events),
            consumer.end_offsets(self._events),
        )
        found = {}
        for tp in self._events:
            need = later[tp].offset if later.get(tp) is not None else ends[tp]
            found[tp.partition] = need if need > begins[tp] else 0
        return found

    async def events_read(self) -> dict[int, int]:
        """For each partition of the events, the offset up to which all is counted and safe."""
        return await self._committed(self._events)

    async def merges_read(self) -> dict[int, int]:
        """The same of the merges topic."""
        return await self._committed(self._merges)

    async def _committed(self, partitions: list[TopicPartition]) -> dict[int, int]:
        admin, _ = await self._connect()
        offsets = await admin.list_consumer_group_offsets(self._group, partitions=list(partitions))
        return {tp.partition: max(0, offsets[tp].offset if tp in offsets else 0) for tp in partitions}

    async def merges_written(self) -> dict[int, int]:
        """For each partition, the offset after the last message in it; 0: all of them are read.

        The end of the topic does not say it: behind the last message there is the mark of its transaction.
        """
        _, consumer = await self._connect()
        ends, begins, read = await asyncio.gather(
            consumer.end_offsets(self._merges), consumer.beginning_offsets(self._merges), self.merges_read()
        )
        async with self._lock:
            seen = {tp: max(read[tp.partition], begins[tp], self._scanned.get(tp, (0, 0))[0]) for tp in self._merges}
            left = {tp for tp in self._merges if seen[tp] < ends[tp]}
            if left:
                await self._scan(consumer, left, seen, ends)
        return {tp.partition: self._scanned.get(tp, (0, 0))[1] for tp in self._merges}

    async def _scan(self, consumer: AIOKafkaConsumer, left: set[TopicPartition], seen: Any, ends: Any) -> None:
        """Looks for the last message of partitions between what was seen and their ends."""
        consumer.assign(list(left))
        for tp in left:
            consumer.seek(tp, seen[tp])
        found = {tp: self._scanned.get(tp, (0, 0))[1] for tp in left}
        until = time.monotonic() + _SCAN_S
        while left:
            for tp, records in (await consumer.getmany(*left, timeout_ms=200)).items():
                found[tp] = max([found[tp], *(one.offset + 1 for one in records if one.offset < ends[tp])])
            for tp in list(left):
                if await consumer.position(tp) >= ends[tp]:
                    self._scanned[tp] = ends[tp], found[tp]
                    left.discard(tp)
            if time.monotonic() > until:
                raise KafkaError(f"the end of {self._merges[0].topic} was not reached within {_SCAN_S:.0f} s")

"""Shell: reads a changelog in bulk.

Faust takes every changelog record through its stream machinery, some 130 us each: minutes for a million persons. Here the
missing range is read in big batches by a consumer of its own, and Faust's recovery then finds nothing left to do. Partitions
are read a few at a time, so that those which are known can be summed up while the others are read.
"""

from __future__ import annotations

import gc
import logging
import time
from typing import Any

import aiokafka.consumer.fetcher
import faust.tables.manager
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped

from streams.worker.store import FAUST_LOG, PartitionStore
from streams.worker.summing import Summing

log = logging.getLogger(__name__)

#: Partitions that are read at a time.
_AT_A_TIME = 2
_FETCH_BYTES = 8 << 20


class _Bare(aiokafka.consumer.fetcher.PartitionRecords):
    """Gives a consumer whose `key_deserializer` is `_bare` records as they were parsed.

    All that aiokafka puts around a record takes several times as long as to parse it.
    """

    def __iter__(self) -> Any:
        return self._records_iterator if self._key_deserializer is _bare else self

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        return record if self._key_deserializer is _bare else super()._consumer_record(tp, record)


def _bare(key: bytes) -> bytes:
    return key


class BulkRecovery(Recovery):
    """Faust's recovery with the reading of active changelogs replaced."""

    logger = FAUST_LOG

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ASYNC109 - Faust's signature
        # Faust takes a step that timed out for a stopped service and then never recovers: a process that hangs for ever
        result = await self.wait_first(coro, self.signal_recovery_start, timeout=timeout)
        if result.stopped:
            if self.should_stop:
                raise ServiceStopped
            raise TimeoutError(f"recovery: a step took longer than {timeout} s")
        if self.signal_recovery_start in result.done:
            raise RebalanceAgain

    async def _seek_offsets(self, consumer: Any, tps: Any, offsets: Any, title: str) -> None:
        if title == "active":
            missing = {}
            for tp in tps:
                have, end = offsets[tp], self.active_highwaters[tp]
                if end is not None and end > (have if have is not None else -1):
                    missing[tp] = end
            if missing:
                await self._read(missing, offsets)
        await super()._seek_offsets(consumer, tps, offsets, title)

    async def _read(self, missing: dict[Any, int], offsets: Any) -> None:
        """Reads each changelog partition up to and with its end offset into the table's store."""
        started, count = time.perf_counter(), 0
        consumer = AIOKafkaConsumer(
            **self.app.kafka_options,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",  # what a fenced worker left behind is no record
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_bytes=_FETCH_BYTES * _AT_A_TIME,
            key_deserializer=_bare,
        )
        await consumer.start()
        gc.disable()  # it would look at what has come so far again and again
        try:
            ours = {TopicPartition(tp.topic, tp.partition): tp for tp in missing}
            consumer.assign(list(ours))
            expected = 0
            for partition, tp in ours.items():
                have = offsets[tp]
                first = have + 1 if have is not None and have >= 0 else 0
                consumer.seek(partition, first)
                expected += missing[tp] - first
            summing: Summing = self.app.summing
            summing.begin(len(ours), expected)
            waiting = list(ours)
            consumer.pause(*waiting)
            left: set[Any] = set()
            while left or waiting:
                while waiting and len(left) < _AT_A_TIME:
                    left.add(waiting[-1])
                    consumer.resume(waiting.pop())
                for partition, records in (await consumer.getmany(*left, timeout_ms=500)).items():
                    tp = ours[partition]
                    store: PartitionStore = self.tp_to_table[tp].data
                    store.apply(tp.partition, [(one.key, one.value) for one in records], records[-1].offset)
                    offsets[tp] = records[-1].offset
                    count += len(records)
                for partition in list(left):  # the end may be a transaction's marker, which is no record
                    if await consumer.position(partition) > missing[ours[partition]]:
                        tp = ours[partition]
                        offsets[tp] = max(offsets[tp] if offsets[tp] is not None else -1, missing[tp])
                        left.discard(partition)
                        consumer.pause(partition)
                        summing.add(tp.partition, self.tp_to_table[tp].data.partition(tp.partition))
        finally:
            gc.enable()
            await consumer.stop()
        log.info("recovered %d changelog records in %.2f s", count, time.perf_counter() - started)


def install() -> None:
    """Makes Faust use it; before the App is made."""
    faust.tables.manager.Recovery = BulkRecovery
    aiokafka.consumer.fetcher.PartitionRecords = _Bare

"""Shell: reads a changelog in bulk.

Faust takes every changelog record through its stream machinery, some 130 us each: minutes for a million persons. Here the
missing range is read in big batches by a consumer of its own, and Faust's recovery then finds nothing left to do.
"""

from __future__ import annotations

import gc
import logging
import time
from typing import Any

import faust.tables.manager
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped

from streams.worker.store import FAUST_LOG, PartitionStore

log = logging.getLogger(__name__)


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
                # the store says what it holds: Faust may remember how far one was read that has gone and come back since
                have, end = self.tp_to_table[tp].data.persisted_offset(tp), self.active_highwaters[tp]
                if end is not None and end > (have if have is not None else -1):
                    missing[tp] = end
                elif have is not None:
                    offsets[tp] = end
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
            max_partition_fetch_bytes=4 << 20,
            fetch_max_bytes=64 << 20,
        )
        await consumer.start()
        gc.disable()  # it would look at what has come so far again and again
        try:
            ours = {TopicPartition(tp.topic, tp.partition): tp for tp in missing}
            stores: dict[TopicPartition, PartitionStore] = {one: self.tp_to_table[tp].data for one, tp in ours.items()}
            maps = {one: store.partition(one.partition) for one, store in stores.items()}
            consumer.assign(list(ours))
            for partition, store in stores.items():
                have = store.persisted_offset(partition)
                consumer.seek(partition, have + 1 if have is not None and have >= 0 else 0)
            left = set(ours)
            while left:
                for partition, records in (await consumer.getmany(*left, timeout_ms=500)).items():
                    tp, store = ours[partition], stores[partition]
                    if store.partitions.get(tp.partition) is not maps[partition]:
                        # it has gone: if it comes back, the rest of it must not be taken for all of it
                        left.discard(partition)
                        offsets[tp] = missing[tp]
                        continue
                    store.apply(tp.partition, ((one.key, one.value) for one in records), records[-1].offset)
                    offsets[tp] = records[-1].offset
                    count += len(records)
                for partition in list(left):  # the end may be a transaction's marker, which is no record
                    if await consumer.position(partition) > missing[ours[partition]]:
                        tp = ours[partition]
                        offsets[tp] = max(offsets[tp] if offsets[tp] is not None else -1, missing[tp])
                        left.discard(partition)
        finally:
            gc.enable()
            await consumer.stop()
        log.info("recovered %d changelog records in %.2f s", count, time.perf_counter() - started)


def install() -> None:
    """Makes Faust use it; before the App is made."""
    faust.tables.manager.Recovery = BulkRecovery

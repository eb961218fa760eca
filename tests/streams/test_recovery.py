"""Changelogs that are read while their partitions go away; on a real broker."""

from __future__ import annotations

import asyncio
import os

import pytest
from faust.types import TP

from deploy.kafka.topics import create_topics
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from streams.partition import Taken
from streams.worker.app import make_app
from streams.worker.kafka_options import aiokafka_options
from streams.worker.store import PartitionStore
from streams.worker.writer import CheckpointWriter

#: So large that one fetch does not bring all.
RECORDS: list[tuple[bytes, bytes | None]] = [(b"u:%d" % number, os.urandom(500)) for number in range(40_000)]


@pytest.mark.broker
def test_a_partition_that_goes_while_it_is_read_is_read_from_its_start_when_it_comes_back(settings: Settings) -> None:
    create_topics(settings)

    async def run() -> None:
        names = topic_names(settings)
        writer = CheckpointWriter(names, aiokafka_options(settings.kafka))
        await writer.own(0)
        last = await writer.write(0, Taken(RECORDS, [], [], []))
        await writer.close()
        assert last is not None

        app = make_app(settings)
        await app.door.start()
        await app.door.stop()  # it has its port from the beginning
        recovery, table = app.tables.recovery, app.tables["person"]
        store: PartitionStore = table.data
        tp = TP(names.changelog, 0)
        recovery.add_active(table, tp)
        recovery.active_highwaters[tp] = last

        reading = asyncio.create_task(recovery._read({tp: last}, recovery.active_offsets))
        while not store.offsets:  # noqa: ASYNC110 - nobody says that the first records are there
            await asyncio.sleep(0)
        assert len(store.partitions[0]) < len(RECORDS)
        await store.on_rebalance(set(), {tp}, set(), 2)
        await reading  # Faust cancels it, but not at once
        assert store.persisted_offset(tp) is None

        recovery.active_highwaters[tp] = last  # it comes back, and Faust has not been told that it was gone
        assert recovery.active_offsets[tp] == last
        with pytest.raises(AttributeError):  # there is no consumer that Faust could go on with
            await recovery._seek_offsets(None, {tp}, recovery.active_offsets, "active")
        assert store.partitions[0] == dict(RECORDS)

    asyncio.run(run())

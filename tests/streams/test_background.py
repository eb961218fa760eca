"""A task behind a client of Kafka that dies unseen is seen; on a real broker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.kafka.topics import create_topics
from ingest.contract.errors import UnavailableError
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from streams.worker.background import check_alive, tasks_of
from streams.worker.kafka_options import aiokafka_options

pytestmark = pytest.mark.broker


async def _die() -> None:
    raise RuntimeError("the handler is closed")


async def _dead() -> asyncio.Task[None]:
    task = asyncio.create_task(_die())
    await asyncio.wait([task])
    return task


def test_a_client_whose_metadata_is_refreshed_no_more_ends_the_worker(settings: Settings) -> None:
    create_topics(settings)

    async def run() -> None:
        options = aiokafka_options(settings.kafka)
        consumer: Any = AIOKafkaConsumer(topic_names(settings).events, group_id="background", **options)
        producer: Any = AIOKafkaProducer(transactional_id="background", **options)
        await asyncio.gather(consumer.start(), producer.start())
        try:
            assert len(tasks_of(consumer)) == 3, "metadata, group and fetching"
            assert len(tasks_of(producer)) == 2, "metadata and sending"
            check_alive([consumer, producer])
            for client in (consumer._client, producer.client):
                living, client._sync_task = client._sync_task, await _dead()
                with pytest.raises(UnavailableError, match="the handler is closed"):
                    check_alive([consumer, producer])
                client._sync_task = living
            check_alive([consumer, producer])
        finally:
            await asyncio.gather(consumer.stop(), producer.stop())

    asyncio.run(run())

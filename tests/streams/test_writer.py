"""Whoever takes a partition fences whoever had it, and waits for a broker that is away; on a real broker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka.errors import KafkaConnectionError

from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from streams.partition import Taken
from streams.worker.kafka_options import aiokafka_options
from streams.worker.writer import CheckpointWriter


@pytest.mark.broker
def test_a_writer_whose_partition_was_taken_over_is_fenced_and_writes_nothing(settings: Settings) -> None:
    create_topics(settings)
    told = subprocess.run(
        [sys.executable, "-m", "tests.streams.fencing"],
        input=msgspec.json.encode(settings),
        capture_output=True,
        timeout=60,
        check=False,
    )
    # the marker of the first transaction lies between the two offsets, and nothing else
    assert told.stdout.decode().split("\n")[:3] == ["0", "partition 0 was taken over by another worker", "2"], told.stderr


@pytest.mark.broker
def test_a_partition_that_is_assigned_while_the_broker_is_away_is_taken_when_it_is_back(
    demo_settings: Settings, tmp_path: Path
) -> None:
    broker = LocalBroker(tmp_path / "broker")
    kafka = msgspec.structs.replace(demo_settings.kafka, bootstrap_servers=broker.start())
    settings = msgspec.structs.replace(demo_settings, kafka=kafka)
    create_topics(settings)
    broker.stop()

    async def take() -> int | None:
        writer = CheckpointWriter(topic_names(settings), aiokafka_options(kafka))
        taking = asyncio.create_task(writer.own(0))
        await asyncio.sleep(2.5)
        assert not taking.done()
        await asyncio.to_thread(broker.start)
        await asyncio.wait_for(taking, 60)
        first = await writer.write(0, Taken([(b"u:1", b"new")], [], [], []))
        await writer.close()
        return first

    try:
        assert asyncio.run(take()) == 0
    finally:
        broker.stop()


@pytest.mark.broker
def test_a_connection_that_closes_under_the_question_for_the_coordinator_costs_no_checkpoint(settings: Settings) -> None:
    create_topics(settings)

    async def write() -> int | None:
        writer = CheckpointWriter(topic_names(settings), aiokafka_options(settings.kafka))
        await writer.own(0)
        producer = writer.clients[0]
        send = producer.client.send
        broken: list[Any] = []

        async def send_once_into_nothing(node: int, request: Any, **more: Any) -> Any:
            if "FindCoordinator" in type(request).__name__ and not broken:
                broken.append(request)
                raise KafkaConnectionError("Connection closed")
            return await send(node, request, **more)

        producer.client.send = send_once_into_nothing
        producer._sender._coordinators.clear()
        first = await asyncio.wait_for(writer.write(0, Taken([(b"u:1", b"new")], [], [], [])), 30)
        assert broken
        await writer.close()
        return first

    assert asyncio.run(write()) == 0

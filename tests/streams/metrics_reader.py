"""Reads what a worker has published: committed totals, the last of each key, added up over partitions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition

from ingest.contract.rejected import Rejected
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from streams.contract.total import Total, decode_total
from tests.streams.plain import Number


def read_committed(settings: Settings, topic: str, partitions: int, wait_s: float = 120.0) -> Iterator[Any]:
    """Every committed record that a topic holds at the moment, partition by partition in order."""
    consumer = KafkaConsumer(
        bootstrap_servers=settings.kafka.servers(),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    until = time.monotonic() + wait_s
    try:
        tps = [TopicPartition(topic, number) for number in range(partitions)]
        ends = consumer.end_offsets(tps)
        consumer.assign(tps)
        while any(consumer.position(tp) < ends[tp] for tp in tps):
            assert time.monotonic() < until, f"{topic} could not be read to its end"
            for records in consumer.poll(200).values():
                yield from records
    finally:
        consumer.close()


def last_totals(settings: Settings) -> list[Total]:
    """The last total of each key in each partition."""
    last: dict[tuple[int, bytes], bytes] = {}
    for record in read_committed(settings, topic_names(settings).metrics, settings.kafka.partitions):
        last[record.partition, record.key] = record.value
    totals = [decode_total(line) for line in last.values()]
    assert all(total.partition == number for (number, _), total in zip(last, totals, strict=True))
    return totals


def published(settings: Settings) -> dict[Number, int]:
    """Every number, zeros and the `now` windows left out."""
    found: dict[Number, int] = {}
    for total in last_totals(settings):
        if total.window in ("5m", "30m"):
            continue
        hour = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=total.start) if total.window == "hour" else None
        number = Number(total.metric, total.app, total.facet, total.window, date.fromisoformat(total.day), hour)
        found[number] = found.get(number, 0) + total.value
    return {number: value for number, value in found.items() if value}


def rejected(settings: Settings) -> list[Rejected]:
    """What the worker has put aside."""
    decode = msgspec.json.Decoder(Rejected).decode
    return [decode(record.value) for record in read_committed(settings, topic_names(settings).rejected, 1)]


def lag(settings: Settings) -> int:
    """Frames, and messages about persons that are one, that the workers have not acknowledged yet.

    What a message gives rise to is written before it is acknowledged: 0 means that nothing is on its way any more.
    """
    names = topic_names(settings)
    count = settings.kafka.partitions
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka.servers(), group_id=names.worker_app, enable_auto_commit=False)
    try:
        events = [TopicPartition(names.events, number) for number in range(count)]
        merges = [TopicPartition(names.merges, number) for number in range(count)]
        done: dict[TopicPartition, int] = {tp: consumer.committed(tp) or 0 for tp in (*events, *merges)}
        ends: dict[TopicPartition, int] = consumer.end_offsets(events)
    finally:
        consumer.close()
    behind = sum(ends[tp] - done[tp] for tp in events)
    if behind:
        return behind
    # read after `done`; the end of a topic that is written in transactions is a marker, which nobody acknowledges
    return sum(record.offset >= done[merges[record.partition]] for record in read_committed(settings, names.merges, count))

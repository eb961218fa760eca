"""A collector that runs, and what it wrote into Kafka."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from kafka import KafkaConsumer, TopicPartition

from ingest.collector.main import Collector, loop_factory
from ingest.collector.server import Server
from ingest.contract.event import Event, check_line
from ingest.contract.partition import partition_of
from ingest.contract.rejected import Rejected
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names

_event = msgspec.json.Decoder(Event)
_rejected = msgspec.json.Decoder(Rejected)


class Reply(NamedTuple):
    """An answer as it came over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


def ask(
    port: int, path: str, body: bytes | object | None = None, headers: Mapping[str, str] | None = None, method: str = ""
) -> Reply:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    try:
        connection.request(method or ("GET" if raw is None else "POST"), path, raw, dict(headers or {}))
        answer = connection.getresponse()
        return Reply(answer.status, {name.title(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class RunningCollector:
    """A collector in a thread with an event loop of its own; a context manager."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.port = settings.collector.port
        self._loop = (loop_factory() or asyncio.new_event_loop)()  # the loop that it runs on in production
        self._collector: Collector | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> RunningCollector:
        self._thread.start()
        try:
            self._call(self._start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._collector is not None
        self._call(self._collector.stop())
        self._end()

    async def _start(self) -> None:
        self._collector = Collector(self.settings)
        await self._collector.start()

    def _call(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def server(self) -> Server:
        """Its public port."""
        assert self._collector is not None
        return self._collector.server

    @property
    def failure(self) -> BaseException | None:
        """Why the process would have ended; None while it goes on."""
        assert self._collector is not None
        failure = self._collector.failure
        return failure.exception() if failure.done() else None

    def ask(
        self, path: str, body: bytes | object | None = None, headers: Mapping[str, str] | None = None, method: str = ""
    ) -> Reply:
        """One request."""
        return ask(self.port, path, body, headers, method)

    def send(self, *events: object, key: str = "WRITEKEY_seg") -> Reply:
        """Events to the native endpoint."""
        return self.ask("/v1/events", list(events), {"Authorization": f"Bearer {key}"})

    def ready(self) -> bool:
        """Whether it says that it is ready."""
        return self.ask("/health/ready").status == 200

    def wait_until_ready(self, ready: bool = True, seconds: float = 180) -> None:
        """Returns when it is ready and Kafka takes frames, or neither."""
        until = time.monotonic() + seconds
        while self.ready() is not ready or self.metric("footfall_collector_kafka_up") != ready:
            assert time.monotonic() < until, f"not {'ready' if ready else 'away'} within {seconds} s"
            time.sleep(0.05)

    def wait_for(self, metric: str, value: float, seconds: float = 180) -> None:
        """Returns when a metric has a value."""
        until = time.monotonic() + seconds
        while (found := self.metric(metric)) != value:
            assert time.monotonic() < until, f"{metric} is {found}, not {value}, after {seconds} s"
            time.sleep(0.05)

    def metric(self, line: str) -> float:
        """The value of a metric by its name with labels; 0 when it is not there."""
        text = ask(self.settings.collector.metrics_port, "/metrics").body.decode()
        return next((float(one.rpartition(" ")[2]) for one in text.splitlines() if one.startswith(line + " ")), 0.0)

    def events(self) -> list[Event]:
        """All events in Kafka; each is checked to be a good line in its person's partition."""
        return events_in(self.settings)

    def rejected(self) -> list[Rejected]:
        """All of the rejected topic."""
        return [_rejected.decode(value) for _, value in records(self.settings, topic_names(self.settings).rejected)]


def events_in(settings: Settings) -> list[Event]:
    """All events in Kafka; each is checked to be a good line in its person's partition."""
    found = []
    for partition, value in records(settings, topic_names(settings).events):
        for line in value.split(b"\n"):
            assert partition_of(check_line(line).person, settings.kafka.partitions) == partition
            found.append(_event.decode(line))
    return found


def records(settings: Settings, topic: str) -> list[tuple[int, bytes]]:
    """Partition and value of all records of a topic."""
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka.servers(), enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        left = {partition: end for partition, end in consumer.end_offsets(partitions).items() if end}
        found = []
        while left:
            for partition, batch in consumer.poll(timeout_ms=500).items():
                found += [(partition.partition, record.value) for record in batch]
                if batch and batch[-1].offset + 1 >= left.get(partition, 0):
                    left.pop(partition, None)
        return found
    finally:
        consumer.close()

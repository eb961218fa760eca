"""The promise under failure without a spool: a 200 is in Kafka, all else is a 503, and the collector recovers by itself."""

from __future__ import annotations

import asyncio
import errno
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from ingest.collector.frames import Frame
from ingest.collector.kafka_thread import KafkaThread
from ingest.collector.main import run
from ingest.contract.errors import ConfigError, LayoutError, UnavailableError
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from tests.ingest.conftest import APPS, settings_on
from tests.ingest.running import RunningCollector, ask, events_in
from tests.ports import free_port

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]
HEADERS = {"X-Write-Key": "SA_TOKEN"}


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[LocalBroker]:
    """A broker that may be killed."""
    broker = LocalBroker(tmp_path / "var")
    broker.start()
    yield broker
    broker.stop()


def quick(settings: Settings, **changes: object) -> Settings:
    """The same without a spool, and with an acknowledgement time-out that a test can wait for."""
    collector = msgspec.structs.replace(settings.collector, ack_timeout_ms=3000, spool_bytes=0, **changes)
    return msgspec.structs.replace(settings, collector=collector)


class Load:
    """Posts single events from threads until stopped; remembers what was acknowledged, and what was cut off unanswered."""

    def __init__(self, port: int, threads: int = 3) -> None:
        self.acked: set[str] = set()
        self.cut: set[str] = set()
        self.statuses: list[int] = []
        self.slowest = 0.0
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            number = uuid.uuid4().hex
            started = time.monotonic()
            try:
                status = ask(self._port, "/v1/events", {"id": number, "event": "e", "user_id": number[:3]}, HEADERS).status
            except ConnectionRefusedError:
                status = 0
            except OSError:
                status = -1
                self.cut.add(number)
            self.slowest = max(self.slowest, time.monotonic() - started)
            self.statuses.append(status)
            if status == 200:
                self.acked.add(number)
            time.sleep(0.005 if status == 200 else 0.05)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


def test_a_killed_broker_means_503_until_it_is_back_and_nothing_acknowledged_is_lost(own_broker: LocalBroker) -> None:
    settings = quick(settings_on(own_broker.bootstrap, "killed"))
    create_topics(settings)
    with RunningCollector(settings) as collector:
        collector.wait_until_ready()
        load = Load(collector.port)
        time.sleep(1)
        os.kill(own_broker.pid, signal.SIGKILL)
        collector.wait_until_ready(False)
        reply = collector.send({"event": "e", "user_id": "1"})
        assert (reply.status, reply.json()["code"], reply.headers["Retry-After"]) == (503, "unavailable", "2")
        assert collector.ask("/health/live").status == 200
        started = time.monotonic()
        assert collector.ask("/sa?token=SA_TOKEN", b"data=e30").status == 503
        assert time.monotonic() - started < 5
        own_broker.stop()
        own_broker.start()
        collector.wait_until_ready()
        before = len(load.acked)
        time.sleep(1)
        load.stop()
        assert len(load.acked) > before > 0
        assert set(load.statuses) == {200, 503}
        assert load.slowest < 8
        assert collector.metric("footfall_collector_in_flight_bytes") == 0
    assert load.acked <= {event.id for event in events_in(settings)}


def test_a_broker_that_freezes_and_goes_on_is_found_again(own_broker: LocalBroker) -> None:
    settings = quick(settings_on(own_broker.bootstrap, "frozen"))
    create_topics(settings)
    with RunningCollector(settings) as collector:
        collector.wait_until_ready()
        assert collector.send({"event": "e", "user_id": "1"}).status == 200
        os.kill(own_broker.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            assert collector.send({"event": "e", "user_id": "1"}).status == 503
            assert time.monotonic() - started < 30
            assert collector.send({"event": "e", "user_id": "1"}).status == 503
        finally:
            os.kill(own_broker.pid, signal.SIGCONT)
        collector.wait_until_ready()
        assert collector.send({"event": "e", "user_id": "1"}).status == 200


def test_it_starts_before_the_broker_and_takes_events_when_that_is_there(tmp_path: Path) -> None:
    broker = LocalBroker(tmp_path / "var")
    broker.start()
    settings = quick(settings_on(broker.bootstrap, "late"))
    create_topics(settings)
    broker.stop()
    with RunningCollector(settings) as collector:
        assert collector.ask("/health/ready").status == 503
        assert collector.send({"event": "e", "user_id": "1"}).status == 503
        broker.start()
        try:
            collector.wait_until_ready()
            assert collector.send({"event": "e", "user_id": "1"}).status == 200
        finally:
            broker.stop()


def test_sigterm_answers_what_was_asked_and_ends_with_0(broker: LocalBroker, tmp_path: Path) -> None:
    settings = settings_on(broker.bootstrap, f"term-{uuid.uuid4().hex[:6]}")
    create_topics(settings)
    toml = tmp_path / "footfall.toml"
    kafka, door = settings.kafka, settings.collector
    toml.write_text(
        f'data_dir = "{settings.data_dir}"\n'
        f'[kafka]\nbootstrap_servers = "{broker.bootstrap}"\npartitions = 4\ntopic_prefix = "{kafka.topic_prefix}"\n'
        f"[collector]\nport = {door.port}\nmetrics_port = {door.metrics_port}\n{APPS}"
    )
    command = [sys.executable, "-m", "deploy.cli", "--config", str(toml), "collector"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 180
        while True:
            try:
                if b"footfall_collector_kafka_up 1.0" in ask(door.metrics_port, "/metrics").body:
                    break
            except OSError:
                pass
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        load = Load(door.port)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        load.stop()
    finally:
        process.kill()
        _, said = process.communicate()
    assert "Traceback" not in said
    safe = {event.id for event in events_in(settings)}
    assert load.acked <= safe
    # a connection that nobody has accepted yet is cut off when the port closes
    assert not load.cut & safe, "a request that was taken was not answered"
    assert len(load.cut) <= 3


def test_ports_in_use_are_named(broker: LocalBroker) -> None:
    settings = settings_on(broker.bootstrap, "ports")
    for name in ("port", "metrics_port"):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            collector = msgspec.structs.replace(settings.collector, **{name: taken.getsockname()[1]})
            with pytest.raises(UnavailableError, match=rf"collector\.{name} \d+ .*in use.*: free it"):
                run(msgspec.structs.replace(settings, collector=collector))


def test_another_partition_count_ends_it(broker: LocalBroker) -> None:
    settings = settings_on(broker.bootstrap, f"count-{uuid.uuid4().hex[:6]}")
    create_topics(settings)
    other = msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, partitions=5))
    with pytest.raises(LayoutError, match=r"has 4 partitions, the settings say 5"):
        run(other)


def test_settings_without_a_broker_or_without_keys_are_errors() -> None:
    settings = settings_on("", "none")
    with pytest.raises(ConfigError, match=r"kafka\.bootstrap_servers"):
        run(settings)
    with pytest.raises(ConfigError, match=r"write_keys"):
        run(msgspec.structs.replace(settings_on("127.0.0.1:1", "none"), apps=[]))


def test_a_producer_is_renewed_once_however_often_that_is_asked_for(broker: LocalBroker) -> None:
    settings = settings_on(broker.bootstrap, f"renew-{uuid.uuid4().hex[:6]}")
    create_topics(settings)
    reached: queue.SimpleQueue[None] = queue.SimpleQueue()
    settled: queue.SimpleQueue[tuple[bytes, Exception | None]] = queue.SimpleQueue()
    thread = KafkaThread(
        settings,
        lambda frame, error: settled.put((frame.value, error)),
        lambda: reached.put(None),
        lambda error: pytest.fail(str(error)),
    )

    def frame(value: bytes) -> Frame:
        made = Frame(topic_names(settings).events, 0)
        made.value = value
        return made

    thread.start()
    try:
        reached.get(timeout=60)
        thread.renew()
        thread.send([frame(b"given up")])
        thread.renew()
        thread.send([frame(b"new")])
        reached.get(timeout=60)
        assert settled.get(timeout=60) == (b"new", None)
        with pytest.raises(queue.Empty):
            reached.get(timeout=3)
    finally:
        thread.stop(flush=False, wait_s=20)
    assert not thread._thread.is_alive()


def unforeseen(*_: object) -> None:
    raise RuntimeError("unforeseen")


def no_room(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("ingest.collector.spool.Spool.give_up", "looks for frames that Kafka leaves waiting"),
        ("ingest.collector.connections.Connections._why_cut", "looks for slow connections"),
        ("ingest.collector.spool_files.SpoolFiles.probe", "looks whether the spool takes frames again"),
    ],
)
def test_what_looks_after_the_others_does_not_die_unseen(monkeypatch: pytest.MonkeyPatch, where: str, what: str) -> None:
    with RunningCollector(settings_on("127.0.0.1:1", "unforeseen")) as collector, monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", no_room)
        patch.setattr(where, unforeseen)
        until = time.monotonic() + 60
        while collector.failure is None:
            assert collector.send({"event": "e", "user_id": "1"}).status == 503
            assert time.monotonic() < until
            time.sleep(0.1)
        assert str(collector.failure) == f"what {what} ended unforeseen: RuntimeError"


def test_memory_is_bounded_while_kafka_does_not_answer(own_broker: LocalBroker) -> None:
    settings = quick(settings_on(own_broker.bootstrap, "bounded"), max_in_flight_bytes=300_000, port=free_port())
    create_topics(settings)
    with RunningCollector(settings) as collector:
        collector.wait_until_ready()
        os.kill(own_broker.pid, signal.SIGSTOP)
        try:
            body = [{"event": "e", "user_id": str(number), "props": {"x": "y" * 50_000}} for number in range(2)]

            async def all_at_once() -> list[int]:
                posts = (asyncio.to_thread(collector.ask, "/v1/events", body, HEADERS) for _ in range(8))
                return [reply.status for reply in await asyncio.gather(*posts)]

            started = time.monotonic()
            assert set(asyncio.run(all_at_once())) == {503}
            assert time.monotonic() - started < 40
        finally:
            os.kill(own_broker.pid, signal.SIGCONT)
        collector.wait_until_ready()
        assert collector.ask("/v1/events", body, HEADERS).status == 200

"""The promise under failure without a spool: a 200 is in Kafka, all else is a 503, and the collector recovers by itself."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
from tests.ingest.running import Reply, RunningCollector, ask, events_in
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
    """Posts single events from threads until stopped; remembers what was acknowledged."""

    def __init__(self, port: int, threads: int = 3) -> None:
        self.acked: set[str] = set()
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


def test_events_that_come_while_others_wait_for_kafka_share_a_frame(own_broker: LocalBroker) -> None:
    settings = settings_on(own_broker.bootstrap, "shared")
    settings = msgspec.structs.replace(settings, collector=msgspec.structs.replace(settings.collector, linger_ms=300))
    create_topics(settings)
    with RunningCollector(settings) as collector, ThreadPoolExecutor() as pool:
        collector.wait_until_ready()
        assert collector.send({"event": "e", "user_id": "1"}).status == 200
        os.kill(own_broker.pid, signal.SIGSTOP)
        replies = []
        for pause_s in (0.5, 0.5, 0.3):  # longer than the linger: each would be a frame of its own
            replies.append(pool.submit(collector.send, {"event": "e", "user_id": "1"}))
            time.sleep(pause_s)
        os.kill(own_broker.pid, signal.SIGCONT)
        assert [reply.result().status for reply in replies] == [200, 200, 200]
        assert collector.metric("footfall_collector_frame_bytes_count") == 3
    assert len(events_in(settings)) == 4


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


def test_sigterm_answers_what_was_asked_and_ends_with_0(own_broker: LocalBroker, tmp_path: Path) -> None:
    """Kafka is frozen when the signal comes: each of the load's requests waits for it then, and one has come by half."""
    settings = settings_on(own_broker.bootstrap, "term")
    create_topics(settings)
    toml = tmp_path / "footfall.toml"
    kafka, door = settings.kafka, settings.collector
    toml.write_text(
        f'data_dir = "{settings.data_dir}"\n'
        f'[kafka]\nbootstrap_servers = "{own_broker.bootstrap}"\npartitions = 4\ntopic_prefix = "{kafka.topic_prefix}"\n'
        f"[collector]\nport = {door.port}\nmetrics_port = {door.metrics_port}\nspool_bytes = 0\n{APPS}"
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
        load = Load(door.port, threads=3)
        time.sleep(1)
        half = socket.create_connection(("127.0.0.1", door.port), 40)
        body = b'{"event": "e", "user_id": "1", "id": "half"}'
        half.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Write-Key: SA_TOKEN\r\nContent-Length: %d\r\n\r\n" % len(body))
        half.sendall(body[:9])
        os.kill(own_broker.pid, signal.SIGSTOP)
        try:
            time.sleep(1)
            answered = len(load.acked)
            process.send_signal(signal.SIGTERM)
            time.sleep(1)
            half.sendall(body[9:])
            assert process.poll() is None
            assert len(load.acked) == answered
        finally:
            os.kill(own_broker.pid, signal.SIGCONT)
        assert process.wait(60) == 0
        load.stop()
        with half:
            assert half.recv(65536).startswith(b"HTTP/1.1 200 ")
    finally:
        process.kill()
        _, said = process.communicate()
    assert "Traceback" not in said
    assert set(load.statuses) == {200, 0}, "a request that was taken was not answered"
    assert len(load.acked) == answered + 3
    assert load.acked | {"half"} <= {event.id for event in events_in(settings)}


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
    """What does not fit is refused at once, what waits is given up in time; and no request leaves anything behind."""
    limit, size = 300_000, 100_000
    settings = quick(settings_on(own_broker.bootstrap, "bounded"), max_in_flight_bytes=limit, port=free_port())
    create_topics(settings)
    body = [{"event": "e", "user_id": str(number), "props": {"x": "y" * (size // 2)}} for number in range(2)]

    async def all_at_once(collector: RunningCollector, count: int) -> list[Reply]:
        posts = (asyncio.to_thread(collector.ask, "/v1/events", body, HEADERS) for _ in range(count))
        return await asyncio.gather(*posts)

    def left_behind(collector: RunningCollector, count: int) -> int:
        """Bytes that are still held after so many requests."""
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(count):
            assert collector.ask("/v1/events", body, HEADERS).status == 200
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before

    with RunningCollector(settings) as collector:
        collector.wait_until_ready()
        in_flight: list[float] = []
        os.kill(own_broker.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(asyncio.run, all_at_once(collector, 8))
                while not asked.done():
                    in_flight.append(collector.metric("footfall_collector_in_flight_bytes"))
                    time.sleep(0.05)
            replies = asked.result()
            assert time.monotonic() - started < 40
            assert {reply.status for reply in replies} == {503}
            assert sum(b"too much waits for Kafka" in reply.body for reply in replies) >= 8 - limit // size
            assert size <= max(in_flight) <= limit + 2 * size, "a body that fits may make a frame that does not"
        finally:
            os.kill(own_broker.pid, signal.SIGCONT)
        collector.wait_until_ready()
        assert collector.metric("footfall_collector_in_flight_bytes") == 0
        tracemalloc.start()
        try:
            left_behind(collector, 10)
            assert left_behind(collector, 40) < 10 * size
        finally:
            tracemalloc.stop()

"""While Kafka is away: events are safe on disk, answered 200, and in Kafka once it is back; a full spool says so."""

from __future__ import annotations

import errno
import os
import random
import signal
import string
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from deploy.status.report import spool_words
from ingest.collector.spool_files import SpoolFiles
from ingest.collector.spool_format import EVENTS
from ingest.contract.errors import ConfigError
from ingest.contract.event import Event
from ingest.contract.partition import partition_of
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from tests.ingest.conftest import let_be_as_large_as, settings_on
from tests.ingest.running import RunningCollector, ask, events_in, records

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]
HEADERS = {"X-Write-Key": "SA_TOKEN"}


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """A broker that may be stopped; a test leaves it running."""
    broker = LocalBroker(tmp_path_factory.mktemp("mortal"), jvm=("-XX:TieredStopAtLevel=1",))
    broker.start()
    yield broker
    broker.stop()


def with_collector(settings: Settings, **changes: object) -> Settings:
    return msgspec.structs.replace(settings, collector=msgspec.structs.replace(settings.collector, **changes))


def settings_for(broker: LocalBroker, **changes: object) -> Settings:
    """Topics and spool of a test's own."""
    settings = settings_on(broker.bootstrap, f"spool-{uuid.uuid4().hex[:8]}")
    create_topics(settings)
    return with_collector(settings, ack_timeout_ms=3000, **changes)


def away(settings: Settings) -> Settings:
    """The same where no Kafka is."""
    return msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, bootstrap_servers="127.0.0.1:1"))


def ids(settings: Settings) -> set[str]:
    return {event.id for event in events_in(settings)}


def wait_until_drained(collector: RunningCollector) -> None:
    collector.wait_for("footfall_collector_spool_frames", 0)
    collector.wait_until_ready()


def test_a_collector_that_starts_without_kafka_takes_events_at_once_and_they_arrive(mortal: LocalBroker) -> None:
    settings = settings_for(mortal)
    mortal.stop()
    before = time.time_ns() // 1_000_000
    with RunningCollector(settings) as collector:
        assert collector.ask("/health/ready").status == 200
        for number in range(20):
            assert collector.send({"id": f"e{number}", "event": "e", "user_id": f"{number % 3}"}).status == 200
        assert collector.ask("/v1/events", b'[{"event": 7}]', HEADERS).status == 400
        taken = time.time_ns() // 1_000_000
        assert collector.metric("footfall_collector_kafka_up") == 0
        assert collector.metric("footfall_collector_spool_frames") > 0
        assert collector.metric("footfall_collector_spool_bytes") > 1000
        assert collector.metric("footfall_collector_spool_age_seconds") > 0
        assert collector.metric('footfall_collector_events_total{app="bank",protocol="native"}') == 20
        page = ask(settings.collector.metrics_port, "/metrics").body.decode()
        assert spool_words(page) == f"{collector.metric('footfall_collector_spool_frames'):.0f} waiting, 0.0% full"
    # stopped with Kafka still away: all of it is on disk, and the next one has it
    with RunningCollector(settings) as collector:
        held = collector.metric("footfall_collector_spool_frames")
        assert held > 0
        mortal.start()
        wait_until_drained(collector)
        assert collector.metric("footfall_collector_spool_drained_frames_total") == held
        assert collector.metric("footfall_collector_spool_bytes") == 0
        assert collector.send({"id": "afterwards", "event": "e", "user_id": "0"}).status == 200
        events = collector.events()
        rejected = collector.rejected()
    assert {event.id for event in events} == {f"e{number}" for number in range(20)} | {"afterwards"}
    assert all(before <= event.received <= taken for event in events if event.id != "afterwards"), "the receipt is the first one"
    for person in "012":
        mine = [event.id for event in events if event.person == f"u:{person}" and event.id != "afterwards"]
        assert mine == [f"e{number}" for number in range(int(person), 20, 3)], "in order"
    assert [one.reason for one in rejected] == ["bad_event"]


class Load:
    """Posts single events from threads until stopped; remembers what was acknowledged."""

    def __init__(self, port: int, threads: int = 4) -> None:
        self.acked: list[str] = []
        self.statuses: list[int] = []
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            number = uuid.uuid4().hex
            status = ask(self._port, "/v1/events", {"id": number, "event": "e", "user_id": number[:3]}, HEADERS).status
            self.statuses.append(status)
            if status == 200:
                self.acked.append(number)
            time.sleep(0.005)

    def wait_for_more(self, count: int) -> None:
        goal, until = len(self.acked) + count, time.monotonic() + 180
        while len(self.acked) < goal:
            assert time.monotonic() < until
            time.sleep(0.05)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


def test_a_killed_and_a_frozen_broker_cost_no_request(mortal: LocalBroker) -> None:
    settings = settings_for(mortal)
    with RunningCollector(settings) as collector:
        collector.wait_until_ready()
        load = Load(collector.port)
        load.wait_for_more(50)
        os.kill(mortal.pid, signal.SIGKILL)
        collector.wait_for("footfall_collector_kafka_up", 0)
        load.wait_for_more(50)
        assert collector.metric("footfall_collector_spooled_frames_total") > 0
        assert collector.ask("/health/ready").status == 200
        mortal.stop()
        mortal.start()
        wait_until_drained(collector)
        load.wait_for_more(50)
        os.kill(mortal.pid, signal.SIGSTOP)
        try:
            load.wait_for_more(50)
            assert collector.metric("footfall_collector_kafka_up") == 0
        finally:
            os.kill(mortal.pid, signal.SIGCONT)
        wait_until_drained(collector)
        load.wait_for_more(50)
        load.stop()
        assert set(load.statuses) == {200}
        assert collector.metric("footfall_collector_frames_failed_total") == 0
        assert collector.metric("footfall_collector_in_flight_bytes") == 0
    assert set(load.acked) <= ids(settings)


def test_a_full_spool_says_503_and_is_ready_again_when_it_is_empty(broker: LocalBroker) -> None:
    settings = settings_for(broker, spool_bytes=20_000)
    event = {"event": "e", "user_id": "1", "props": {"x": "y" * 4000}}
    with RunningCollector(away(settings)) as collector:
        statuses = [collector.send(event).status for _ in range(8)]
        accepted = statuses.count(200)
        assert statuses == [200] * accepted + [503] * (8 - accepted)
        assert 2 <= accepted <= 5
        reply = collector.ask("/health/ready")
        assert (reply.status, b"the spool is full" in reply.body) == (503, True)
        assert collector.metric("footfall_collector_spool_bytes") <= 20_000
        assert collector.metric("footfall_collector_spool_refused_total") == 1, "the others are told before their body is read"
    with RunningCollector(settings) as collector:
        wait_until_drained(collector)
        assert collector.send(event).status == 200
        assert len(collector.events()) == accepted + 1


def test_a_disk_that_is_full_or_broken_says_503(broker: LocalBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for(broker)
    with RunningCollector(away(settings)) as collector:
        assert collector.send({"id": "first", "event": "e", "user_id": "1"}).status == 200

        def fail(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            reply = collector.send({"id": "second", "event": "e", "user_id": "1"})
            assert (reply.status, b"No space left" in reply.body) == (503, True)
        until = time.monotonic() + 180
        while not collector.ready():
            assert time.monotonic() < until
            time.sleep(0.1)
        assert collector.send({"id": "third", "event": "e", "user_id": "1"}).status == 200
    with RunningCollector(settings) as collector:
        wait_until_drained(collector)
    assert sorted(event.id for event in events_in(settings)) == ["first", "third"], "what was answered 503 is nowhere"


def test_another_partition_count_ends_it_and_what_was_spooled_arrives_once_that_is_mended(broker: LocalBroker) -> None:
    right = settings_for(broker)
    wrong = msgspec.structs.replace(right, kafka=msgspec.structs.replace(right.kafka, partitions=3))
    sent = {f"w{number}" for number in range(30)}
    with RunningCollector(away(wrong)) as collector:
        assert collector.send(*({"id": one, "event": "e", "user_id": one} for one in sorted(sent))).status == 200
    with RunningCollector(wrong) as collector:
        until = time.monotonic() + 180
        while collector.failure is None:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert "has 4 partitions, the settings say 3" in str(collector.failure)
    assert records(right, topic_names(right).events) == []
    with RunningCollector(right) as collector:
        wait_until_drained(collector)
    assert ids(right) == sent  # events_in looks that each is in its person's partition


def test_draining_and_new_traffic_do_not_starve_each_other(broker: LocalBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for(broker)
    partitions = settings.kafka.partitions
    files = SpoolFiles(Path(settings.data_dir) / "spool", partitions, 0)
    for number in range(600):
        event = Event(
            id=f"{number}", app="bank", person=f"u:{number % 9}", event="e", time=1, received=1, props={"x": "y" * 4000}
        )
        files.append([(EVENTS, partition_of(event.person, partitions), msgspec.json.encode(event))])
    files.close()
    monkeypatch.setattr("ingest.collector.drain.WINDOW_BYTES", 1)  # one record after the other
    monkeypatch.setattr("ingest.collector.drain._RECORD_BYTES", 8000)
    with RunningCollector(settings) as collector:
        load = Load(collector.port)
        collector.wait_for("footfall_collector_kafka_up", 1)
        before = len(load.acked)
        wait_until_drained(collector)
        assert len(load.acked) > before + 10
        load.stop()
        assert set(load.statuses) == {200}
    events = events_in(settings)
    assert set(load.acked) <= {event.id for event in events}
    for person in {event.person for event in events if event.received == 1}:
        mine = [int(event.id) for event in events if event.person == person and event.received == 1]
        assert mine == [number for number in range(600) if f"u:{number % 9}" == person], "in order"


def large_event(name: str) -> dict[str, object]:
    rng = random.Random(name)
    return {"id": name, "event": "e", "user_id": "1", "props": {"x": "".join(rng.choices(string.ascii_letters, k=9000))}}


def test_a_record_that_kafka_will_never_take_holds_up_nothing(broker: LocalBroker, caplog: pytest.LogCaptureFixture) -> None:
    settings = settings_for(broker)
    let_be_as_large_as(settings, 3000)
    damaged = Path(settings.data_dir) / "spool" / "damaged"
    unfit = 'footfall_collector_spool_damaged_total{kind="unfit"}'
    small = [f"before{number}" for number in range(40)]
    with RunningCollector(away(settings)) as collector:
        assert collector.ask("/v1/events", [{"id": one, "event": "e", "user_id": "1"} for one in small], HEADERS).status == 200
        assert collector.send(large_event("large1")).status == 200
        assert collector.send({"id": "after", "event": "e", "user_id": "1"}).status == 200
    with RunningCollector(settings) as collector:
        wait_until_drained(collector)
        assert collector.metric(unfit) == 1
        assert sorted(ids(settings)) == sorted([*small, "after"]), "what was sent with it is not unfit"
        caplog.clear()
        for number in range(2, 5):
            assert collector.send(large_event(f"large{number}")).status == 200, "it is safe: it would come again for ever"
            assert collector.send({"id": f"well{number}", "event": "e", "user_id": "1"}).status == 200
        collector.wait_for(unfit, 4)
        wait_until_drained(collector)
        assert [one for one in caplog.messages if "Kafka is away" in one or "too large:" in one] == [], "once is enough"
        assert collector.metric("footfall_collector_frames_failed_total") == 0
    wells = [f"well{number}" for number in range(2, 5)]
    assert sorted(ids(settings)) == sorted([*small, "after", *wells])
    kept = b"".join(path.read_bytes() for path in damaged.iterdir())
    assert [kept.count(f'"large{number}"'.encode()) for number in range(1, 5)] == [1] * 4
    let_be_as_large_as(settings, 4_000_000)
    with RunningCollector(settings) as collector:
        wait_until_drained(collector)
    assert ids(settings) == {*small, *wells, "after", *(f"large{number}" for number in range(1, 5))}
    assert list(damaged.iterdir()) == []


def test_what_is_too_large_among_new_events_is_found_and_costs_no_other(broker: LocalBroker) -> None:
    settings = settings_for(broker)
    let_be_as_large_as(settings, 3000)
    with RunningCollector(settings) as collector:
        collector.wait_until_ready()
        load = Load(collector.port)
        load.wait_for_more(50)
        for number in range(3):
            assert collector.send(large_event(f"large{number}")).status == 200
        load.wait_for_more(50)
        collector.wait_for('footfall_collector_spool_damaged_total{kind="unfit"}', 3)
        load.stop()
        wait_until_drained(collector)
        assert set(load.statuses) == {200}
    assert ids(settings) == set(load.acked)


def test_without_a_spool_what_is_too_large_is_told_and_costs_no_other_but_once(
    broker: LocalBroker, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(broker, spool_bytes=0)
    let_be_as_large_as(settings, 3000)
    with RunningCollector(settings) as collector:
        collector.wait_until_ready()
        reply = collector.send(large_event("large1"))
        assert (reply.status, b"max.message.bytes" in reply.body) == (503, True)
        collector.wait_until_ready()
        caplog.clear()
        for number in range(2, 5):
            reply = collector.send(large_event(f"large{number}"))
            assert (reply.status, b"max.message.bytes" in reply.body) == (503, True)
            assert collector.send({"id": f"well{number}", "event": "e", "user_id": "1"}).status == 200
        assert caplog.messages == []
        assert collector.metric("footfall_collector_in_flight_bytes") == 0
    assert ids(settings) == {"well2", "well3", "well4"}


def test_events_that_cannot_be_read_or_set_aside_now_hold_up_no_others(broker: LocalBroker) -> None:
    settings = settings_for(broker)
    folder = Path(settings.data_dir) / "spool"
    files = SpoolFiles(folder, 3, 0)  # of another partition count: each event is looked at
    for number in range(2):
        event = Event(id=f"{number}", app="bank", person=f"u:{number}", event="e", time=1, received=1)
        files.append([(EVENTS, 2, b"\n".join([msgspec.json.encode(event), b'{"person": 7}'][: 2 - number]))])
        files.seal()
    files.close()
    (folder / "damaged").touch()  # as little can be written there as on a full disk
    unfit = 'footfall_collector_spool_damaged_total{kind="unfit"}'
    with RunningCollector(settings) as collector:
        collector.wait_for("footfall_collector_spool_frames", 1)
        assert collector.metric(unfit) == 0
        assert ids(settings) == {"0", "1"}
        (folder / "damaged").unlink()
        wait_until_drained(collector)
        assert collector.metric(unfit) == 1
    (kept,) = (folder / "damaged").iterdir()
    assert kept.read_bytes().endswith(b'{"person": 7}')


def test_two_collectors_do_not_share_a_spool() -> None:
    settings = away(settings_on("", "shared"))
    with (
        RunningCollector(settings),
        pytest.raises(ConfigError, match=r"belongs to another collector .*collector\.spool_dir"),
        RunningCollector(settings),
    ):
        pass

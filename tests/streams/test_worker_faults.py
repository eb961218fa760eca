"""Real workers on a real broker: whatever is killed, frozen or taken over, every published number is the plain one."""

from __future__ import annotations

import random
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from kafka import KafkaProducer

from deploy.kafka.broker import LocalBroker
from ingest.contract.partition import partition_of
from ingest.contract.topics import topic_names
from tests.streams import slow_worker
from tests.streams.metrics_reader import lag, rejected
from tests.streams.plain import PlainEvent, recompute
from tests.streams.worker_rig import PARTITIONS, PLAN, RULES, Feed, Rig, frames, rig_on, wait_for

pytestmark = [pytest.mark.broker, pytest.mark.slow]

EXIT_FATAL = 70


#: Kafka gives a dead worker's partitions away after that. Snapshots come often: whoever takes over goes on from one.
SHORT_SESSION = "checkpoint_ms = 250\nsession_timeout_ms = 6000\nsnapshot_records = 20\nsnapshot_ms = 500"


@pytest.fixture
def rig(broker: LocalBroker, tmp_path: Path) -> Iterator[Rig]:
    with rig_on(broker.bootstrap, tmp_path, f"w{uuid.uuid4().hex[:10]}", SHORT_SESSION) as one:
        yield one


def test_undisturbed_every_number_is_the_plain_one(rig: Rig) -> None:
    rig.worker()
    rig.feed(0).join()
    rig.wait_done(90)  # not for ever: a topic that is written in transactions is committed as fast as it is read
    rig.assert_exact()


def test_a_worker_killed_three_times_while_events_flow_changes_no_number(rig: Rig) -> None:
    rng = random.Random()
    feed = rig.feed(7)
    for part in (0.2, 0.5, 0.8):
        worker = rig.worker().wait_ready()
        feed.until(part)
        time.sleep(rng.random())
        worker.kill()
    last = rig.worker()
    feed.join()
    rig.wait_done()
    rig.assert_exact()
    assert "go on from snapshots" in last.said


def test_a_second_worker_that_joins_and_leaves_while_events_flow_changes_no_number(rig: Rig) -> None:
    first = rig.worker().wait_ready()
    feed = rig.feed(10)
    feed.until(0.1)
    second = rig.worker().wait_ready()
    wait_for(lambda: len(first.partitions()) == len(second.partitions()) == PARTITIONS // 2, 150, "both to share the partitions")
    feed.until(0.8)
    second.stop()
    feed.join()
    rig.wait_done()
    rig.assert_exact()
    assert first.process.poll() is None


def test_workers_go_on_by_themselves_after_the_broker_was_killed_and_started_again(tmp_path: Path) -> None:
    local = LocalBroker(tmp_path / "var")
    try:
        with rig_on(local.start(), tmp_path, "killed") as rig:
            worker = rig.worker().wait_ready()
            feed = rig.feed(12)
            # for seconds, and so shortly that connections break under requests that are just being written
            for part, away_s in ((0.2, 4.0), (0.4, 0.0), (0.6, 0.2), (0.8, 0.0)):
                feed.until(part)
                local.kill()
                time.sleep(away_s)
                local.start()
            feed.join()
            rig.wait_done()
            rig.assert_exact()
            assert worker.process.poll() is None
            assert worker.said.count("\n") < 150, "what a client says hundreds of times is logged now and then"
            Feed(rig.settings, 0).run()
            local.kill()
            assert worker.stop() < 45, "a stop is bounded, also when nothing can be written any more"
    finally:
        local.stop()


def test_frames_that_are_fetched_while_a_rebalance_is_not_quite_over_are_joined(rig: Rig) -> None:
    rig.feed(0).join()  # there is always more to fetch
    first = rig.worker(module=slow_worker.__name__).wait_ready()
    wait_for(lambda: 'footfall_worker_events_total{app="harbor"}' in first.metrics(), 60, "it to read")
    rig.worker(module=slow_worker.__name__)
    rig.wait_done()
    rig.assert_exact()


def test_a_worker_frozen_until_another_took_over_changes_no_number(broker: LocalBroker, tmp_path: Path) -> None:
    # seconds between checkpoints: when it goes on, it holds frames that it has to write
    short = SHORT_SESSION.replace("250", "2000")
    with rig_on(broker.bootstrap, tmp_path, f"w{uuid.uuid4().hex[:10]}", short) as rig:
        frozen = rig.worker().wait_ready()
        other = rig.worker()
        feed = rig.feed(14)
        wait_for(lambda: other.partitions() and frozen.partitions(), 150, "both to have partitions")
        feed.until(0.2)
        frozen.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: len(other.partitions()) == PARTITIONS, 150, "the other to take over")
        frozen.process.send_signal(signal.SIGCONT)
        feed.join()
        rig.wait_done()
        rig.assert_exact()
        # it tried to write and was fenced, or it heard of its loss first and has joined again: either way it wrote nothing
        if frozen.process.poll() is not None:
            assert frozen.process.returncode == EXIT_FATAL
            assert "taken over by another worker" in frozen.said


def test_a_worker_that_is_given_again_what_another_had_while_it_was_frozen_goes_on_behind_it(rig: Rig) -> None:
    third = len(frames()) // 3
    parts = frames()[:third], frames()[third : 2 * third], frames()[2 * third :]
    frozen = rig.worker().wait_ready()
    Feed(rig.settings, 0, parts[0]).run()
    rig.wait_done()
    frozen.process.send_signal(signal.SIGSTOP)
    other = rig.worker()
    wait_for(lambda: len(other.partitions()) == PARTITIONS, 150, "the other to take over")
    Feed(rig.settings, 0, parts[1]).run()
    rig.wait_done()
    other.stop()
    frozen.process.send_signal(signal.SIGCONT)
    Feed(rig.settings, 0, parts[2]).run()
    rig.wait_done()
    rig.assert_exact()
    assert frozen.process.poll() is None, frozen.said[-3000:]


def test_bad_lines_are_rejected_with_their_place_and_the_lines_around_them_count(rig: Rig) -> None:
    now = time.time_ns() // 1_000_000 - 5000
    good = [PlainEvent(f"u:{number}", "harbor", "view", now - number, now, id=str(number)) for number in range(200)]
    by_partition: dict[int, list[bytes]] = {}
    for event in good:
        by_partition.setdefault(partition_of(event.person, PARTITIONS), []).append(orjson.dumps(event.line()))
    bad = {
        b'{"id":"1","app":"harbor","person":7}': "bad_line",
        b"\xff\xfe no json": "bad_line",
        orjson.dumps(PlainEvent(good[0].person, "nowhere", "view", now, now).line()): "unknown_app",
        orjson.dumps(PlainEvent(good[0].person, "harbor", "view", now, now + 3_600_000).line()): "received_in_future",
    }
    number = partition_of(good[0].person, PARTITIONS)
    topic = topic_names(rig.settings).events
    producer = KafkaProducer(bootstrap_servers=rig.settings.kafka.servers(), acks="all")
    producer.send(topic, value=b"", partition=number).get(20)
    producer.send(topic, value=b"\x00\x01\x02", partition=number).get(20)
    for one, lines in by_partition.items():
        mixed = list(lines)
        if one == number:
            for place, line in enumerate(bad):
                mixed.insert(3 * place + 1, line)
        sent = producer.send(topic, value=b"\n".join(mixed), partition=one).get(20)
        if one == number:
            offset = sent.offset
    producer.close()
    rig.worker()
    rig.wait_done()
    assert not rig.differences(recompute(good, RULES))
    found = rejected(rig.settings)
    assert [(one.reason, one.offset) for one in found] == [("bad_line", 1), *((reason, offset) for reason in bad.values())]
    assert {(one.stage, one.topic, one.partition) for one in found} == {("worker", topic, number)}
    assert [one.line for one in found] == [0, 1, 4, 7, 10]
    assert all(one.detail and one.payload for one in found)


def test_sigterm_ends_a_worker_within_seconds_under_load_and_nothing_is_lost(broker: LocalBroker, tmp_path: Path) -> None:
    # seconds between checkpoints: when the signal comes, frames have been read that are not yet safe
    with rig_on(broker.bootstrap, tmp_path, f"w{uuid.uuid4().hex[:10]}", "checkpoint_ms = 3000") as rig:
        worker = rig.worker().wait_ready()
        feed = rig.feed(6)
        feed.until(0.5)
        assert worker.stop() < 30
        assert lag(rig.settings) > 0
        idle = rig.worker()
        feed.join()
        rig.wait_done()
        rig.assert_exact()
        assert idle.stop() < 30


def test_a_port_that_is_taken_is_one_line_and_no_traceback(rig: Rig) -> None:
    first = rig.worker().wait_ready()
    second = rig.worker(port=first.port)
    assert second.process.wait(150) == 1
    assert second.said.strip().splitlines()[-1].startswith(f"footfall: worker.port {first.port} on 127.0.0.1 cannot be used")
    assert "Traceback" not in second.said
    assert first.process.poll() is None


def test_a_changed_time_zone_is_one_line_that_says_what_to_do(rig: Rig) -> None:
    producer = KafkaProducer(bootstrap_servers=rig.settings.kafka.servers(), acks="all")
    for number, frame in frames()[:20]:
        producer.send(topic_names(rig.settings).events, value=frame, partition=number)
    producer.close()
    first = rig.worker()
    rig.wait_done()
    first.stop()
    second = rig.worker(plan=PLAN.replace("America/New_York", "Europe/Berlin"))
    assert second.process.wait(150) == 2
    assert "zone of pioneer was America/New_York" in second.said
    assert "project.layout" in second.said
    assert "Traceback" not in second.said

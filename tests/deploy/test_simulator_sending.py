"""The simulator sends: to a collector that fails as it is told, and straight into a real Kafka."""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from click.testing import CliRunner
from kafka import KafkaConsumer, TopicPartition

from deploy.entry import Source
from deploy.kafka.topics import create_topics
from deploy.simulator import truth
from deploy.simulator.journal import Sent, read_journals
from deploy.simulator.main import command, simulate
from deploy.simulator.options import Options
from deploy.simulator.senders import now_ms
from ingest.contract.errors import ConfigError, UnavailableError, WriteError
from ingest.contract.event import check_line
from ingest.contract.partition import partition_of
from ingest.contract.settings import Settings, kafka_options, read_settings
from ingest.contract.topics import topic_names

DEMO = Path(__file__).parent.parent.parent / "deploy" / "demo.toml"
PLAN = read_settings(DEMO.read_text(), {})
ZONE = ZoneInfo("Asia/Shanghai")


# --- the journal and the truth ------------------------------------------------------------------------------------------------


def entry(time: int, received: int = 0, **fields: Any) -> Sent:
    fields = {"id": str(time), "app": "harbor", "person": "u:1", "event": "pay_bill"} | fields
    return Sent(time=time, received=received, **fields)


class Door(ThreadingHTTPServer):
    """Stands in for a collector that fails as it is told: the real one cannot be made to answer 503 at will."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.refused: list[str] = []
        self.answers: Iterator[int] = iter(())
        self.body = b'{"accepted": 1}'
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        door = self.server
        assert isinstance(door, Door)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        with door.lock:
            status = next(door.answers, 200)
            events = [(self.headers["Authorization"], event) for event in json.loads(body)]
            if status == 200:
                door.taken += events
            else:
                door.refused += [event["id"] for _, event in events]
        self.send_response(status)
        self.send_header("Content-Length", str(len(door.body)))
        self.end_headers()
        self.wfile.write(door.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def door() -> Iterator[Door]:
    found = Door()
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def options(door: Door, **changes: Any) -> Options:
    base: dict[str, Any] = {"persons": 300, "days": 3, "batch": 50, "url": f"http://127.0.0.1:{door.server_port}"}
    return Options(**base | changes)


@pytest.mark.parametrize("compress", [False, True])
def test_what_the_journal_says_was_acknowledged_is_what_arrived(door: Door, tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "journal.gz"
    summary = simulate(PLAN, options(door, gzip=compress, duplicates=0.1), path)
    journaled = Counter((one.id, one.person) for batch in read_journals([path]) if batch.acked for one in batch.events)
    arrived = Counter(
        (event["id"], f"u:{event['user_id']}" if "user_id" in event else f"a:{event['anonymous_id']}") for _, event in door.taken
    )
    assert arrived == journaled
    assert summary.acked == summary.sent == sum(arrived.values()) > 500
    assert {key for key, _ in door.taken} == {f"Bearer {app.write_keys[0]}" for app in PLAN.apps}


def test_a_limit_of_events_is_exact_and_spread_over_all_days(door: Door) -> None:
    simulate(PLAN, options(door, days=10, persons=600, events=900, duplicates=0.0))
    assert len(door.taken) == 900
    assert len({truth.local(event["time"], ZONE).date() for _, event in door.taken}) >= 9


def test_a_503_is_tried_again_with_the_same_ids_until_it_is_taken(door: Door) -> None:
    door.answers = iter([503, 503, 200, 503])
    summary = simulate(PLAN, options(door, events=300))
    assert summary.retries == 3
    assert summary.acked == 300 == len(door.taken)
    assert set(door.refused) <= {event["id"] for _, event in door.taken}


def test_a_refused_write_key_ends_the_run_at_once(door: Door) -> None:
    door.answers = iter([401] * 1000)
    door.body = b'{"error": "unknown write key"}'
    with pytest.raises(ConfigError, match=r"401.*unknown write key"):
        simulate(PLAN, options(door))


def test_events_that_are_set_aside_end_the_run_because_the_truth_would_be_wrong(door: Door) -> None:
    door.body = b'{"accepted": 49, "rejected": 1}'
    with pytest.raises(WriteError, match="set aside 1"):
        simulate(PLAN, options(door))


def test_without_a_collector_the_run_ends_and_says_what_to_start(tmp_path: Path, door: Door) -> None:
    settings = msgspec.structs.replace(PLAN, collector=msgspec.structs.replace(PLAN.collector, port=1))
    with pytest.raises(UnavailableError, match="footfall up"):
        simulate(settings, Options(days=1, persons=50, patience_s=0.2))


def test_live_traffic_stops_when_told_and_all_it_sent_is_acknowledged(door: Door, tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(1.5, stop.set).start()
    summary = simulate(PLAN, options(door, live=True, days=0, rate=2000, floor=1.0), tmp_path / "journal.gz", stop=stop)
    assert summary.acked == len(door.taken)
    batches = list(read_journals([tmp_path / "journal.gz"]))
    assert sum(len(batch.events) for batch in batches if batch.acked) == summary.acked > 100


def test_live_traffic_comes_at_once_and_past_days_beside_it(door: Door) -> None:
    began = now_ms()
    simulate(PLAN, options(door, live=True, days=2, persons=2000, rate=500, floor=1.0, seconds=2.5, duplicates=0.0))
    times = [event["time"] for _, event in door.taken]
    first_live = next(index for index, time in enumerate(times) if time >= began)
    assert first_live < len(times) / 2
    assert len({truth.local(time, ZONE).date() for time in times}) == 3
    assert sum(time < began for time in times) > 3000


def test_a_plan_without_apps_is_refused() -> None:
    with pytest.raises(ConfigError, match="no apps"):
        simulate(Settings(), Options(days=1))


# --- straight into Kafka ------------------------------------------------------------------------------------------------------


@pytest.mark.broker
def test_frames_lie_in_the_partition_of_their_persons_and_hold_what_the_journal_says(settings: Settings, tmp_path: Path) -> None:
    create_topics(settings)
    path = tmp_path / "journal.gz"
    summary = simulate(settings, Options(via="kafka", days=3, persons=600, events=3000, duplicates=0.05, late=0.05), path)
    topic = topic_names(settings).events
    consumer = KafkaConsumer(**kafka_options(settings.kafka), group_id=None, auto_offset_reset="earliest")
    try:
        parts = [TopicPartition(topic, one) for one in range(settings.kafka.partitions)]
        consumer.assign(parts)
        ends = consumer.end_offsets(parts)
        found: Counter[tuple[str, int]] = Counter()
        while any(consumer.position(one) < ends[one] for one in parts):
            for part, records in consumer.poll(timeout_ms=200).items():
                for record in records:
                    for event in map(check_line, record.value.split(b"\n")):
                        assert partition_of(event.person, settings.kafka.partitions) == part.partition
                        assert event.received > event.time
                        found[event.id, event.received] += 1
    finally:
        consumer.close()
    journaled = Counter((one.id, one.received) for batch in read_journals([path]) if batch.acked for one in batch.events)
    assert found == journaled
    assert sum(found.values()) == summary.acked == 3000


def test_without_a_broker_the_run_ends_and_says_so(demo_settings: Settings) -> None:
    with pytest.raises(ConfigError, match="bootstrap_servers"):
        simulate(demo_settings, Options(via="kafka", days=1, patience_s=1))
    kafka = msgspec.structs.replace(demo_settings.kafka, bootstrap_servers="127.0.0.1:1")
    with pytest.raises(UnavailableError, match="no Kafka broker"):
        simulate(msgspec.structs.replace(demo_settings, kafka=kafka), Options(via="kafka", days=1, patience_s=1))


# --- the command --------------------------------------------------------------------------------------------------------------


def test_the_command_writes_a_truth_that_a_later_call_works_out_again_from_what_was_sent(door: Door, tmp_path: Path) -> None:
    plan, out = tmp_path / "footfall.toml", tmp_path / "truth.jsonl"
    plan.write_text(DEMO.read_text())
    base = ["--days", "2", "--persons", "200", "--truth", str(out), "--url", f"http://127.0.0.1:{door.server_port}"]
    first = CliRunner().invoke(command, base, obj=Source(plan, True))
    assert first.exit_code == 0, first.output
    assert "events acknowledged" in first.output
    numbers, taken = out.read_text().splitlines(), len(door.taken)
    out.unlink()
    again = CliRunner().invoke(command, [*base, "--recount"], obj=Source(plan, True))
    assert again.exit_code == 0, again.output
    assert out.read_text().splitlines()[1:] == numbers[1:] != []
    assert len(door.taken) == taken


@pytest.mark.parametrize("arguments", [[], ["--recount"], ["--via", "pigeon"]])
def test_a_command_that_asks_for_nothing_sensible_is_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(command, arguments, obj=Source(DEMO, True)).exit_code == 2

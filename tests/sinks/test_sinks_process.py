"""The sinks' process on a real broker and a real engine: exactly once through kills, bad rows, and whatever is in the way."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaAdminClient, KafkaProducer

from deploy.kafka.topics import create_topics
from ingest.contract.rejected import Rejected
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from sinks.clickhouse.store import open_store
from streams.contract.total import Total, Window, encode_total, record_key
from tests.ports import free_port
from tests.sinks.conftest import over_http, writable_front
from tests.sinks.process import NOON, ROOT, SinksProcess, event, number, produce, produce_events, rows, until

pytestmark = [pytest.mark.broker, pytest.mark.clickhouse, pytest.mark.slow]

SIGKILLED = -9


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Settings with the topics made and small batches."""
    create_topics(settings)
    return msgspec.structs.replace(settings, sinks=msgspec.structs.replace(settings.sinks, batch_ms=100, batch_events=500))


@pytest.fixture(params=["embedded", "http"])
def either(request: pytest.FixtureRequest, quick: Settings) -> Iterator[Settings]:
    """The same with the engine embedded in the sinks' process, and over HTTP (tests.sinks.conftest says what is there)."""
    if request.param == "embedded":
        yield quick
    else:
        with over_http(quick) as served:
            yield served


def stored(settings: Settings) -> tuple[int, int]:
    """(raw rows, distinct events)."""
    ((raw, distinct),) = rows(settings, "SELECT count(), uniqExact(id) FROM events")
    return raw, distinct


def test_killed_between_insert_and_commit_no_row_comes_twice_and_none_is_missing(either: Settings) -> None:
    produce_events(either, range(2000))
    with SinksProcess(either, failpoint="after_insert:events") as sinks:
        assert sinks.wait() == SIGKILLED
    first = stored(either)
    assert 0 < first[0] <= 2000
    assert first[0] == first[1]
    with SinksProcess(either, failpoint="after_insert:events") as sinks:  # and again, in the middle
        assert sinks.wait() == SIGKILLED
    produce_events(either, range(2000, 2500))
    with SinksProcess(either) as sinks:
        sinks.until_ready()
        until(lambda: number(either, "SELECT count() FROM events") >= 2500, sinks)
        assert sinks.stop() == 0
    assert stored(either) == (2500, 2500)


def test_killed_at_any_moment_again_and_again(quick: Settings) -> None:
    produce_events(quick, range(6000))
    for kill in range(4):
        produce_events(quick, range(6000 + kill * 1000, 7000 + kill * 1000))
        with SinksProcess(quick) as sinks:
            until(lambda: sinks.get("/health/ready")[0] == 200, sinks)
            time.sleep(0.05 + 0.13 * kill)
            sinks.kill()
    with SinksProcess(quick) as sinks:
        sinks.until_ready()
        until(lambda: number(quick, "SELECT uniqExact(id) FROM events") >= 10_000, sinks)
        sinks.stop()
    assert stored(quick) == (10_000, 10_000)


def test_what_an_sdk_sends_twice_is_one_event_with_final(either: Settings) -> None:
    topic = topic_names(either).events
    later = event(2, time=NOON + 99)  # sent again with the clock corrected in another way: the stream saw both times
    produce(either, topic, [event(1), event(2)])
    with SinksProcess(either) as sinks:
        until(lambda: _count(either) == 2, sinks)
        produce(either, topic, [event(1), later])
        until(lambda: _count(either) == 4, sinks)
        assert number(either, "SELECT count() FROM events FINAL") == 3
        assert number(either, "SELECT uniqExact(id) FROM events") == 2


def test_a_row_that_clickhouse_refuses_is_put_aside_and_all_others_land(either: Settings) -> None:
    topic = topic_names(either).events
    refused = event(500).replace(b'"n": 500', b'"n": 1e999')  # good JSON for the stream, no number for ClickHouse
    frame = b"\n".join([event(0), b"not an event", *[event(one) for one in range(1, 100)], refused, event(501)])
    produce(either, topic, [frame, event(502)])
    with SinksProcess(either) as sinks:
        until(lambda: _count(either) == 102, sinks)
        until(lambda: number(either, "SELECT count() FROM rejected") == 1, sinks)
        ((stage, reason, source, partition, offset, line, payload),) = rows(
            either, "SELECT stage, reason, topic, partition, offset, line, payload FROM rejected"
        )
        assert (stage, reason, source, partition, offset, line) == ("sink", "clickhouse_refused", topic, 0, 0, 101)
        assert payload.encode() == refused
        gauges = sinks.gauges()
        assert gauges['footfall_sink_rows_refused_total{table="events"}'] == 1
        assert gauges['footfall_sink_lines_skipped_total{table="events"}'] == 1
        assert gauges['footfall_events_total{app="harbor"}'] == 103
        assert sinks.stop() == 0


def test_a_batch_of_nothing_but_rows_that_clickhouse_refuses_is_put_aside_at_once(either: Settings) -> None:
    topic = topic_names(either).events
    bad = [event(one).replace(b'"n": %d' % one, b'"n": 1e999') for one in range(5000)]
    produce(either, topic, [b"\n".join(bad[at : at + 500]) for at in range(0, 5000, 500)])
    with SinksProcess(either) as sinks:
        sinks.until_ready()
        until(lambda: number(either, "SELECT count() FROM rejected") == 5000, sinks)
        assert number(either, "SELECT uniqExact(offset, line) FROM rejected WHERE detail LIKE '%out of range%$.props%'") == 5000
        assert sum(value for name, value in sinks.gauges().items() if name.startswith("footfall_sink_inserts_failed")) < 50
        produce(either, topic, [event(6000)])
        until(lambda: _count(either) == 1, sinks)
        assert sinks.stop() == 0


def test_events_of_two_months_of_receipt_in_one_frame_all_land(either: Settings) -> None:
    months = [event(one, received=NOON + one * 10 * 86_400_000) for one in range(12)]
    produce(either, topic_names(either).events, [b"\n".join(months)])
    with SinksProcess(either, failpoint="after_insert:events") as sinks:
        assert sinks.wait() == SIGKILLED
    with SinksProcess(either) as sinks:
        sinks.until_ready()
        assert stored(either) == (12, 12)
        assert sinks.get("/health/live") == (200, "live\n")


def test_rejected_lines_are_stored_once_though_a_worker_rejects_them_again(either: Settings) -> None:
    def rejected(at: int, offset: int, stage: str = "worker") -> bytes:
        return msgspec.json.encode(
            Rejected(
                at=at, stage=stage, reason="bad_line", detail="d", topic="t", partition=0, offset=offset, line=1, payload="x"
            )
        )

    request = msgspec.json.encode(Rejected(at=NOON, stage="collector", reason="unknown_key", detail="d"))
    produce(either, topic_names(either).rejected, [rejected(NOON, 5), rejected(NOON + 9, 5), rejected(NOON, 6), request, request])
    with SinksProcess(either) as sinks:
        until(lambda: _count(either, "rejected FINAL") == 4, sinks)
        assert sinks.stop() == 0
    assert number(either, "SELECT count() FROM rejected FINAL") == 4


def total(value: int, partition: int, at: int, *, window: Window = "day", day: str, start: int, facet: str = "") -> Total:
    return Total(
        metric="active_users",
        app="harbor",
        facet=facet,
        window=window,
        start=start,
        day=day,
        hour=-1,
        layout="1",
        partition=partition,
        value=value,
        at=at,
    )


def test_totals_become_gauges_and_views_and_a_restart_shows_nothing_but_the_whole(either: Settings) -> None:
    now = int(time.time() * 1000)
    day = time.strftime("%Y-%m-%d", time.gmtime(now / 1000 + 8 * 3600))
    start = (now + 8 * 3_600_000) // 86_400_000 * 86_400_000 - 8 * 3_600_000
    topic = topic_names(either).metrics
    for partition in range(4):
        values = [encode_total(total(value, partition, now, day=day, start=start)) for value in (1, 5, 10 + partition)]
        produce(either, topic, values, partition, key=b"day")
    taken_back = KafkaProducer(bootstrap_servers=either.kafka.bootstrap_servers, transactional_id=topic, acks="all")
    taken_back.init_transactions()
    for value, outcome in ((10, taken_back.commit_transaction), (999, taken_back.abort_transaction)):
        taken_back.begin_transaction()
        taken_back.send(topic, encode_total(total(value, 0, now, day=day, start=start)), key=b"day", partition=0).get(timeout=30)
        outcome()
    taken_back.close()
    sample = 'footfall_active_users{app="harbor",facet="",window="day"}'
    for _ in range(2):
        with SinksProcess(either) as sinks:
            seen = set()
            while sinks.get("/health/ready")[0] != 200:
                seen.add(sinks.gauges().get(sample) if sinks.get("/metrics")[0] else None)
                assert sinks.process.poll() is None, sinks.words()
                time.sleep(0.02)
            assert seen <= {None, 46.0}  # never half of it, and never the 999 that was taken back
            assert sinks.gauges()[sample] == 46
            until(lambda: rows(either, "SELECT dau FROM dau WHERE app = 'harbor' AND facet = ''") == [(46,)], sinks)
            assert sinks.gauges()["footfall_exporter_caught_up"] == 1
            until(lambda: sinks.gauges().get(f'footfall_sink_lag_records{{topic="{topic}"}}') == 0, sinks)
            assert sinks.stop() == 0


def test_a_database_that_was_emptied_is_filled_again_whatever_was_committed(either: Settings) -> None:
    produce_events(either, range(300))
    with SinksProcess(either) as sinks:
        until(lambda: _count(either) == 300, sinks)
        assert sinks.stop() == 0
    store = open_store(either)
    client = store.client()
    client.command("TRUNCATE TABLE events")
    client.close()
    store.close()
    with SinksProcess(either) as sinks:
        until(lambda: _count(either) == 300, sinks)


def test_a_topic_that_was_created_anew_is_an_error_and_not_a_silence(quick: Settings) -> None:
    produce_events(quick, range(100))
    with SinksProcess(quick) as sinks:
        until(lambda: _count(quick) == 100, sinks)
        sinks.stop()
    names = topic_names(quick)
    admin = KafkaAdminClient(bootstrap_servers=quick.kafka.bootstrap_servers)
    admin.delete_topics([names.events])
    admin.close()
    time.sleep(1.0)
    create_topics(quick)
    produce_events(quick, range(500, 900))
    with SinksProcess(quick) as sinks:
        assert sinks.wait() == 1
        assert f"footfall: the topic {names.events} is not the one that ClickHouse has" in sinks.words()


def test_the_same_sinks_on_a_clickhouse_over_http_that_goes_away_for_a_while(quick: Settings) -> None:
    store = open_store(quick)  # the engine is this process's, as a server would be another
    front = writable_front(store)
    port = front.port
    url = msgspec.structs.replace(quick.clickhouse, url=f"http://127.0.0.1:{port}", user="writer", password="w")
    served = msgspec.structs.replace(quick, clickhouse=url)
    client = store.client()
    try:
        produce_events(served, range(1000))
        with SinksProcess(served) as sinks:
            sinks.until_ready()
            until(lambda: client.command("SELECT count() FROM events") == 1000, sinks)
            front.shutdown()
            front.server_close()
            produce_events(served, range(1000, 1500))
            until(lambda: "waits" in sinks.get("/health/ready")[1], sinks)
            lag = f'footfall_sink_lag_records{{topic="{topic_names(served).events}"}}'
            until(lambda: sinks.gauges()[lag] >= 50, sinks)
            assert sinks.gauges()["footfall_exporter_caught_up"] == 1  # gauges do not pass through ClickHouse
            front = writable_front(store, port)
            until(lambda: client.command("SELECT count() FROM events") == 1500, sinks)
            until(lambda: sinks.get("/health/ready")[0] == 200, sinks)
            assert sinks.gauges()['footfall_sink_inserts_failed_total{kind="retry",table="events"}'] >= 1
            assert sinks.stop() == 0
        assert client.query("SELECT count(), uniqExact(id) FROM events").result_rows == [(1500, 1500)]
    finally:
        front.shutdown()
        front.server_close()
        client.close()
        store.close()


def test_two_sinks_share_a_server_and_one_is_killed(quick: Settings, tmp_path: Path) -> None:
    store = open_store(quick)
    front = writable_front(store)
    url = msgspec.structs.replace(quick.clickhouse, url=f"http://127.0.0.1:{front.port}", user="writer", password="w")
    first = msgspec.structs.replace(quick, clickhouse=url)
    ports = msgspec.structs.replace(quick.sinks, port=free_port())
    second = msgspec.structs.replace(first, sinks=ports, data_dir=str(tmp_path / "second" / "var"))
    (tmp_path / "second").mkdir()
    client = store.client()
    try:
        with SinksProcess(first) as one:
            one.until_ready()
            produce_events(first, range(2000))
            with SinksProcess(second) as two:
                produce_events(first, range(2000, 4000))
                two.until_ready()
                produce_events(first, range(4000, 6000))
                until(lambda: client.command("SELECT uniqExact(id) FROM events") == 6000, two)
                one.kill()
                produce_events(first, range(6000, 7000))
                until(lambda: client.command("SELECT uniqExact(id) FROM events") == 7000, two)
                assert two.stop() == 0
        # A batch that was under way while its partition changed hands may have been inserted by both.
        assert client.query("SELECT count(), uniqExact(id) FROM events FINAL").result_rows == [(7000, 7000)]
    finally:
        front.shutdown()
        front.server_close()
        client.close()
        store.close()


@pytest.mark.parametrize("taken", ["port", "clickhouse_port"])
def test_a_port_in_use_is_one_line_that_says_which_setting(quick: Settings, taken: str) -> None:
    with socket.create_server(("127.0.0.1", getattr(quick.sinks, taken))), SinksProcess(quick) as sinks:
        assert sinks.wait() == 1
        assert one_line(sinks).endswith(f"set sinks.{taken}")


def test_gauges_are_there_while_a_clickhouse_server_is_away_at_the_start(quick: Settings) -> None:
    store = open_store(quick)
    front = writable_front(store)
    port = front.port
    front.shutdown()
    front.server_close()
    url = msgspec.structs.replace(quick.clickhouse, url=f"http://127.0.0.1:{port}", user="writer", password="w")
    served = msgspec.structs.replace(quick, clickhouse=url)
    produce_events(served, range(100))
    began = time.time()
    client = store.client()
    try:
        with SinksProcess(served) as sinks:
            until(lambda: "footfall_exporter_caught_up 1" in sinks.get("/metrics")[1], sinks)
            until(lambda: "clickhouse waits: no ClickHouse answers" in sinks.get("/health/ready")[1], sinks)
            # the series that the alert looks at is there, and grows old
            since = sinks.gauges()['footfall_sink_last_insert_timestamp_seconds{table="events"}']
            assert began - 1 <= since <= time.time()
            front = writable_front(store, port)
            until(lambda: sinks.get("/health/ready")[0] == 200, sinks)
            until(lambda: client.command("SELECT count() FROM events") == 100, sinks)
            assert sinks.gauges()['footfall_sink_last_insert_timestamp_seconds{table="events"}'] > since
            assert sinks.stop() == 0
        front.shutdown()
        front.server_close()
        with SinksProcess(served) as sinks:  # it can be stopped while it waits
            until(lambda: "no ClickHouse answers" in sinks.get("/health/ready")[1], sinks)
            assert sinks.stop() == 0
    finally:
        client.close()
        store.close()


def test_a_store_in_use_and_a_kafka_that_is_away_are_one_line(quick: Settings) -> None:
    store = open_store(quick)
    with SinksProcess(quick) as sinks:
        assert sinks.wait() == 1
        assert "is in use by another process" in one_line(sinks)
    store.close()
    gone = msgspec.structs.replace(quick.kafka, bootstrap_servers="127.0.0.1:1")
    with SinksProcess(msgspec.structs.replace(quick, kafka=gone)) as sinks:
        assert sinks.wait(60) == 1
        assert "no Kafka broker answers at 127.0.0.1:1" in one_line(sinks)


def test_a_missing_topic_and_a_wrong_partition_count_are_one_line(settings: Settings) -> None:
    with SinksProcess(settings) as sinks:
        assert sinks.wait() == 1
        assert "create the topics with `footfall topics`" in one_line(sinks)
    create_topics(settings)
    more = msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, partitions=5))
    with SinksProcess(more) as sinks:
        assert sinks.wait() == 1
        assert "has 4 partitions, the settings say 5" in one_line(sinks)


def test_a_table_that_is_gone_ends_the_process_rather_than_pass_rows_over(quick: Settings) -> None:
    store = open_store(quick)
    front = writable_front(store)
    url = msgspec.structs.replace(quick.clickhouse, url=f"http://127.0.0.1:{front.port}", user="writer", password="w")
    served = msgspec.structs.replace(quick, clickhouse=url)
    client = store.client()
    try:
        with SinksProcess(served) as sinks:
            sinks.until_ready()
            client.command("DROP TABLE events")
            produce_events(served, range(100))
            assert sinks.wait() == 1
            assert "ClickHouse refuses inserts into events" in one_line(sinks)
    finally:
        front.shutdown()
        front.server_close()
        client.close()
        store.close()


def test_what_nobody_foresaw_in_any_part_ends_the_process_with_70() -> None:
    code = """
import threading
from sinks.main import _Parts
stop = threading.Event()
parts = _Parts(stop)
parts.start("steady", stop.wait)
parts.start("broken", lambda: 1 // 0)
stop.wait()
parts.raise_failure()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, cwd=ROOT, check=False)
    assert ended.returncode == 70
    assert b"ZeroDivisionError" in ended.stderr


def one_line(sinks: SinksProcess) -> str:
    lines = [line for line in sinks.words().splitlines() if line.startswith("footfall: ")]
    assert len(lines) == 1, sinks.words()
    assert "Traceback" not in sinks.words()
    return lines[0]


def _count(settings: Settings, table: str = "events") -> int:
    """Rows, -1 while nobody can say."""
    try:
        return number(settings, f"SELECT count() FROM {table}")
    except Exception:
        return -1


def test_the_key_of_a_total_is_what_the_table_is_sorted_by() -> None:
    assert record_key(total(1, 0, 0, day="2026-11-21", start=5)) == b"active_users|harbor||day|5|1"

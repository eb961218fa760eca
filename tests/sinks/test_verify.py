"""The SQL of `verify` against the simulator's plain truth, on random events in the real engine; and what the report says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition

from deploy.kafka.topics import create_topics
from deploy.simulator import truth
from deploy.simulator.main import truth_numbers
from ingest.contract.errors import ConfigError, LayoutError, UnavailableError
from ingest.contract.event import Event
from ingest.contract.plan import App, Plan
from ingest.contract.settings import Settings, kafka_options
from ingest.contract.topics import topic_names
from sinks.verify.drained import wait_until_drained
from sinks.verify.main import sql_numbers, stream_numbers, verify_tables
from sinks.verify.report import Bounds, Report, closed_only, compare, render
from sinks.verify.source import Source
from sinks.verify.truth_file import begun, read_truth
from streams.contract.total import TotalKey
from tests.sinks.verify_events import DAY, EDGES, HOUR, MINUTE, at, chains, event_lists, lifetimes, make_settings, merges
from tests.sinks.verify_rig import MIDNIGHT, SETTINGS, activity, both, engine, insert, put_all, put_merges, put_totals, total
from tests.whole.pipeline import compared_three_ways


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with engine(tmp_path_factory.mktemp("verify")) as one:
        yield one


@pytest.mark.clickhouse
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    rows=st.one_of(event_lists(), lifetimes(), chains()),
    project=st.sampled_from(["Asia/Shanghai", "America/New_York"]),
    days_later=st.integers(0, 40),
    merged=st.one_of(st.just({}), merges()),
)
@example(rows=[], project="UTC", days_later=0, merged={})
def test_sql_and_plain_recomputation_agree_on_any_events(
    client: Any, rows: list[Event], project: str, days_later: int, merged: dict[str, str]
) -> None:
    plan = make_settings(zone=project)
    if rows:
        insert(client, [*rows, *rows[::2]])
    else:
        client.command("TRUNCATE TABLE events")
    put_merges(client, merged)
    now = max((row.time for row in rows), default=EDGES[0]) + days_later * DAY
    expected = truth.numbers(plan, rows, now, merged)
    found = {key: value for key, value in sql_numbers(client, plan, "verified", now).items() if value}
    assert found == expected


def value(numbers: dict[TotalKey, int], metric: str, window: Any, start: int, app: str = "home", facet: str = "") -> int:
    return numbers.get(TotalKey(metric, app, facet, window, start), 0)


@pytest.mark.clickhouse
def test_an_event_late_by_exactly_the_hours_of_the_horizon_counts_and_one_millisecond_more_does_not(client: Any) -> None:
    time = MIDNIGHT + 90 * MINUTE
    found = both(client, [activity(time, time + 48 * HOUR), activity(time + 1, time + 48 * HOUR + 2, person="u:2")])
    assert value(found, "active_users", "hour", MIDNIGHT + HOUR) == 1
    assert value(found, "active_users", "day", MIDNIGHT) == 2
    assert value(found, "sessions", "day", MIDNIGHT) == 1


@pytest.mark.clickhouse
def test_a_copy_that_is_received_too_late_takes_nothing_away_from_the_first(client: Any) -> None:
    time = MIDNIGHT + 90 * MINUTE
    found = both(client, [activity(time), activity(time, time + 48 * HOUR + 1), activity(time, time + 6 * DAY)])
    assert value(found, "active_users", "hour", MIDNIGHT + HOUR) == 1
    assert value(found, "active_users", "day", MIDNIGHT) == 1


@pytest.mark.clickhouse
def test_days_late_are_local_dates_not_spans_of_24_hours(client: Any) -> None:
    last_of_day, first_of_day = MIDNIGHT + DAY - 1, MIDNIGHT
    received = MIDNIGHT + 5 * DAY - 1
    found = both(client, [activity(first_of_day, received), activity(last_of_day, received + 1, person="u:2")])
    assert value(found, "active_users", "day", MIDNIGHT) == 1


@pytest.mark.clickhouse
def test_a_session_across_midnight_starts_on_the_first_day_and_its_time_lies_on_both(client: Any) -> None:
    found = both(client, [activity(MIDNIGHT - 10 * MINUTE), activity(MIDNIGHT + 20 * MINUTE)])
    assert value(found, "sessions", "day", MIDNIGHT - DAY) == 1
    assert value(found, "sessions", "day", MIDNIGHT) == 0
    assert value(found, "usage_ms", "day", MIDNIGHT - DAY) == 10 * MINUTE
    assert value(found, "usage_ms", "day", MIDNIGHT) == 20 * MINUTE


@pytest.mark.clickhouse
def test_a_gap_of_exactly_half_an_hour_is_filled_and_one_millisecond_more_ends_the_session(client: Any) -> None:
    noon = MIDNIGHT + 12 * HOUR
    found = both(client, [activity(noon), activity(noon + 30 * MINUTE), activity(noon + 60 * MINUTE + 1)])
    assert value(found, "sessions", "day", MIDNIGHT) == 2
    assert value(found, "usage_ms", "day", MIDNIGHT) == 30 * MINUTE


@pytest.mark.clickhouse
def test_a_long_span_covers_short_ones_inside_it(client: Any) -> None:
    noon = MIDNIGHT + 12 * HOUR
    rows = [activity(noon + 3 * HOUR, duration=3 * HOUR), activity(noon + MINUTE), activity(noon + 3 * HOUR + 29 * MINUTE)]
    found = both(client, rows)
    assert value(found, "sessions", "day", MIDNIGHT) == 1
    assert value(found, "usage_ms", "day", MIDNIGHT) == 3 * HOUR + 29 * MINUTE


@pytest.mark.clickhouse
def test_launches_of_a_person_and_day_are_counted_up_to_a_thousand(client: Any) -> None:
    rows = [activity(MIDNIGHT + one, event="app_launch") for one in range(1003)]
    rows += [activity(MIDNIGHT, event="app_launch", person="u:2")] * 2
    assert value(both(client, rows), "launches", "day", MIDNIGHT) == 1001


@pytest.mark.clickhouse
def test_trailing_windows_go_on_without_activity_until_today_and_no_further(client: Any) -> None:
    found = both(client, [activity(MIDNIGHT)], now=MIDNIGHT + 8 * DAY + 1)
    ends = sorted(
        (key.start - MIDNIGHT) // DAY + 6 for key in found if key.window == "7d" and key.app == "home" and key.facet == ""
    )
    assert ends == list(range(7))
    ends = sorted(
        (key.start - MIDNIGHT) // DAY + 29 for key in found if key.window == "30d" and key.app == "home" and key.facet == ""
    )
    assert ends == list(range(9))


@pytest.mark.clickhouse
def test_a_person_in_two_apps_counts_once_in_their_group(client: Any) -> None:
    found = both(client, [activity(MIDNIGHT, app="york"), activity(MIDNIGHT, app="delhi")])
    assert value(found, "active_users", "month", at("2026-05-01T00:00", "Asia/Shanghai"), app="both") == 1


def chain(*names: str, **fields: Any) -> list[Event]:
    """Events of a person in the app `chile`, whose funnel is three times "look", a second apart."""
    return [activity(MIDNIGHT + 1000 * index, app="chile", event=name, **fields) for index, name in enumerate(names)]


CHILE_DAY = at("2026-05-13T00:00", "America/Santiago")


@pytest.mark.clickhouse
def test_events_of_one_instant_have_the_order_of_their_ids_checksums(client: Any) -> None:
    rows = [activity(MIDNIGHT, app="chile", id=str(index), event="look") for index in range(3)]
    found = both(client, [*rows, *rows])
    assert value(found, "funnel_users", "day", CHILE_DAY, "chile", "same:3") == 1
    assert value(found, "funnel_conversions", "day", CHILE_DAY, "chile", "same:0") == 1


@pytest.mark.clickhouse
def test_ten_thousand_events_of_a_funnel_are_the_500_earliest_of_the_day(client: Any) -> None:
    rows = [activity(MIDNIGHT + index, app="chile", event="look", platform="ios") for index in range(498)]
    rows += [activity(MIDNIGHT + 1000 + index, app="chile", event="look", platform="web") for index in range(9_500)]
    found = both(client, rows)
    assert value(found, "funnel_users", "day", CHILE_DAY, "chile", "same:3:platform:ios") == 1
    assert value(found, "funnel_users", "day", CHILE_DAY, "chile", "same:2:platform:other") == 1
    assert value(found, "funnel_users", "day", CHILE_DAY, "chile", "same:3:platform:other") == 0


@pytest.mark.clickhouse
def test_a_chain_goes_on_when_its_ids_turn_out_to_be_one_person(client: Any) -> None:
    rows = [*chain("look", person="a:1"), *chain("pay", "look", person="a:2"), *chain("pay", "pay", "look")]
    insert(client, rows)
    before = sql_numbers(client, SETTINGS, "verified", MIDNIGHT + DAY)
    assert value(before, "funnel_users", "day", CHILE_DAY, "chile", "same:2") == 0
    assert value(before, "active_users", "day", CHILE_DAY, "chile") == 3
    put_merges(client, {"a:2": "a:1", "a:1": "u:1"})
    after = sql_numbers(client, SETTINGS, "verified", MIDNIGHT + DAY)
    assert value(after, "funnel_users", "day", CHILE_DAY, "chile", "same:3") == 1
    assert value(after, "active_users", "day", CHILE_DAY, "chile") == 1
    assert sql_numbers(client, SETTINGS, "verified", MIDNIGHT + DAY, merged=False) == before


@pytest.mark.clickhouse
def test_large_tables_are_worked_through_in_parts_that_add_up(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [one for person in range(30) for one in chain("look", "pay", "look", "look", person=f"u:{person}")]
    whole = both(client, rows)
    monkeypatch.setattr("sinks.verify.main.EVENTS_AT_ONCE", 40)
    assert both(client, rows) == whole


@pytest.mark.clickhouse
def test_equal_numbers_are_no_difference_and_one_wrong_number_is_named(client: Any) -> None:
    rows = [activity(MIDNIGHT), activity(MIDNIGHT + MINUTE, event="app_launch", platform="ios")]
    numbers = both(client, rows)
    put_all(client, numbers)
    report = verify_tables(client, SETTINGS, None, "", MIDNIGHT + 2 * DAY)
    assert report.ok
    assert report.events == 2
    assert sum(report.compared.values()) == len(numbers)
    key = TotalKey("active_users", "home", "platform:ios", "day", MIDNIGHT)
    put_totals(client, [total(key, 7, version=2)])
    report = verify_tables(client, SETTINGS, None, "", MIDNIGHT + 2 * DAY)
    assert not report.ok
    assert [(one.key, one.stream, one.sql) for one in report.differences] == [(key, 7, 1)]
    assert "platform:ios" in str(report)
    assert "1 of" in str(report)


@pytest.mark.clickhouse
def test_a_window_that_had_closed_before_a_login_may_have_the_number_of_both_ids(client: Any) -> None:
    rows = [activity(MIDNIGHT, person="a:1"), activity(MIDNIGHT + MINUTE)]
    put_all(client, both(client, rows))
    key = TotalKey("active_users", "home", "", "hour", MIDNIGHT)
    merge = {"person": "a:1", "target": "u:1", "offset": 1, "clock": MIDNIGHT + 48 * HOUR}
    client.raw_insert("person_merges", None, json.dumps(merge).encode(), fmt="JSONEachRow")
    now = MIDNIGHT + 6 * DAY
    joined = sql_numbers(client, SETTINGS, "verified", now)
    client.command("TRUNCATE TABLE metrics")
    put_all(client, {**joined, key: 2})
    assert [one.key for one in verify_tables(client, SETTINGS, None, "", now).differences] == [key], "it was still open"
    late = {**merge, "clock": MIDNIGHT + 48 * HOUR + 1, "offset": 2}
    client.raw_insert("person_merges", None, json.dumps(late).encode(), fmt="JSONEachRow")
    report = verify_tables(client, SETTINGS, None, "", now)
    assert report.ok
    assert "1 numbers are of windows that had closed" in str(report)
    put_totals(client, [total(key, 3, version=2)])
    assert verify_tables(client, SETTINGS, None, "", now).different == 1


@pytest.mark.clickhouse
def test_a_number_that_only_one_way_has_is_a_difference(client: Any) -> None:
    both(client, [activity(MIDNIGHT)])
    report = verify_tables(client, SETTINGS, None, "", MIDNIGHT + DAY)
    assert report.different == sum(report.compared.values()) > 0
    client.command("TRUNCATE TABLE events")
    put_totals(client, [total(TotalKey("sessions", "home", "", "day", MIDNIGHT), 1)])
    assert verify_tables(client, SETTINGS, None, "", MIDNIGHT + DAY).different == 1


@pytest.mark.clickhouse
def test_totals_are_summed_over_the_partitions_of_this_layout_with_the_last_version_of_each(client: Any) -> None:
    insert(client, [activity(MIDNIGHT)])
    key = TotalKey("active_users", "home", "", "day", MIDNIGHT)
    put_totals(
        client, [total(key, 9, version=1), total(key, 3, version=5), total(key, 4, partition=1), total(key, 8, layout="v0")]
    )
    assert stream_numbers(client, "verified", "v1") == {key: 7}


@pytest.mark.clickhouse
def test_active_now_is_compared_at_the_moment_that_the_total_is_of(client: Any) -> None:
    plan = msgspec.structs.replace(SETTINGS, kafka=msgspec.structs.replace(SETTINGS.kafka, partitions=1))
    rows = [activity(MIDNIGHT), activity(MIDNIGHT + 3 * MINUTE, person="u:2")]
    put_all(client, both(client, rows))
    made = MIDNIGHT + 5 * MINUTE
    put_totals(client, [total(TotalKey("active_users", "home", "", "5m", 0), 1, made=made)])
    put_totals(client, [total(TotalKey("active_users", "home", "", "30m", 0), 2, made=made)])
    report = verify_tables(client, plan, None, "", MIDNIGHT + 2 * DAY)
    assert report.ok
    assert report.compared["active_users", "5m"] == report.compared["active_users", "30m"] == 1
    put_totals(client, [total(TotalKey("active_users", "home", "", "5m", 0), 2, made=made, version=2)])
    assert verify_tables(client, plan, None, "", MIDNIGHT + 2 * DAY).different == 1


@pytest.mark.clickhouse
def test_active_now_that_stayed_the_same_while_one_came_and_one_went_is_compared_with_the_present(client: Any) -> None:
    """At `made` an event received before was still on its way; it was read in the minute in which another one's went by."""
    plan = msgspec.structs.replace(SETTINGS, kafka=msgspec.structs.replace(SETTINGS.kafka, partitions=1))
    rows = [activity(MIDNIGHT), activity(MIDNIGHT + 4 * MINUTE + 50_000, person="u:2")]
    put_all(client, both(client, rows, MIDNIGHT + 5 * MINUTE + 10_000))
    put_totals(client, [total(TotalKey("active_users", "home", "", "5m", 0), 1, made=MIDNIGHT + 4 * MINUTE + 59_000)])
    assert verify_tables(client, plan, None, "", MIDNIGHT + 5 * MINUTE + 10_000).ok
    assert verify_tables(client, plan, None, "", MIDNIGHT + 20 * MINUTE).different == 1


@pytest.mark.clickhouse
def test_the_truth_is_the_third_way(client: Any, tmp_path: Path) -> None:
    numbers = both(client, [activity(MIDNIGHT)])
    put_all(client, numbers)
    file = tmp_path / "numbers.jsonl"
    truth_numbers(SETTINGS, [], file, now=MIDNIGHT + 2 * DAY)
    lines = [json.dumps({**key._asdict(), "low": amount, "high": amount}) for key, amount in numbers.items()]
    file.write_text("\n".join([file.read_text().strip(), *lines]))
    assert verify_tables(client, SETTINGS, file, "", MIDNIGHT + 2 * DAY).ok
    file.write_text("\n".join(file.read_text().splitlines()[:-1]))
    report = verify_tables(client, SETTINGS, file, "", MIDNIGHT + 2 * DAY)
    assert [one.truth for one in report.differences] == ["0"]


KEY = TotalKey("active_users", "home", "", "hour", MIDNIGHT)


@pytest.mark.clickhouse
def test_a_run_of_all_stages_is_not_proved_by_a_report_that_left_the_truth_out(client: Any, tmp_path: Path) -> None:
    numbers = both(client, [activity(MIDNIGHT)])
    put_all(client, numbers)
    file = tmp_path / "truth.jsonl"
    truth_numbers(SETTINGS, [], file, now=MIDNIGHT + 2 * DAY)
    report = verify_tables(client, SETTINGS, file, "events or totals keep coming in", MIDNIGHT + 2 * DAY)
    assert report.ok, str(report)
    with pytest.raises(AssertionError, match="the truth is left out"):
        compared_three_ways(str(report))
    assert compared_three_ways(str(verify_tables(client, SETTINGS, None, "", MIDNIGHT + 2 * DAY))) == len(numbers)


def test_a_truth_between_bounds_is_no_difference() -> None:
    assert compare({KEY: 3}, {KEY: 3}, {KEY: Bounds(2, 3)}) == ({("active_users", "hour"): 1}, [])
    _, differences = compare({KEY: 3}, {KEY: 3}, {KEY: Bounds(4, 5)})
    assert differences[0].truth == "4..5"


def test_absent_is_zero() -> None:
    assert compare({KEY: 0}, {}, {}) == ({}, [])
    assert len(compare({}, {KEY: 1}, None)[1]) == 1


def test_nothing_compared_is_not_ok() -> None:
    report = Report()
    assert not report.ok
    assert "nothing to compare" in render(report)


def test_with_traffic_under_way_only_windows_that_have_ended_are_compared() -> None:
    open_key = KEY._replace(start=MIDNIGHT + HOUR)
    assert closed_only([(KEY, 1), (open_key, 2)], MIDNIGHT + 2 * HOUR - 1) == {KEY: 1}


def test_a_truth_says_nothing_of_trailing_windows_that_end_after_it() -> None:
    week = KEY._replace(window="7d")
    assert begun(SETTINGS, week, MIDNIGHT + 6 * DAY)
    assert not begun(SETTINGS, week, MIDNIGHT + 6 * DAY - 1)


@pytest.mark.parametrize("lines", [[], [b'{"at": 3}'], [b"\x1f\x8b"], [b'{"footfall_truth": 1, "at": 3}', b'{"metric": "x"}']])
def test_a_file_that_holds_no_truth_is_refused_with_a_word_what_to_do(lines: list[bytes]) -> None:
    with pytest.raises(ConfigError, match="footfall simulate --truth"):
        read_truth(lines, "some file")


def test_plans_without_launch_events_or_apps_make_statements_too() -> None:
    from sinks.verify.sql import checks

    source = Source("verified")
    assert checks(Plan(), source, 0) == []
    assert len(checks(Plan(apps=[App(id="quiet", launch_events=[])]), source, int(datetime.now(UTC).timestamp() * 1000))) == 8


# --- at rest or not -----------------------------------------------------------------------------------------------------------


def commit(settings: Settings, group: str, topic: str, offset: int) -> None:
    """As a reader in that group would have left it, in all partitions."""
    consumer = KafkaConsumer(**kafka_options(settings.kafka), group_id=group, enable_auto_commit=False)
    try:
        parts = [TopicPartition(topic, one) for one in range(settings.kafka.partitions)]
        consumer.assign(parts)
        consumer.commit({part: OffsetAndMetadata(offset, "", -1) for part in parts})
    finally:
        consumer.close()


@pytest.mark.broker
def test_the_pipeline_is_at_rest_when_all_readers_have_read_all_records(kafka_settings: Settings) -> None:
    with pytest.raises(LayoutError, match="footfall topics"):
        wait_until_drained(kafka_settings, 5)
    create_topics(kafka_settings)
    names = topic_names(kafka_settings)
    prefix, layout = kafka_settings.kafka.topic_prefix, kafka_settings.project.layout
    assert wait_until_drained(kafka_settings, 10) == ""
    plain = KafkaProducer(**kafka_options(kafka_settings.kafka))
    for one in range(kafka_settings.kafka.partitions):
        plain.send(names.events, value=b"{}", partition=one).get(10)
    plain.close()
    marked = KafkaProducer(**kafka_options(kafka_settings.kafka), transactional_id=f"{prefix}-test")
    marked.init_transactions()
    marked.begin_transaction()
    for one in range(kafka_settings.kafka.partitions):
        marked.send(names.metrics, key=b"k", value=b"{}", partition=one)
    marked.commit_transaction()
    marked.close()
    words = wait_until_drained(kafka_settings, 0)
    assert "the worker has 4 partitions" in words
    assert "the sink of metrics has 4" in words
    commit(kafka_settings, names.worker_app, names.events, 1)
    commit(kafka_settings, f"{prefix}-sink-events-{layout}", names.events, 1)
    assert "worker" not in wait_until_drained(kafka_settings, 0)
    commit(kafka_settings, f"{prefix}-sink-metrics-{layout}", names.metrics, 1)
    plain = KafkaProducer(**kafka_options(kafka_settings.kafka))
    plain.send(names.merges, value=b"{}", partition=2).get(10)
    plain.close()
    words = wait_until_drained(kafka_settings, 0)
    assert f"the worker has 1 partitions of {names.merges}" in words
    assert "the sink of merges has 1" in words
    commit(kafka_settings, names.worker_app, names.merges, 1)
    commit(kafka_settings, f"{prefix}-sink-merges-{layout}", names.merges, 1)
    assert wait_until_drained(kafka_settings, 15) == "", "a transaction's mark after the last record is nothing to be read"


def test_without_a_broker_there_is_no_telling() -> None:
    away = msgspec.structs.replace(SETTINGS, kafka=msgspec.structs.replace(SETTINGS.kafka, bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(UnavailableError, match="no Kafka broker"):
        wait_until_drained(away, 0)

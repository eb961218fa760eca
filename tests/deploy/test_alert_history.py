"""The history that baselines start with: what the recording rules would have recorded of the same events."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.commands.backfill_baseline import history
from deploy.prometheus.history import STEP_MS, Sample, activity, dense, funnel, series, tracking, trailing, users
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import open_store
from tests.deploy.grafana_demo import fill, last_day, make_demo
from tests.ports import free_port

RULES = Path(__file__).parents[2] / "deploy" / "prometheus"
UNTIL = 1000


def values(samples: list[Sample], name: str) -> list[tuple[int, float]]:
    return [(one.at, one.value) for one in samples if one.series.startswith(name + "{")]


def test_a_steady_stream_is_its_rate_at_the_end_of_each_slot() -> None:
    samples = list(activity("a", dict.fromkeys(range(900, UNTIL), 300), UNTIL))
    rates = values(samples, "app:footfall_events:rate15m")
    assert [at for at, _ in rates] == [(slot + 1) * STEP_MS // 1000 for slot in range(900, UNTIL)]
    assert {value for _, value in rates[2:]} == {1.0}
    assert values(samples, "app:footfall_events:avg1h")[-1][1] == pytest.approx(1.0)


def test_what_was_before_the_first_event_is_unknown_and_a_gap_after_it_is_zero() -> None:
    assert dense({5: 2, 8: 1}, 10) == (5, [2, 0, 0, 1, 0])
    assert list(activity("a", {}, UNTIL)) == []
    assert list(users("a", {}, UNTIL)) == []
    assert list(tracking("a", ["x"], {}, {}, UNTIL)) == []


@given(st.lists(st.integers(0, 1000), max_size=60), st.integers(1, 15))
def test_trailing_sums_are_the_plain_ones(counts: list[int], width: int) -> None:
    assert trailing(counts, width) == [sum(counts[max(0, end - width) : end]) for end in range(1, len(counts) + 1)]


def test_shares_are_of_all_events_and_unknown_where_there_were_none() -> None:
    total = {900: 100, 950: 100}
    samples = list(tracking("a", ["pay", "never"], {"pay": {900: 25}}, total, UNTIL))
    shares = [(one.series, one.value) for one in samples if "share1h" in one.series]
    assert shares[0] == ('app_event:footfall_events:share1h{app="a",event="pay"}', 0.25)
    assert math.isnan(shares[20][1])
    assert {value for name, value in shares if "never" in name and not math.isnan(value)} == {0.0}


def test_users_of_half_hours_are_told_every_five_minutes() -> None:
    samples = list(users("a", {10: 6, 11: 8}, 12))
    assert [value for _, value in values(samples, "app:footfall_active_users:avg1h")] == [3.0] * 6 + [7.0] * 6
    assert samples[0].at == 10 * 1800 + 300


def test_a_funnels_days_are_spread_over_them_and_today_over_what_has_passed_of_it() -> None:
    day_ms, hour_s = 86_400_000, 3600
    by_day = {10: {1: 240, 2: 48}, 11: {1: 60}}
    samples = list(funnel("a", "f", ["open", "done"], by_day, lambda day: day * day_ms, 11 * day_ms + 6 * 3_600_000))
    opened = [one for one in samples if one.series.startswith("funnel:footfall_funnel_users:in1h") and 'step="1"' in one.series]
    assert {one.series for one in opened} == {'funnel:footfall_funnel_users:in1h{app="a",funnel="f",step="1",event="open"}'}
    assert [one.value for one in opened] == [10.0] * 288 + [10.0] * 72
    assert (opened[0].at, opened[-1].at) == (10 * 24 * hour_s + 300, 11 * 24 * hour_s + 6 * hour_s)
    done = [one.value for one in samples if 'event="done"' in one.series]
    assert done == [2.0] * 288 + [0.0] * 72
    before = [one for one in samples if "before1h" in one.series]
    assert {one.series for one in before} == {'funnel:footfall_funnel_users:before1h{app="a",funnel="f",step="2"}'}
    assert [one.value for one in before] == [one.value for one in opened]
    assert list(funnel("a", "f", ["open"], {}, lambda day: day, 0)) == []


def test_any_name_is_written_so_that_it_can_be_read() -> None:
    assert series("x", event='a"b\\c\nd', app="支付") == 'x{event="a\\"b\\\\c\\nd",app="支付"}'


def test_names_are_those_of_the_recording_rules() -> None:
    recorded = set(re.findall(r"record: \"?([\w:]+)", "".join(path.read_text() for path in RULES.glob("*.rules.yml"))))
    ours = [*activity("a", {1: 1}, 2), *users("a", {1: 1}, 2), *tracking("a", ["x"], {}, {1: 1}, 2)]
    ours += funnel("a", "f", ["x", "y"], {0: {1: 1}}, lambda day: day * STEP_MS, 2 * STEP_MS)
    assert {one.series.partition("{")[0] for one in ours} <= recorded


@pytest.mark.clickhouse
def test_the_history_is_of_those_that_worker_and_gauges_count(tmp_path: Path) -> None:
    demo = make_demo(last_day(datetime.now(UTC).date()), days=9)
    sinks = msgspec.structs.replace(demo.settings.sinks, clickhouse_port=free_port())
    settings = msgspec.structs.replace(demo.settings, data_dir=str(tmp_path), sinks=sinks)
    store = open_store(settings)
    client = store.client()
    try:
        migrate(client, settings)
        fill(client, demo)
        samples = list(history(settings, client, demo.now))
    finally:
        client.close()
        store.close()
    for app in settings.apps:
        joined = sum(one.counters.events.get(app.id, 0) for one in demo.partitions.values())
        told = sum(one.value for one in samples if one.series == f'app:footfall_events:rate15m{{app="{app.id}"}}')
        assert told * 300 == pytest.approx(joined, rel=0.01)
    assert sum(one.counters.passive for one in demo.partitions.values()) > 100, "or all events would do"
    steps = [f'app="harbor",funnel="transfer",step="{step}"' for step in range(1, 6)]
    a_day = [
        sum(one.value for one in samples if one.series.startswith(f"funnel:footfall_funnel_users:in1h{{{step}")) for step in steps
    ]
    assert a_day == sorted(a_day, reverse=True)
    assert a_day[0] > a_day[-1] > 0
    assert sum(one.value for one in samples if one.series == f"funnel:footfall_funnel_users:before1h{{{steps[1]}}}") == a_day[0]

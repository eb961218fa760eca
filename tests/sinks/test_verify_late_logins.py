"""What persons who were joined late may make of numbers, against the real engine: no more than what they are in them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.simulator import truth
from ingest.contract.event import Event
from sinks.verify.closed import may_have_closed
from sinks.verify.main import sql_numbers, verify_tables
from sinks.verify.source import Source
from sinks.verify.sql import checks
from streams.contract.total import TotalKey
from tests.sinks.verify_events import DAY, HOUR, MINUTE, chains, event_lists, lifetimes, merges
from tests.sinks.verify_rig import (
    MIDNIGHT,
    PLAIN,
    SETTINGS,
    activity,
    day_key,
    engine,
    insert,
    put_all,
    put_merges,
    put_totals,
    total,
)

pytestmark = pytest.mark.clickhouse


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with engine(tmp_path_factory.mktemp("late")) as one:
        yield one


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=st.one_of(event_lists(), lifetimes(), chains()), merged=merges())
def test_what_all_persons_are_in_a_number_adds_up_to_it(client: Any, rows: list[Event], merged: dict[str, str]) -> None:
    insert(client, rows)
    put_merges(client, merged)
    now = max(row.time for row in rows) + 31 * DAY
    source = Source("verified", merged=bool(merged))
    found: Counter[TotalKey] = Counter()
    for check in checks(SETTINGS, source, now, by_person=True):
        for metric, facet, window, start, amount, who in client.query(check.sql).result_rows:
            assert who
            found[TotalKey(metric, check.scope, facet, window, start)] += amount
    assert found == Counter(sql_numbers(client, SETTINGS, "verified", now))


def put_grants(client: Any, *grants: tuple[str, str, int]) -> None:
    lines = [{"person": one, "target": into, "clock": clock, "offset": n} for n, (one, into, clock) in enumerate(grants)]
    client.raw_insert("person_merges", None, "\n".join(map(json.dumps, lines)).encode(), fmt="JSONEachRow")


def span(person: str, first: int, last: int) -> Event:
    return activity(MIDNIGHT + last * MINUTE, id=f"{person}{last}", person=person, duration=(last - first) * MINUTE)


LATE = MIDNIGHT + 5 * DAY
IN_TIME = MIDNIGHT + HOUR


def told(rows: list[Event], now: int, in_time: dict[str, str], at_last: dict[str, str]) -> dict[TotalKey, int]:
    """The stream's numbers: windows that had closed know only of the ids that were joined in time."""
    before, after = truth.numbers(PLAIN, rows, now, in_time), truth.numbers(PLAIN, rows, now, at_last)
    return {key: (before if may_have_closed(PLAIN, key, LATE) else after).get(key, 0) for key in before.keys() | after.keys()}


def test_only_who_was_joined_late_may_be_two_in_a_closed_window(client: Any) -> None:
    """x was joined in time: 30 minutes, apart they are 20. y late: 10 minutes, apart 20. So 50 is right, though joined it is 40
    and apart it is 40, too. z has one id."""
    rows = [span("a:x", 0, 10), span("u:x", 20, 30), span("a:y", 0, 10), span("u:y", 0, 10), span("u:z", 300, 300)]
    insert(client, rows)
    put_grants(client, ("a:x", "u:x", IN_TIME), ("a:y", "u:y", LATE))
    now = MIDNIGHT + 6 * DAY
    put_all(client, told(rows, now, {"a:x": "u:x"}, {"a:x": "u:x", "a:y": "u:y"}))
    usage = day_key("usage_ms")
    report = verify_tables(client, PLAIN, None, "", now)
    assert report.ok, str(report)
    assert "of windows that had closed before a login" in str(report)
    assert "of at most 1 persons in each" in str(report)
    others_hour = day_key("active_users", MIDNIGHT + 5 * HOUR, window="hour")
    for version, (key, wrong) in enumerate([(usage, 51), (usage, 39), (others_hour, 2)], start=2):
        put_totals(client, [total(key, wrong * (MINUTE if key is usage else 1), version=2 * version)])
        assert [one.key for one in verify_tables(client, PLAIN, None, "", now).differences] == [key]
        put_totals(client, [total(key, 50 * MINUTE if key is usage else 1, version=2 * version + 1)])


def test_of_a_person_with_three_ids_any_two_may_have_been_joined(client: Any) -> None:
    rows = [span("a:1", 0, 10), span("u:1", 20, 30), span("a:2", 0, 30)]
    insert(client, rows)
    put_grants(client, ("a:1", "u:1", IN_TIME), ("a:2", "u:1", LATE))
    now = MIDNIGHT + 6 * DAY
    put_all(client, told(rows, now, {"a:1": "u:1"}, {"a:1": "u:1", "a:2": "u:1"}))
    report = verify_tables(client, PLAIN, None, "", now)
    assert report.ok, str(report)
    put_totals(client, [total(day_key("sessions"), 4, version=2)])
    assert verify_tables(client, PLAIN, None, "", now).different == 1

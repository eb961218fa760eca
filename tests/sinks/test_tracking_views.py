"""The views of the tracking plan, from raw events made by hand."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from ingest.contract.event import Event
from ingest.contract.settings import Settings
from ingest.contract.zones import Zone, date_of_day
from sinks.api.sql import Query
from sinks.api.tracking import delay_query, violations_query
from sinks.clickhouse.migrate import migrate

pytestmark = pytest.mark.clickhouse

HOUR = 3_600_000
NOW = int(time.time() * 1000)
_encode = msgspec.json.Encoder().encode


def put(client: Client, **fields: Any) -> None:
    """One event of the app harbor."""
    found: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "app": "harbor",
        "person": "u:1",
        "event": "pay",
        "version": "9.1.0",
        "time": NOW,
        "received": NOW,
    }
    client.raw_insert("events", None, _encode(Event(**(found | fields))), fmt="JSONEachRow")


@pytest.fixture
def tracked(any_clickhouse: tuple[Client, Settings]) -> Client:
    """Version 9.1.0 is good but for one in four, 9.9.0 good, 9.10.0 broken."""
    client, settings = any_clickhouse
    migrate(client, settings)
    for number in range(4):
        put(client, person=f"u:{number}", violations=["missing:amount", "deprecated"] if not number else [])
        put(client, person=f"u:{number}", version="9.9.0")
        put(client, person="u:7", version="9.10.0", violations=["missing:amount"] if number else [])
    put(client, id="twice", event="typo", version="", violations=["unknown_event"])
    put(client, id="twice", event="typo", version="", violations=["unknown_event"])
    put(client, event="closed", violations=["unknown_property:a:b"])
    put(client, event="pay", type="profile", version="9.10.0")
    put(client, event="pay", time=NOW - 50 * 24 * HOUR, received=NOW - 40 * 24 * HOUR, violations=["missing:amount"])
    return client


def test_violations_by_version_with_their_share(tracked: Client) -> None:
    rows = tracked.query(
        "SELECT event, version, rule, property, events, persons, share FROM plan_violations "
        "WHERE app = 'harbor' ORDER BY event, version, rule"
    ).result_rows
    assert rows == [
        ("closed", "9.1.0", "unknown_property", "a:b", 1, 1, 1.0),
        ("pay", "9.1.0", "deprecated", "", 1, 1, 0.25),
        ("pay", "9.1.0", "missing", "amount", 1, 1, 0.25),
        ("pay", "9.10.0", "missing", "amount", 3, 1, 0.75),
        ("typo", "", "unknown_event", "", 1, 1, 1.0),
    ]


def test_which_point_broke_since_which_version(tracked: Client) -> None:
    rows = tracked.query(
        "SELECT event, rule, since_version, share_before, share_after, events_since, first_day = last_day "
        "FROM broken_tracking_points ORDER BY event, rule"
    ).result_rows
    assert rows == [
        ("closed", "unknown_property", "9.1.0", None, 1.0, 1, 1),
        ("pay", "deprecated", "9.1.0", None, 1 / 12, 1, 1),
        ("pay", "missing", "9.10.0", 0.125, 0.75, 3, 1),
        ("typo", "unknown_event", "", None, 1.0, 1, 1),
    ]


def test_days_are_the_apps_own(any_clickhouse: tuple[Client, Settings]) -> None:
    client, settings = any_clickhouse
    migrate(client, settings)
    zone = Zone("Asia/Shanghai")
    midnight = zone.day_start(zone.day(NOW) - 1)
    put(client, time=midnight - 1, received=midnight)
    put(client, time=midnight, received=midnight)
    days = [date_of_day(zone.day(NOW) - back) for back in (2, 1)]
    assert client.query("SELECT day, events FROM tracked ORDER BY day").result_rows == [(day, 1) for day in days]
    assert datetime.fromtimestamp(midnight / 1000, UTC).hour == 16


def test_delay_by_day_and_version(any_clickhouse: tuple[Client, Settings]) -> None:
    client, settings = any_clickhouse
    migrate(client, settings)
    for hours in (0, 2, 30, 200):
        put(client, time=NOW - 300 * HOUR, received=NOW - 300 * HOUR + hours * HOUR)
    rows = client.query(
        "SELECT version, events, over_an_hour, over_a_day, over_a_week, median_seconds FROM event_delay"
    ).result_rows
    assert rows == [("9.1.0", 4, 3, 2, 1, 30 * 3600)]


def test_the_apis_queries_are_of_a_span_and_of_apps(any_clickhouse: tuple[Client, Settings]) -> None:
    client, settings = any_clickhouse
    migrate(client, settings)

    def rows(query: Query) -> list[tuple[Any, ...]]:
        return list(client.query(query.sql, parameters=query.parameters).result_rows)

    for number, hours in enumerate((0, 2, 49, 24 * 40)):
        put(client, time=NOW - hours * HOUR, violations=["unknown_property:a:b"] if number else [])
    put(client, app="rural", violations=["unknown_event"])
    put(client, received=NOW - 3 * HOUR, time=NOW - 3 * HOUR, violations=["type:amount"])
    assert rows(violations_query(["harbor"], NOW - HOUR)) == [("harbor", "pay", "9.1.0", "unknown_property", "a:b", 3, 4, NOW)]
    assert len(rows(violations_query(["harbor", "rural"], NOW - 4 * HOUR))) == 3
    (row,) = rows(delay_query(settings, ["harbor"], NOW - HOUR))
    assert row[:6] == ("harbor", "9.1.0", 4, 3, 2, 1)
    assert rows(delay_query(settings, ["pioneer"], 0)) == []

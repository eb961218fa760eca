"""The views give the right numbers, from totals made by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest
from clickhouse_connect.driver.client import Client

from ingest.contract.settings import Settings
from ingest.contract.zones import Zone, day_of_date
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.rows import MetricsBatch
from streams.contract.total import Total, Window, encode_total

pytestmark = pytest.mark.clickhouse

SHANGHAI = Zone("Asia/Shanghai")
DAY = date(2026, 11, 21)
Put = Callable[..., None]


class Offsets:
    """The offsets of the metrics topic's partitions, as they would go on."""

    def __init__(self) -> None:
        self.next = 0

    def take(self) -> int:
        self.next += 1
        return self.next


@pytest.fixture
def put(any_clickhouse: tuple[Client, Settings]) -> Put:
    """Puts one total into the table the way that the sink does."""
    client, settings = any_clickhouse
    migrate(client, settings)
    offsets = Offsets()

    def put_total(
        value: int,
        window: Window = "day",
        *,
        metric: str = "active_users",
        facet: str = "",
        day: date = DAY,
        hour: int = -1,
        partition: int = 0,
        layout: str = "1",
        at: int = 0,
        offset: int = 0,
    ) -> None:
        start = 0 if window in ("5m", "30m") else SHANGHAI.day_start(day_of_date(day)) + max(hour, 0) * 3_600_000
        total = Total(
            metric=metric,
            app="harbor",
            facet=facet,
            window=window,
            start=start,
            day=day.isoformat(),
            hour=hour,
            layout=layout,
            partition=partition,
            value=value,
            at=at,
        )
        batch = MetricsBatch(partition)
        batch.add(offset or offsets.take(), encode_total(total))
        client.raw_insert("metrics", None, batch.inserts()[0].rows[0].line, fmt="JSONEachRow")

    return put_total


@pytest.fixture
def ask(any_clickhouse: tuple[Client, Settings]) -> Callable[[str], list[tuple[object, ...]]]:
    """Runs a query."""
    return lambda sql: [tuple(row) for row in any_clickhouse[0].query(sql).result_rows]


Ask = Callable[[str], list[tuple[object, ...]]]


def test_partitions_are_added_up_and_the_last_version_of_each_counts(put: Put, ask: Ask) -> None:
    put(10, partition=0)
    put(12, partition=0)
    put(30, partition=3)
    assert ask("SELECT day, dau FROM dau WHERE app = 'harbor' AND facet = ''") == [(DAY, 42)]


def test_an_older_version_written_again_does_not_win(put: Put, ask: Ask) -> None:
    put(12, offset=500)
    put(10, offset=499)
    assert ask("SELECT dau FROM dau") == [(12,)]


def test_a_total_of_another_layout_is_not_added(put: Put, ask: Ask) -> None:
    put(12)
    put(100, layout="2")
    assert ask("SELECT dau FROM dau") == [(12,)]


def test_each_window_has_its_view(put: Put, ask: Ask) -> None:
    put(1, "day")
    put(2, "7d")
    put(3, "30d")
    put(4, "month", day=date(2026, 11, 1))
    put(5, "hour", hour=10)
    told = time.time_ns() // 1_000_000
    put(6, "5m", at=told - 1000)
    put(7, "30m", at=told)
    assert ask("SELECT dau FROM dau") == [(1,)]
    assert ask("SELECT day, wau FROM wau") == [(DAY, 2)]
    assert ask("SELECT day, mau_30d FROM mau_30d") == [(DAY, 3)]
    assert ask("SELECT month, mau FROM mau") == [(date(2026, 11, 1), 4)]
    hour_start = datetime(2026, 11, 21, 2, tzinfo=UTC)  # 10:00 in Shanghai
    assert ask("SELECT day, hour, toString(start_at), active_users FROM hourly_active_users") == [
        (DAY, 10, hour_start.strftime("%Y-%m-%d %H:%M:%S.000"), 5)
    ]
    assert ask("SELECT active_5m, active_30m, toUnixTimestamp64Milli(at) FROM active_now") == [(6, 7, told)]
    assert sorted(ask("SELECT window, active_users FROM active_users")) == sorted(
        [("day", 1), ("7d", 2), ("30d", 3), ("month", 4), ("hour", 5), ("5m", 6), ("30m", 7)]
    )


def test_active_now_is_added_up_though_partitions_said_it_on_different_days(put: Put, ask: Ask) -> None:
    told = time.time_ns() // 1_000_000
    put(3, "5m", partition=0, day=date(2026, 11, 20), at=told)
    put(4, "5m", partition=1, day=date(2026, 11, 21), at=told)
    put(2, "5m", partition=0, day=date(2026, 11, 21), at=told)
    assert ask("SELECT active_5m FROM active_now") == [(6,)]


def test_active_now_is_nothing_when_nobody_has_worked_it_out_since(put: Put, ask: Ask) -> None:
    told = time.time_ns() // 1_000_000 - 500_000
    for window, users in (("5m", 4), ("30m", 6)):
        put(users, window, at=told)
    assert ask("SELECT active_5m, active_30m FROM active_now") == [(None, 6)]
    put(9, "day", at=told + 400_000)  # the worker is there, only that number has stayed what it was
    assert ask("SELECT active_5m, active_30m FROM active_now") == [(4, 6)]


def test_each_hour_has_its_share_of_the_day(put: Put, ask: Ask) -> None:
    put(40, "day")
    put(10, "hour", hour=9)
    put(20, "hour", hour=10)
    assert ask("SELECT hour, active_users, day_users, share FROM hourly_share WHERE app = 'harbor' ORDER BY hour") == [
        (9, 10, 40, 0.25),
        (10, 20, 40, 0.5),
    ]


def test_the_peak_is_the_first_of_the_hours_with_most_users(put: Put, ask: Ask) -> None:
    put(80, "day", partition=0)
    put(20, "day", partition=1)
    for hour, users in ((9, 30), (10, 40), (15, 40), (20, 39)):
        put(users - 10, "hour", hour=hour, partition=0)
        put(10, "hour", hour=hour, partition=1)
    assert ask("SELECT day, peak_hour, peak_users, day_users, peak_share FROM hourly_peak WHERE app = 'harbor'") == [
        (DAY, 10, 40, 100, 0.4)
    ]


def test_stickiness_divides_by_the_calendar_month_and_by_thirty_days(put: Put, ask: Ask) -> None:
    put(20, "day")
    put(100, "month", day=date(2026, 11, 1))
    put(80, "30d")
    put(5, "day", facet="platform:ios")
    assert ask("SELECT dau, mau, mau_30d, stickiness, stickiness_30d FROM stickiness WHERE facet = ''") == [
        (20, 100, 80, 0.2, 0.25)
    ]
    assert ask("SELECT dau, mau, stickiness FROM stickiness WHERE facet = 'platform:ios'") == [(5, 0, 0.0)]


def test_launches_minutes_and_sessions_per_active_user(put: Put, ask: Ask) -> None:
    put(4, "day")
    put(10, "day", metric="launches")
    put(6, "day", metric="sessions")
    put(36 * 60_000, "day", metric="usage_ms")
    put(99, "day", facet="platform:ios")
    assert ask("SELECT day, launches, dau, launches_per_user FROM launches_per_user") == [(DAY, 10, 4, 2.5)]
    assert ask("SELECT usage_minutes, minutes_per_user FROM usage_per_user") == [(36.0, 9.0)]
    assert ask("SELECT sessions, sessions_per_user, minutes_per_session FROM sessions_per_user") == [(6, 1.5, 6.0)]


def test_a_day_without_active_users_divides_nothing_by_zero(put: Put, ask: Ask) -> None:
    put(0, "day")
    put(3, "day", metric="launches")
    assert ask("SELECT launches_per_user FROM launches_per_user") == [(0.0,)]


def test_a_panel_reads_by_the_sorting_key(put: Put, ask: Ask) -> None:
    put(1)
    plan = "\n".join(
        str(row[0]) for row in ask("EXPLAIN indexes = 1 SELECT day, dau FROM dau WHERE app = 'harbor' AND facet = ''")
    )
    keys = plan[plan.index("PrimaryKey") :]
    for column in ("metric", "app", "facet", "window"):
        assert column in keys.split("Condition")[0], plan

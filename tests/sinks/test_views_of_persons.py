"""The views on lives, funnels, overlap, parts, months and ranks, from totals made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from ingest.contract.settings import Settings, read_settings
from tests.conftest import DEMO
from tests.sinks.embedded import embedded

pytestmark = pytest.mark.clickhouse

DAY = date(2026, 11, 20)  # a Friday
MONTH = date(2026, 11, 1)
Ask = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The real schema and the demo's plan in the embedded engine."""
    settings: Settings = read_settings(DEMO.read_text(), {})
    settings = msgspec.structs.replace(settings, data_dir=str(tmp_path_factory.mktemp("views")))
    with embedded(settings) as (_, client):
        yield client


class Put:
    """Writes totals, each a version of its own."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._version = 0
        client.command("TRUNCATE TABLE metrics")

    def __call__(
        self,
        metric: str,
        value: int,
        facet: str = "",
        day: date = DAY,
        *,
        app: str = "harbor",
        window: str = "day",
        hour: int = -1,
    ) -> None:
        self._version += 1
        start = (day - date(1970, 1, 1)).days * 86_400_000 + max(hour, 0) * 3_600_000
        row = {"metric": metric, "app": app, "facet": facet, "window": window, "start": start, "day": day.isoformat()}
        row |= {"hour": hour, "layout": "1", "partition": 0, "value": value, "at": start, "version": self._version}
        self._client.raw_insert("metrics", None, json.dumps(row).encode(), fmt="JSONEachRow")


@pytest.fixture
def put(migrated: Client) -> Put:
    """Empty totals, and how to put some there."""
    return Put(migrated)


@pytest.fixture
def ask(migrated: Client) -> Ask:
    """Runs a query."""
    return lambda sql: [tuple(row) for row in migrated.query(sql).result_rows]


def test_the_parts_of_a_day_add_up_to_its_active_users(put: Put, ask: Ask) -> None:
    for metric, value in (("active_users", 10), ("new_users", 3), ("returning_users", 6), ("resurrected_users", 1)):
        put(metric, value)
    put("dormant_users", 4)
    put("new_users", 9, app="all")
    found = ask(
        "SELECT day, dau, new_users, returning_users, resurrected_users, dormant_users FROM lifecycle WHERE app = 'harbor'"
    )
    assert found == [(DAY, 10, 3, 6, 1, 4)]


def test_a_day_on_which_nobody_of_the_cohort_came_back_is_a_zero_and_days_to_come_are_none(put: Put, ask: Ask) -> None:
    put("new_users", 8)
    put("retained_users", 8, "d0")
    put("retained_users", 2, "d3")
    put("active_users", 5, day=DAY + timedelta(days=4))
    found = ask("SELECT n, day, cohort_users, retained_users, rate FROM retention WHERE app = 'harbor' ORDER BY n")
    assert [row[0] for row in found] == [0, 1, 2, 3, 4]
    assert found[0] == (0, DAY, 8, 8, 1.0)
    assert found[2] == (2, DAY + timedelta(days=2), 8, 0, 0.0)
    assert found[3] == (3, DAY + timedelta(days=3), 8, 2, 0.25)
    assert ask("SELECT retained_users FROM retention WHERE app = 'harbor' AND n = 3") == [(2,)]


def test_overlap_has_a_rate_from_each_side(put: Put, ask: Ask) -> None:
    put("overlap_users", 20, "app:rural", MONTH, window="month")
    put("overlap_users", 20, "app:harbor", MONTH, app="rural", window="month")
    put("active_users", 100, "", MONTH, window="month")
    put("active_users", 40, "", MONTH, app="rural", window="month")
    found = ask("SELECT app, other, month, overlap_users, mau, rate FROM overlap ORDER BY app")
    assert found == [("harbor", "rural", MONTH, 20, 100, 0.2), ("rural", "harbor", MONTH, 20, 40, 0.5)]


def test_penetration_is_of_the_population_of_the_app_or_the_group(put: Put, ask: Ask) -> None:
    put("active_users", 2000, "", MONTH, window="month")
    put("active_users", 3000, "", MONTH, app="all", window="month")
    put("active_users", 3000, "", MONTH, app="unknown", window="month")
    found = ask("SELECT app, population, penetration FROM penetration WHERE window = 'month' AND facet = '' ORDER BY app")
    assert found == [("all", 12000, 0.25), ("harbor", 8000, 0.25)]


def test_facets_have_their_share_and_scenes_their_penetration(put: Put, ask: Ask) -> None:
    put("active_users", 50)
    put("active_users", 10, "scene:dining")
    put("active_users", 25, "version:9.1:b")
    put("active_users", 30, "platform:ios", window="month", day=MONTH)
    found = ask("SELECT facet, kind, item, active_users, all_users, share FROM facet_share WHERE window = 'day' ORDER BY facet")
    assert found == [("scene:dining", "scene", "dining", 10, 50, 0.2), ("version:9.1:b", "version", "9.1:b", 25, 50, 0.5)]
    assert ask("SELECT scene, day, scene_users, active_users, penetration FROM scene_penetration") == [
        ("dining", DAY, 10, 50, 0.2)
    ]
    assert ask("SELECT share FROM facet_share WHERE window = 'month'") == [(0.0,)]


def test_a_funnel_step_that_nobody_reached_on_a_day_is_a_row_too(put: Put, ask: Ask) -> None:
    for step, users in enumerate((100, 60, 15), start=1):
        put("funnel_users", users, f"transfer:{step}")
    put("funnel_users", 8, "transfer:1:platform:ios")
    put("funnel_users", 4, "transfer:1", DAY + timedelta(days=1))
    columns = "step, users, previous_users, entered_users, conversion, step_conversion, drop_off"
    where = "app = 'harbor' AND funnel = 'transfer'"
    assert ask(f"SELECT {columns} FROM funnel WHERE {where} AND day = '{DAY}' AND breakdown = '' ORDER BY step") == [
        (1, 100, 100, 100, 1.0, 1.0, 0),
        (2, 60, 100, 100, 0.6, 0.6, 40),
        (3, 15, 60, 100, 0.15, 0.25, 45),
        (4, 0, 15, 100, 0.0, 0.0, 15),
        (5, 0, 0, 100, 0.0, 0.0, 0),
    ], "the plan has two more steps, which nobody has ever reached"
    found = ask(f"SELECT step, users, drop_off FROM funnel WHERE {where} AND day = '{DAY + timedelta(days=1)}' ORDER BY step")
    assert found == [(1, 4, 0), (2, 0, 4), (3, 0, 0), (4, 0, 0), (5, 0, 0)]
    assert ask(f"SELECT step, users FROM funnel WHERE {where} AND breakdown = 'platform:ios' ORDER BY step") == [
        (1, 8),
        (2, 0),
        (3, 0),
        (4, 0),
        (5, 0),
    ]


def test_a_funnel_that_the_plan_has_no_more_is_as_long_as_anybody_came(put: Put, ask: Ask) -> None:
    put("funnel_users", 5, "gone:1")
    put("funnel_users", 2, "gone:2")
    assert ask("SELECT step, users FROM funnel WHERE funnel = 'gone' ORDER BY step") == [(1, 5), (2, 2)]


def test_times_to_convert_are_told_by_the_middle_of_their_buckets(put: Put, ask: Ask) -> None:
    for bucket, persons in ((0, 1), (10, 3), (64, 5), (4096, 1)):
        put("funnel_conversions", persons, f"transfer:{bucket}")
    found = ask("SELECT app, funnel, day, converted_users, median_seconds, p90_seconds FROM funnel_time")
    assert found == [("harbor", "transfer", DAY, 10, 65.0, 65.0)]
    put("funnel_conversions", 5, "transfer:4096")
    assert ask("SELECT p90_seconds FROM funnel_time") == [(4096 + 64.0,)]


def test_months_are_compared_with_the_month_and_the_year_before(put: Put, ask: Ask) -> None:
    for month, users in ((MONTH, 120), (date(2026, 10, 1), 100), (date(2025, 11, 1), 60)):
        put("active_users", users, "", month, window="month")
    put("launches", 5)
    put("launches", 7, day=DAY + timedelta(days=1))
    put("launches", 6, day=date(2026, 10, 31))
    found = ask(f"SELECT metric, value, previous, round(change, 6) FROM month_on_month WHERE month = '{MONTH}' ORDER BY metric")
    assert found == [("active_users", 120, 100, 0.2), ("launches", 12, 6, 1.0)]
    found = ask(f"SELECT metric, value, previous, change FROM year_on_year WHERE month = '{MONTH}' ORDER BY metric")
    assert found == [("active_users", 120, 60, 1.0), ("launches", 12, 0, None)]
    assert ask("SELECT DISTINCT month, unfinished FROM month_on_month WHERE month > '2026-09-01' ORDER BY month") == [
        (date(2026, 10, 1), 0),
        (MONTH, 1),
    ]


def test_figures_of_a_month_are_per_day_and_per_active_user_and_are_compared_too(put: Put, ask: Ask) -> None:
    for day, users in ((date(2026, 10, 30), 8), (date(2026, 11, 1), 10), (date(2026, 11, 4), 30)):
        put("active_users", users, day=day)
        put("launches", 3 * users, day=day)
    put("sessions", 50)
    put("usage_ms", 6_000_000)
    put("active_users", 16, "", date(2026, 10, 1), window="month")
    put("active_users", 25, "", MONTH, window="month")
    found: dict[str, float] = dict(ask(f"SELECT metric, value FROM monthly WHERE month = '{MONTH}'"))
    assert found == {
        "active_users": 25,
        "launches": 120,
        "sessions": 50,
        "usage_ms": 6_000_000,
        "dau_average": 10,  # 40 on the four days that there were
        "stickiness": 0.4,
        "launches_per_user": 4.8,
        "sessions_per_user": 2,
        "usage_ms_per_user": 240_000,
        "usage_ms_per_session": 120_000,
    }
    compared = "SELECT previous, change FROM month_on_month WHERE metric = 'dau_average' AND month = '2026-11-01'"
    assert ask(compared) == [(4.0, 1.5)]  # the app's first day was the last but one of October
    ranked = "SELECT app, value, place FROM app_rank WHERE metric = 'launches_per_user' AND day = '2026-11-01'"
    assert ask(ranked) == [("harbor", 4.8, 1)]


def test_a_month_in_which_nobody_came_any_more_is_a_fall_to_nothing(put: Put, ask: Ask) -> None:
    for month, facet, users in ((MONTH, "", 9), (date(2026, 10, 1), "", 8), (date(2026, 10, 1), "platform:ios", 5)):
        put("active_users", users, facet, month, window="month")
    columns = "month, value, previous, change"
    assert ask(f"SELECT {columns} FROM month_on_month WHERE facet = 'platform:ios' ORDER BY month") == [
        (date(2026, 10, 1), 5, 0, None),
        (MONTH, 0, 5, -1.0),
    ]


def test_facets_are_ranked_among_their_kind(put: Put, ask: Ask) -> None:
    put("active_users", 50)
    for facet, users in (("version:9.1", 20), ("version:9.2", 25), ("version:9.3", 20), ("platform:ios", 1)):
        put("active_users", users, facet)
    found = ask("SELECT item, active_users, share, place FROM facet_rank WHERE kind = 'version' ORDER BY place, item")
    assert found == [("9.2", 25, 0.5, 1), ("9.1", 20, 0.4, 2), ("9.3", 20, 0.4, 2)]


def test_apps_are_ranked_without_groups_and_equals_share_a_place(put: Put, ask: Ask) -> None:
    for app, users in (("harbor", 50), ("pioneer", 50), ("rural", 10), ("all", 99)):
        put("active_users", users, app=app)
        put("launches", users * 2, app=app)
    found = ask("SELECT app, value, place FROM app_rank WHERE metric = 'active_users' AND window = 'day' ORDER BY place, app")
    assert found == [("harbor", 50, 1), ("pioneer", 50, 1), ("rural", 10, 3)]
    found = ask(
        f"SELECT app, value FROM app_rank WHERE metric = 'launches' AND window = 'month' AND day = '{MONTH}' AND place = 3"
    )
    assert found == [("rural", 20)]


def test_the_typical_curve_leaves_the_last_day_out_and_counts_quiet_hours_as_zero(put: Put, ask: Ask) -> None:
    for back, users in ((0, 900), (1, 10), (2, 30), (5, 80), (29, 700)):
        day = DAY - timedelta(days=back)
        put("active_users", users, day=day)
        put("active_users", users, day=day, window="hour", hour=10)
    put("active_users", 6, day=DAY - timedelta(days=1), window="hour", hour=3)
    found = ask("SELECT day_class, mean_users, median_users, days FROM typical_hour_curve WHERE hour = 10 ORDER BY day_class")
    assert found == [("all", 40.0, 30, 3), ("weekend", 80.0, 80, 1), ("workday", 20.0, found[2][2], 2)]
    assert ask("SELECT mean_users FROM typical_hour_curve WHERE hour = 3 AND day_class = 'all'") == [(2.0,)]
    assert ask("SELECT count() FROM typical_hour_curve WHERE day_class = 'all'") == [(24,)]
    put("active_users", 12, "scene:dining", DAY - timedelta(days=2))
    put("active_users", 12, "scene:dining", DAY - timedelta(days=2), window="hour", hour=10)
    found = ask(
        "SELECT mean_users, days FROM typical_hour_curve WHERE facet = 'scene:dining' AND hour = 10 AND day_class = 'all'"
    )
    assert found == [(4.0, 3)]  # of all days of the app, not of the one on which anybody dined


def test_an_hour_that_the_clock_leaves_out_is_no_quiet_one(put: Put, ask: Ask, migrated: Client) -> None:
    def move(zone: str) -> None:
        migrated.command(
            f"INSERT INTO plan_apps SELECT * REPLACE ('{zone}' AS time_zone, written + 1 AS written) FROM plan_apps FINAL "
            "WHERE id = 'harbor'"
        )

    move("America/New_York")
    try:
        for day in (date(2026, 3, 7), date(2026, 3, 8), date(2026, 3, 9), date(2026, 3, 10)):
            put("active_users", 5, day=day)
            put("active_users", 5, day=day, window="hour", hour=3)
        found = ask(
            "SELECT hour, days, mean_users FROM typical_hour_curve WHERE day_class = 'all' AND hour IN (2, 3) ORDER BY hour"
        )
        assert found == [(2, 2, 0.0), (3, 3, 5.0)]
    finally:
        move("Asia/Shanghai")


def test_the_peak_of_today_is_of_today_alone(put: Put, ask: Ask) -> None:
    today = datetime.now(ZoneInfo("Asia/Shanghai")).date()
    peak = "SELECT app, day, peak_hour, peak_users, day_users, peak_share FROM peak_today"
    for hour, users in ((16, 50), (17, 3)):
        put("active_users", users, day=today - timedelta(days=1), window="hour", hour=hour)
    assert ask(peak) == []
    for hour, users in ((0, 5), (1, 8)):
        put("active_users", users, day=today, window="hour", hour=hour)
    put("active_users", 40, day=today)
    assert ask(peak) == [("harbor", today, 1, 8, 40, 0.2)]

"""The gauges: the current windows by each app's own clock, at its change of day and otherwise."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ingest.contract.plan import Activity, App, Group, Plan, Project, Segment
from ingest.contract.zones import Zone
from sinks.contract import gauges as names
from sinks.prometheus.exposition import Exposition
from sinks.prometheus.fold import Fold
from sinks.prometheus.gauges import gauges, scopes
from sinks.stats import Stats
from streams.contract.total import Total

PLAN = Plan(
    project=Project(time_zone="Asia/Shanghai"),
    apps=[App(id="east"), App(id="west", time_zone="America/New_York"), App(id="half", time_zone="Asia/Kolkata")],
    activities=[Activity(id="paying", events=["pay"], apps=["west"]), Activity(id="idle", events=["sit"], apps=["half"])],
    segments=[Segment(id="platform", source="platform", values=["ios"])],
    groups=[Group(id="all", apps=["east", "west"])],
)
ZONES = {app.id: PLAN.zone_name(app.id) for app in PLAN.apps}


def at(app: str, text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONES[app])).timestamp() * 1000)


class Numbers:
    """A fold and what it shows at a moment."""

    def __init__(self) -> None:
        self.fold = Fold("1")
        self.offset = 0

    def put(self, app: str, window: str, day: str, value: int, **more: Any) -> None:
        zone = Zone(ZONES[app])
        hour = more.get("hour", -1)
        start = at(app, f"{day}T{max(hour, 0):02}:00") if window == "hour" else 0
        fields: dict[str, Any] = {
            "metric": "active_users",
            "app": app,
            "facet": "",
            "window": window,
            "start": start,
            "day": day,
            "hour": hour,
            "layout": "1",
            "partition": 0,
            "value": value,
            "at": at(app, f"{day}T00:00"),
        }
        self.offset += 1
        assert zone.name == ZONES[app]
        self.fold.apply(Total(**(fields | more)), self.offset, at(app, f"{day}T12:00"))

    def show(self, now: int) -> dict[tuple[str, ...], float]:
        return {(one.family.name, *one.labels): one.value for one in gauges(self.fold, scopes(PLAN), now)}


def active(app: str, window: str, facet: str = "") -> tuple[str, ...]:
    return ("footfall_active_users", app, facet, window)


def test_today_is_by_the_apps_own_clock() -> None:
    numbers = Numbers()
    numbers.put("east", "day", "2026-11-21", 5)
    numbers.put("west", "day", "2026-11-21", 7)
    before = numbers.show(at("east", "2026-11-21T23:59:59.999"))
    assert before[active("east", "day")] == 5
    assert before[active("west", "day")] == 7  # 10:59 there
    after = numbers.show(at("east", "2026-11-22T00:00"))
    assert after[active("east", "day")] == 0
    assert after[active("west", "day")] == 7
    assert numbers.show(at("west", "2026-11-22T00:00"))[active("west", "day")] == 0


def test_the_hour_is_the_current_one_also_where_hours_start_at_half_past() -> None:
    numbers = Numbers()
    numbers.put("half", "hour", "2026-11-21", 9, hour=10)
    assert numbers.show(at("half", "2026-11-21T10:00"))[active("half", "hour")] == 9
    assert numbers.show(at("half", "2026-11-21T10:59:59.999"))[active("half", "hour")] == 9
    assert numbers.show(at("half", "2026-11-21T11:00"))[active("half", "hour")] == 0


def test_both_hours_of_a_clock_set_back_are_hours_of_their_own() -> None:
    numbers = Numbers()
    first = at("west", "2026-11-01T01:00")  # 01:00 comes twice that night
    numbers.put("west", "hour", "2026-11-01", 3, hour=1, start=first)
    numbers.put("west", "hour", "2026-11-01", 8, hour=1, start=first + 3_600_000)
    assert numbers.show(first + 60_000)[active("west", "hour")] == 3
    shown = numbers.show(first + 3_660_000)
    assert shown[active("west", "hour")] == 8
    assert (shown["footfall_peak_hour_users", "west"], shown["footfall_peak_hour", "west"]) == (8, 1)


def test_a_month_starts_at_zero_and_7d_is_absent_until_the_worker_has_said_it() -> None:
    numbers = Numbers()
    for window in ("7d", "30d"):
        numbers.put("east", window, "2026-11-30", 50)
    numbers.put("east", "month", "2026-11-01", 60)
    now = at("east", "2026-11-30T23:00")
    assert (numbers.show(now)[active("east", "7d")], numbers.show(now)[active("east", "month")]) == (50, 60)
    now = at("east", "2026-12-01T00:00:01")
    assert numbers.show(now)[active("east", "month")] == 0
    assert active("east", "7d") not in numbers.show(now)
    assert active("east", "30d") not in numbers.show(now)
    numbers.put("east", "7d", "2026-12-01", 49)
    assert numbers.show(now)[active("east", "7d")] == 49
    assert numbers.show(now)[active("east", "7d", "platform:ios")] == 0


def test_an_app_that_nobody_has_used_yet_is_zero_everywhere() -> None:
    shown = Numbers().show(at("east", "2026-11-21T12:00"))
    windows = ("hour", "day", "7d", "30d", "month", "5m", "30m")
    assert {key: value for key, value in shown.items() if key[:2] == ("footfall_active_users", "all")} == {
        # of a group nothing is counted but activities of its apps: a segment's zero would be a lie
        active("all", window, facet): 0
        for facet in ("", "activity:paying")
        for window in windows
    }
    assert ("footfall_peak_hour", "all") not in shown


def test_active_now_is_not_believed_when_nobody_has_computed_it_since_it_ran_out() -> None:
    numbers = Numbers()
    computed = at("east", "2026-11-21T12:00")
    numbers.put("east", "5m", "2026-11-21", 4, at=computed)
    numbers.put("east", "30m", "2026-11-21", 6, at=computed)
    shown = numbers.show(computed + 300_000)
    assert (shown[active("east", "5m")], shown[active("east", "30m")]) == (4, 6)
    shown = numbers.show(computed + 600_000)
    assert active("east", "5m") not in shown
    assert shown[active("east", "30m")] == 6
    numbers.put("east", "5m", "2026-11-21", 0, at=computed + 301_000)
    assert numbers.show(computed + 10 * 3_600_000)[active("east", "5m")] == 0


def test_launches_usage_and_sessions_are_todays_and_time_is_in_seconds() -> None:
    numbers = Numbers()
    numbers.put("east", "day", "2026-11-21", 10, metric="launches")
    numbers.put("east", "day", "2026-11-21", 90_500, metric="usage_ms")
    numbers.put("east", "day", "2026-11-21", 3, metric="sessions", partition=1)
    numbers.put("east", "day", "2026-11-21", 2, metric="sessions")
    shown = numbers.show(at("east", "2026-11-21T12:00"))
    assert shown["footfall_launches", "east"] == 10
    assert shown["footfall_usage_seconds", "east"] == 90.5
    assert shown["footfall_sessions", "east"] == 5


def test_the_exposition_keeps_the_numbers_back_until_the_topic_was_read_to_its_end() -> None:
    stats = Stats(frozenset({"east"}))
    families = {metric.name for metric in Exposition(lambda: None, stats.snapshot).collect()}
    assert not families & {family.name for family in names.NUMBERS}
    assert families == {family.name for family in names.PIPELINE}
    numbers = Numbers()
    ready = Exposition(lambda: gauges(numbers.fold, scopes(PLAN), at("east", "2026-11-21T12:00")), stats.snapshot)
    assert {metric.name for metric in ready.collect()} == {family.name for family in (*names.NUMBERS, *names.PIPELINE)}


def test_an_app_that_is_not_in_the_plan_makes_no_series_of_its_own() -> None:
    from collections import Counter

    stats = Stats(frozenset({"east"}))
    stats.events(Counter({"east": 2, "made up 1": 1, "made up 2": 1}), {"made up 1": 5, "east": 7})
    snapshot = stats.snapshot()
    assert snapshot.events == {"east": 2, "other": 2}
    assert snapshot.last_event == {"other": 5, "east": 7}

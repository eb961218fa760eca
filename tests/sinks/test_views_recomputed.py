"""Every view over totals beside a plain recomputation, on seeded random tellings: layouts, partitions, versions, falls to 0."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from ingest.contract.settings import Settings, read_settings
from ingest.contract.zones import Zone, day_of_date
from sinks.contract.tables import VIEWS
from tests.sinks.embedded import embedded
from tests.sinks.views_told import PLAN, POPULATION, SCOPES, STEPS, Row, Told, months, tell

pytestmark = pytest.mark.clickhouse

SUMMED = ("launches", "usage_ms", "sessions", "new_users", "resurrected_users", "dormant_users")
Rows = list[tuple[Any, ...]]


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC).replace(tzinfo=None)


def active_now(told: Told) -> Rows:
    alive: dict[str, int] = defaultdict(int)
    for row in told.rows:
        if row.metric in ("active_users", "usage_ms"):
            alive[row.app] = max(alive[row.app], row.at)
    found: dict[tuple[str, str], dict[str, Row]] = defaultdict(dict)
    for row in told.users("5m", "30m"):
        found[row.app, row.facet][row.window] = row
    assert all(at > told.now - 60_000 for at in alive.values()), "silence has its own test, this one does not wait"
    return [(*key, rows["5m"].value, rows["30m"].value) for key, rows in found.items()]


def of_window(window: str) -> Callable[[Told], Rows]:
    return lambda told: [(row.app, row.facet, row.day, row.value) for row in told.users(window)]


def _by_day(told: Told, *metrics: str, window: str = "day") -> dict[tuple[str, date], dict[str, int]]:
    found: dict[tuple[str, date], dict[str, int]] = defaultdict(lambda: dict.fromkeys(metrics, 0))
    for row in told.rows:
        if row.metric in metrics and row.facet == "" and row.window == window:
            found[row.app, row.day][row.metric] = row.value
    return found


def _day_users(told: Told, window: str = "day") -> dict[tuple[str, str, date], int]:
    return defaultdict(int, {(row.app, row.facet, row.day): row.value for row in told.users(window)})


def hourly_active_users(told: Told) -> Rows:
    return [(row.app, row.facet, row.day, row.hour, _instant(row.start), row.value) for row in told.users("hour")]


def hourly_share(told: Told) -> Rows:
    of_day = _day_users(told)
    return [(*row, of_day[row[:3]], ratio(row[5], of_day[row[:3]])) for row in hourly_active_users(told)]


def hourly_peak(told: Told) -> Rows:
    of_day = _day_users(told)
    hours: dict[tuple[str, str, date], list[Row]] = defaultdict(list)
    for row in told.users("hour"):
        hours[row.app, row.facet, row.day].append(row)
    found: Rows = []
    for key, rows in hours.items():
        top = min(rows, key=lambda row: (-row.value, row.start))
        if top.value > 0:
            found.append((*key, top.hour, _instant(top.start), top.value, of_day[key], ratio(top.value, of_day[key])))
    return found


def peak_today(told: Told) -> Rows:
    today = {app: datetime.now(ZoneInfo(zone)).date() for app, zone in SCOPES.items()}
    return [(*row[:4], *row[5:]) for row in hourly_peak(told) if row[2] == today[row[0]]]


def stickiness(told: Told) -> Rows:
    dau, trailing, monthly_users = (_day_users(told, window) for window in ("day", "30d", "month"))
    found: Rows = []
    for app, facet, day in {*dau, *trailing}:
        users, mau = dau[app, facet, day], monthly_users[app, facet, day.replace(day=1)]
        thirty = trailing[app, facet, day]
        found.append((app, facet, day, users, mau, thirty, ratio(users, mau), ratio(users, thirty)))
    return found


def launches_per_user(told: Told) -> Rows:
    days = _by_day(told, "launches", "active_users")
    return [(*key, one["launches"], one["active_users"], ratio(*one.values())) for key, one in days.items()]


def usage_per_user(told: Told) -> Rows:
    days = _by_day(told, "usage_ms", "active_users")
    return [
        (*key, one["usage_ms"] / 60_000, one["active_users"], ratio(one["usage_ms"] / 60_000, one["active_users"]))
        for key, one in days.items()
    ]


def sessions_per_user(told: Told) -> Rows:
    days = _by_day(told, "sessions", "usage_ms", "active_users")
    return [
        (
            *key,
            one["sessions"],
            one["active_users"],
            ratio(one["sessions"], one["active_users"]),
            ratio(one["usage_ms"] / 60_000, one["sessions"]),
        )
        for key, one in days.items()
    ]


def lifecycle(told: Told) -> Rows:
    names = ("active_users", "new_users", "returning_users", "resurrected_users", "dormant_users")
    return [(*key, *one.values()) for key, one in _by_day(told, *names).items()]


def retention(told: Told) -> Rows:
    last: dict[str, date] = {}
    for app, facet, day in _day_users(told):
        if facet == "":
            last[app] = max(last.get(app, day), day)
    again = {(row.app, row.day, row.facet): row.value for row in told.of("retained_users", "day")}
    found: Rows = []
    for row in told.of("new_users", "day"):
        for n in range(31):
            day = row.day + timedelta(days=n)
            if day <= last[row.app]:
                kept = again.get((row.app, row.day, f"d{n}"), 0)
                found.append((row.app, row.day, n, day, row.value, kept, ratio(kept, row.value)))
    return found


def overlap(told: Told) -> Rows:
    mau = _day_users(told, "month")
    found: Rows = []
    for row in told.of("overlap_users", "month"):
        users = mau[row.app, "", row.day]
        found.append((row.app, row.facet.removeprefix("app:"), row.day, row.value, users, ratio(row.value, users)))
    return found


_SPANS = ("day", "7d", "30d", "month")


def penetration(told: Told) -> Rows:
    return [
        (row.app, row.facet, row.window, row.day, row.value, POPULATION[row.app], row.value / POPULATION[row.app])
        for row in told.users(*_SPANS)
        if row.app in POPULATION
    ]


def facet_share(told: Told) -> Rows:
    found: Rows = []
    for window in _SPANS:
        users = _day_users(told, window)
        for (app, facet, day), value in list(users.items()):
            if facet:
                kind, _, item = facet.partition(":")
                everybody = users[app, "", day]
                found.append((app, facet, kind, item, window, day, value, everybody, ratio(value, everybody)))
    return found


def facet_rank(told: Told) -> Rows:
    shares = facet_share(told)
    found: Rows = []
    for app, facet, kind, item, window, day, value, _, share in shares:
        better = sum(other[6] > value for other in shares if (other[0], other[2], other[4], other[5]) == (app, kind, window, day))
        found.append((app, kind, item, facet, window, day, value, share, better + 1))
    return found


def scene_penetration(told: Told) -> Rows:
    return [
        (app, item, window, day, value, everybody, share)
        for app, _, kind, item, window, day, value, everybody, share in facet_share(told)
        if kind == "scene"
    ]


def funnel(told: Told) -> Rows:
    entered: dict[tuple[str, str, str, date], dict[int, int]] = defaultdict(dict)
    longest: dict[tuple[str, str], int] = {}
    for row in told.of("funnel_users", "day"):
        name, number, *rest = row.facet.split(":")
        entered[row.app, name, ":".join(rest), row.day][int(number)] = row.value
        if row.value > 0:  # of a funnel that the plan has no more
            longest[row.app, name] = max(longest.get((row.app, name), 0), int(number))
    found: Rows = []
    for key, steps in entered.items():
        for step in range(1, STEPS.get(key[:2], longest.get(key[:2], 0)) + 1):
            users, first = steps.get(step, 0), steps.get(1, 0)
            before = users if step == 1 else steps.get(step - 1, 0)
            found.append((*key, step, users, before, first, ratio(users, first), ratio(users, before), before - users))
    return found


def funnel_time(told: Told) -> Rows:
    times: dict[tuple[str, str, date], list[float]] = defaultdict(list)
    for row in told.of("funnel_conversions", "day"):
        name, _, text = row.facet.partition(":")
        bucket = int(text)
        width = 1 if bucket < 64 else 2 ** (int(math.log2(bucket)) - 5)
        times[row.app, name, row.day] += [bucket + width / 2] * row.value
    return [
        (*key, len(all_), *(sorted(all_)[math.ceil(len(all_) * level) - 1] for level in (0.5, 0.9)))
        for key, all_ in times.items()
        if all_
    ]


def monthly(told: Told) -> Rows:
    found = [(row.metric, row.app, row.facet, row.day, row.value) for row in told.rows if row.window == "month"]
    sums: dict[tuple[str, str, str, date], int] = defaultdict(int)
    for row in told.rows:
        if row.metric in SUMMED and row.window == "day":
            sums[row.metric, row.app, row.facet, row.day.replace(day=1)] += row.value
    return found + [(*key, value) for key, value in sums.items()] + _figures(told, sums)


def _figures(told: Told, sums: dict[tuple[str, str, str, date], int]) -> Rows:
    dau, mau = _day_users(told), _day_users(told, "month")
    users: dict[tuple[str, str, date], int] = defaultdict(int)
    for (app, facet, day), value in dau.items():
        users[app, facet, day.replace(day=1)] += value
    found: Rows = []
    for app, facet, month in {*users, *mau, *(key[1:] for key in sums)}:
        known = [day for scope, any_facet, day in dau if scope == app and any_facet == ""]
        first, last = max(month, min(known)), min(months(month, 1) - timedelta(days=1), max(known))
        days, of_month = (last - first).days + 1, mau[app, facet, month]
        launches, usage, sessions = (sums.get((name, app, facet, month), 0) for name in ("launches", "usage_ms", "sessions"))
        for name, part, whole in (
            ("dau_average", users[app, facet, month], days),
            ("stickiness", users[app, facet, month] / max(days, 1), of_month),
            ("launches_per_user", launches, of_month),
            ("usage_ms_per_user", usage, of_month),
            ("sessions_per_user", sessions, of_month),
            ("usage_ms_per_session", usage, sessions),
        ):
            if part > 0 and whole > 0:
                found.append((name, app, facet, month, part / whole))
    return found


def compared(by: int) -> Callable[[Told], Rows]:
    def rows(told: Told) -> Rows:
        values = {row[:4]: row[4] for row in monthly(told)}
        last: dict[str, date] = {}
        for _, app, _, month in values:
            last[app] = max(last.get(app, month), month)
        wanted = {*values, *((*key[:3], months(key[3], by)) for key in values)}
        found: Rows = []
        for key in wanted:
            if key[3] <= last[key[1]]:
                value, before = values.get(key, 0), values.get((*key[:3], months(key[3], -by)), 0)
                change = value / before - 1 if before else None
                found.append((*key, value, before, change, int(key[3] == last[key[1]])))
        return found

    return rows


def app_rank(told: Told) -> Rows:
    values = [(metric, facet, "month", month, app, value) for metric, app, facet, month, value in monthly(told)]
    values += [
        (row.metric, row.facet, row.window, row.day, row.app, row.value)
        for row in told.rows
        if row.window in ("day", "7d", "30d") and row.metric not in ("retained_users", "funnel_users", "funnel_conversions")
    ]
    among: dict[tuple[Any, ...], list[tuple[str, int]]] = defaultdict(list)
    for one in values:
        if one[0] != "overlap_users" and one[4] != "all":
            among[one[:4]].append((one[4], one[5]))
    return [(*key, app, value, 1 + sum(other > value for _, other in apps)) for key, apps in among.items() for app, value in apps]


def typical_hour_curve(told: Told) -> Rows:
    dau = _day_users(told)
    hours: dict[tuple[str, str, date, int], int] = defaultdict(int)
    for row in told.users("hour"):  # an hour that the clock shows twice counts as the fuller of the two
        hours[row.app, row.facet, row.day, row.hour] = max(hours[row.app, row.facet, row.day, row.hour], row.value)
    found: Rows = []
    for app, zone_name in SCOPES.items():
        zone = Zone(zone_name)
        known = {day for scope, facet, day in dau if scope == app and facet == ""}
        last = max(known)
        shown: dict[date, set[int]] = {}
        for day in known:
            if last - timedelta(days=28) <= day < last:
                number = day_of_date(day)
                starts = range(zone.day_start(number), zone.day_start(number + 1), 3_600_000)
                shown[day] = {zone.clock_hour(zone.hour(at)) for at in starts}
        for facet in {facet for scope, facet, _ in dau if scope == app}:
            for name, wanted in (("all", range(7)), ("workday", range(5)), ("weekend", range(5, 7))):
                for hour in range(24):
                    users = [
                        hours[app, facet, day, hour] for day, on_it in shown.items() if hour in on_it and day.weekday() in wanted
                    ]
                    if users:
                        mean = sum(users) / len(users)
                        found.append((app, facet, name, hour, mean, statistics.median_high(users), len(users)))
    return found


#: view -> (columns, recomputation); where no columns are named, all of the view's.
RECOMPUTED: dict[str, tuple[str, Callable[[Told], Rows]]] = {
    "active_now": ("app, facet, active_5m, active_30m", active_now),
    "active_users": (
        "app, facet, window, day, hour, active_users",
        lambda told: [
            (row.app, row.facet, row.window, row.day if row.start else date(1970, 1, 1), row.hour, row.value)
            for row in told.users("5m", "30m", "hour", "day", "7d", "30d", "month")
        ],
    ),
    "dau": ("", of_window("day")),
    "wau": ("", of_window("7d")),
    "mau_30d": ("", of_window("30d")),
    "mau": ("", of_window("month")),
    "hourly_active_users": ("", hourly_active_users),
    "hourly_share": ("", hourly_share),
    "hourly_peak": ("", hourly_peak),
    "peak_today": ("", peak_today),
    "stickiness": ("", stickiness),
    "launches_per_user": ("", launches_per_user),
    "usage_per_user": ("", usage_per_user),
    "sessions_per_user": ("", sessions_per_user),
    "lifecycle": ("", lifecycle),
    "retention": ("", retention),
    "overlap": ("", overlap),
    "penetration": ("", penetration),
    "facet_share": ("", facet_share),
    "facet_rank": ("", facet_rank),
    "scene_penetration": ("", scene_penetration),
    "funnel": ("", funnel),
    "funnel_time": ("", funnel_time),
    "monthly": ("", monthly),
    "month_on_month": ("", compared(1)),
    "year_on_year": ("", compared(12)),
    "app_rank": ("", app_rank),
    "typical_hour_curve": ("", typical_hour_curve),
}
COLUMNS = {view.name: ", ".join(view.columns) for view in VIEWS}
#: Views of the plan, of raw events (tests/sinks/test_tracking_views.py), and the one that all others are made of.
OTHERS = {"apps", "totals", "tracked", "plan_violations", "broken_tracking_points", "event_delay"}
#: The clocks of New York and Berlin go back, go forward, Auckland's go forward and back; a leap day; the turn of a year; today.
LAST_DAYS: dict[str, date | None] = {
    "autumn": date(2026, 11, 6),
    "spring": date(2026, 4, 12),
    "down under": date(2026, 10, 1),
    "leap year": date(2028, 3, 1),
    "new year": date(2027, 1, 2),
    "today": None,
}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The real schema and the plan above in the embedded engine."""
    settings: Settings = read_settings(PLAN, {})
    settings = msgspec.structs.replace(settings, data_dir=str(tmp_path_factory.mktemp("recomputed")))
    with embedded(settings) as (_, client):
        yield client


@pytest.fixture(scope="module", params=list(LAST_DAYS))
def told(engine: Client, request: pytest.FixtureRequest) -> Told:
    """Tellings, written in several parts that nothing has merged yet."""
    found = tell(sum(request.param.encode()), LAST_DAYS[request.param] or datetime.now(UTC).date())
    engine.command("TRUNCATE TABLE metrics")
    for part in range(3):
        engine.raw_insert("metrics", None, b"\n".join(found.lines[part::3]), fmt="JSONEachRow")
    return found


def _comparable(rows: Rows) -> list[str]:
    """Rows in an order of their own, numbers to nine digits; instants without a zone."""

    def cell(value: Any) -> Any:
        if isinstance(value, (int, float)):
            return float(f"{value:.9g}") + 0.0
        return value.replace(tzinfo=None) if isinstance(value, datetime) else value

    return sorted(repr(tuple(cell(value) for value in row)) for row in rows)


@pytest.mark.parametrize("view", RECOMPUTED)
def test_a_view_is_what_a_plain_recomputation_says(engine: Client, told: Told, view: str) -> None:
    columns, recompute = RECOMPUTED[view]
    expected = _comparable(recompute(told))
    found = _comparable([tuple(row) for row in engine.query(f"SELECT {columns or COLUMNS[view]} FROM {view}").result_rows])
    assert expected or view == "peak_today"
    strange, missing = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    assert not strange + missing, f"in the view alone: {strange[:5]}, missing: {missing[:5]}"
    assert len(found) == len(expected), "a row comes twice"


def test_every_view_is_recomputed() -> None:
    assert set(COLUMNS) - set(RECOMPUTED) == OTHERS

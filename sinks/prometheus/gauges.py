"""Which gauges there are now: a pure function of the fold, the plan and the time."""

from __future__ import annotations

from typing import NamedTuple

from ingest.contract.plan import Funnel, Plan
from ingest.contract.zones import Zone, date_of_day, month_start
from sinks.contract import gauges as names
from sinks.contract.gauges import Family
from sinks.prometheus.fold import Fold, Slot
from streams.contract.catalogue import ACTIVE_USERS, FUNNEL_USERS, LAUNCHES, SESSIONS, USAGE_MS

#: How much older than its window the newest total of an app may be before "active now" is no longer believed.
_STALE_MS = 120_000
_NOW_MS = {"5m": 300_000, "30m": 1_800_000}


class Gauge(NamedTuple):
    """One sample."""

    family: Family
    labels: tuple[str, ...]
    value: float


class Scope(NamedTuple):
    """An app or a group: its zone, facets and funnels, and its capacity (0: not told). The plan bounds all labels."""

    id: str
    zone: Zone
    facets: tuple[str, ...]
    funnels: tuple[Funnel, ...] = ()
    peak_capacity: int = 0


def scopes(plan: Plan) -> list[Scope]:
    """The plan's apps and groups."""
    ids = [app.id for app in plan.apps] + [group.id for group in plan.groups]
    capacity = {app.id: app.peak_capacity for app in plan.apps}
    return [
        Scope(
            one,
            Zone(plan.zone_name(one)),
            tuple(plan.facets(one)),
            tuple(funnel for funnel in plan.funnels if funnel.app == one),
            capacity.get(one, 0),
        )
        for one in ids
    ]


def gauges(fold: Fold, known: list[Scope], now: int) -> list[Gauge]:
    """The gauges at `now` (ms): the current windows by each scope's own clock.

    A window that nothing was said of is 0: nobody was active in it yet. Two exceptions are absent instead, because 0 would be
    a lie: 7d and 30d of an app that has them for yesterday but not yet for today, and "active now" that nobody has computed
    since it ran out (the worker is away).
    """
    found: list[Gauge] = []
    for scope in known:
        found += _active_users(fold, scope, now)
        found += _today(fold, scope, now)
        found += _funnels(fold, scope, now)
        if scope.peak_capacity:
            found.append(Gauge(names.PEAK_CAPACITY, (scope.id,), scope.peak_capacity))
    return found


def _active_users(fold: Fold, scope: Scope, now: int) -> list[Gauge]:
    zone = scope.zone
    day = zone.day(now)
    today, yesterday = date_of_day(day).isoformat(), date_of_day(day - 1).isoformat()
    places = {
        "hour": str(zone.hour_start(zone.hour(now))),
        "day": today,
        "month": date_of_day(month_start(day)).isoformat(),
    }
    for window in ("7d", "30d"):
        of_today = fold.value(Slot(ACTIVE_USERS, scope.id, "", window, today))
        if of_today is not None or fold.value(Slot(ACTIVE_USERS, scope.id, "", window, yesterday)) is None:
            places[window] = today
    found = []
    for facet in scope.facets:
        for window, place in places.items():
            value = fold.value(Slot(ACTIVE_USERS, scope.id, facet, window, place)) or 0
            found.append(Gauge(names.ACTIVE_USERS, (scope.id, facet, window), value))
        for window, length in _NOW_MS.items():
            value = fold.value(Slot(ACTIVE_USERS, scope.id, facet, window, "")) or 0
            if value == 0 or now - fold.newest(scope.id) <= length + _STALE_MS:
                found.append(Gauge(names.ACTIVE_USERS, (scope.id, facet, window), value))
    return found


def _funnels(fold: Fold, scope: Scope, now: int) -> list[Gauge]:
    today = date_of_day(scope.zone.day(now)).isoformat()
    return [
        Gauge(
            names.FUNNEL_USERS,
            (scope.id, funnel.id, str(number), step.event),
            fold.value(Slot(FUNNEL_USERS, scope.id, f"{funnel.id}:{number}", "day", today)) or 0,
        )
        for funnel in scope.funnels
        for number, step in enumerate(funnel.steps, 1)
    ]


def _today(fold: Fold, scope: Scope, now: int) -> list[Gauge]:
    zone = scope.zone
    day = zone.day(now)
    today = date_of_day(day).isoformat()
    found = [
        Gauge(family, (scope.id,), (fold.value(Slot(metric, scope.id, "", "day", today)) or 0) / unit)
        for family, metric, unit in (
            (names.LAUNCHES, LAUNCHES, 1),
            (names.USAGE_SECONDS, USAGE_MS, 1000),
            (names.SESSIONS, SESSIONS, 1),
        )
    ]
    peak_users, peak_hour = 0, -1
    for hour in range(zone.hour(zone.day_start(day)), zone.hour(now) + 1):
        users = fold.value(Slot(ACTIVE_USERS, scope.id, "", "hour", str(zone.hour_start(hour)))) or 0
        if users > peak_users:
            peak_users, peak_hour = users, zone.clock_hour(hour)
    found.append(Gauge(names.PEAK_HOUR_USERS, (scope.id,), peak_users))
    if peak_hour >= 0:
        found.append(Gauge(names.PEAK_HOUR, (scope.id,), peak_hour))
    return found

"""The numbers that must come of a list of events. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from deploy.simulator.truth.clock import hour_start, local, local_date, midnight
from deploy.simulator.truth.facets import facets_of
from deploy.simulator.truth.funnels import conversions, events_of
from deploy.simulator.truth.happened import HOUR_MS, Happened, Numbers, in_hours, time_of
from deploy.simulator.truth.identity import Merged, granted, person_of
from deploy.simulator.truth.life import lives, overlaps
from ingest.contract.plan import Plan
from streams.contract.total import TotalKey

MAX_LAUNCHES = 1000


class Person(NamedTuple):
    """What a person did, as far as it counts: dates of activity by app or group, and events in time for hours by app."""

    days: dict[str, set[date]]
    events: dict[str, list[Happened]]


def numbers(plan: Plan, events: Iterable[Happened], now: int, merged: Merged | None = None) -> Numbers:
    """Every published number that is not 0, of all windows that have begun at `now` (ms); "active now" aside.

    merged: which ids are part of which person; None: what the events themselves claim. Events of apps that are not in the plan
    count for nothing. Duplicates and order make no difference.
    """
    all_events = list(events)
    if merged is None:
        merged = granted(plan, all_events)
    zones = zones_of(plan)
    found: Numbers = defaultdict(int)
    _active(found, plan, all_events, merged, now)
    for person in persons_of(plan, all_events, merged).values():
        for scope, days in person.days.items():
            for key in lives(scope, zones[scope], days, local(now, zones[scope]).date()):
                found[key] += 1
        apps = {app.id: person.days[app.id] for app in plan.apps if app.id in person.days}
        for key in overlaps(apps, zones):
            found[key] += 1
        for app_id, own in person.events.items():
            _use(found, plan, app_id, own, zones[app_id])
        for funnel in plan.funnels:
            own = [one for app in members(plan, funnel.app) for one in person.events.get(app, ())]
            for key in conversions(plan, funnel, events_of(funnel, own, zones[funnel.app]), zones[funnel.app]):
                found[key] += 1
    return {key: value for key, value in found.items() if value}


def zones_of(plan: Plan) -> dict[str, ZoneInfo]:
    """The zone of each app and group."""
    zones = {app.id: ZoneInfo(app.time_zone or plan.project.time_zone) for app in plan.apps}
    return zones | {group.id: ZoneInfo(plan.project.time_zone) for group in plan.groups}


def members(plan: Plan, scope: str) -> list[str]:
    """The apps of a group; an app itself."""
    return next((group.apps for group in plan.groups if group.id == scope), [scope])


def counted(plan: Plan, events: Iterable[Happened]) -> Iterator[Happened]:
    """Those that are something a person did."""
    apps = {app.id: app for app in plan.apps}
    for one in events:
        if one.app in apps and one.type in ("track", "page", "screen") and one.event not in apps[one.app].passive_events:
            yield one


def in_days(plan: Plan, one: Happened, zone: ZoneInfo) -> bool:
    """Whether an event came in time for its day."""
    return (local_date(one.received, zone) - local_date(time_of(one), zone)).days <= plan.horizons.late_days


def persons_of(plan: Plan, events: Iterable[Happened], merged: Merged) -> dict[str, Person]:
    """What each person did."""
    zones = zones_of(plan)
    groups = {app.id: [group.id for group in plan.groups if app.id in group.apps] for app in plan.apps}
    found: dict[str, Person] = {}
    for one in counted(plan, events):
        name = person_of(merged, one.person)
        person = found.setdefault(name, Person({}, {}))
        for scope in (one.app, *groups[one.app]):
            if in_days(plan, one, zones[scope]):
                person.days.setdefault(scope, set()).add(local_date(time_of(one), zones[scope]))
        if in_hours(plan, one):
            person.events.setdefault(one.app, []).append(one)
    return found


def _active(found: Numbers, plan: Plan, events: list[Happened], merged: Merged, now: int) -> None:
    """Active users of hours, days, months, trailing windows."""
    zones = zones_of(plan)
    hours: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    days: dict[tuple[str, str], dict[date, set[str]]] = defaultdict(lambda: defaultdict(set))
    for one in counted(plan, events):
        facets = facets_of(plan, one)
        activities = [facet for facet in facets if facet == "" or facet.startswith("activity:")]
        person = person_of(merged, one.person)
        scopes = [(one.app, facets), *((group.id, activities) for group in plan.groups if one.app in group.apps)]
        for scope, scope_facets in scopes:
            zone = zones[scope]
            for facet in scope_facets:
                if in_days(plan, one, zone):
                    days[scope, facet][local_date(time_of(one), zone)].add(person)
                if in_hours(plan, one):
                    hours[scope, facet, hour_start(time_of(one), zone)].add(person)
    for (scope, facet, start), persons in hours.items():
        found[TotalKey("active_users", scope, facet, "hour", start)] = len(persons)
    for (scope, facet), by_day in days.items():
        _days(found, scope, facet, by_day, zones[scope], now)


def _days(found: Numbers, scope: str, facet: str, by_day: dict[date, set[str]], zone: ZoneInfo, now: int) -> None:
    """Days, months, and the windows of 7 and 30 days that end on each day from the first active one to today."""
    months: dict[date, set[str]] = defaultdict(set)
    for day, persons in by_day.items():
        found[TotalKey("active_users", scope, facet, "day", midnight(day, zone))] = len(persons)
        months[day.replace(day=1)] |= persons
    for month, persons in months.items():
        found[TotalKey("active_users", scope, facet, "month", midnight(month, zone))] = len(persons)
    last = local(now, zone).date()
    end = min(by_day)
    while end <= last:
        for name, length in (("7d", 7), ("30d", 30)):
            window = [end - timedelta(days=back) for back in range(length)]
            persons = set().union(*(by_day[day] for day in window if day in by_day))
            start = midnight(end - timedelta(days=length - 1), zone)
            found[TotalKey("active_users", scope, facet, name, start)] = len(persons)  # type: ignore[arg-type]
        end += timedelta(days=1)


def _use(found: Numbers, plan: Plan, app_id: str, events: list[Happened], zone: ZoneInfo) -> None:
    """A person's launches, sessions and usage time in an app."""
    app = next(app for app in plan.apps if app.id == app_id)
    launches: dict[date, set[int]] = defaultdict(set)
    pieces: list[tuple[int, int]] = []
    for one in events:
        time = time_of(one)
        if one.event in app.launch_events:
            launches[local_date(time, zone)].add(time)
        pieces.append((time - (one.duration if one.duration <= 24 * HOUR_MS else 0), time))
    for day, times in launches.items():
        found[TotalKey("launches", app_id, "", "day", midnight(day, zone))] += min(len(times), MAX_LAUNCHES)
    for start, end in sessions(pieces, plan.project.session_gap_minutes * 60_000):
        _session(found, app_id, start, end, zone)


def _session(found: Numbers, app: str, start: int, end: int, zone: ZoneInfo) -> None:
    """A session counts on the day it starts on; its time on every day that it touches."""
    day = local_date(start, zone)
    found[TotalKey("sessions", app, "", "day", midnight(day, zone))] += 1
    while midnight(day, zone) <= end:
        following = day + timedelta(days=1)
        inside = min(end, midnight(following, zone)) - max(start, midnight(day, zone))
        found[TotalKey("usage_ms", app, "", "day", midnight(day, zone))] += inside
        day = following


def sessions(pieces: list[tuple[int, int]], gap_ms: int) -> list[tuple[int, int]]:
    """The union of intervals (start, end), where a gap up to gap_ms is no gap."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(pieces):
        if found and start - found[-1][1] <= gap_ms:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found

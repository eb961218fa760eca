"""The numbers recomputed plainly from events: sets, dates and the zone database, nothing of the code under test."""

from __future__ import annotations

import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class PlainEvent:
    """What a test sends."""

    person: str
    app: str
    event: str
    time: int
    received: int
    platform: str = ""
    duration: int = 0
    id: str = field(default="x")
    kind: str = ""

    def line(self) -> dict[str, object]:
        """As an event line."""
        return {
            "id": self.id,
            "person": self.person,
            "app": self.app,
            "event": self.event,
            "time": self.time,
            "received": self.received,
            "platform": self.platform,
            "duration": self.duration,
            "props": {"kind": self.kind} if self.kind else {},
        }


class Number(NamedTuple):
    """Names a number: `day` is the local date that names the window, `hour` the instant for hours."""

    metric: str
    app: str
    facet: str
    window: str
    day: date
    hour: datetime | None = None


@dataclass(frozen=True)
class PlainFunnel:
    """Steps and exclusions are (event name, kind or "" for any)."""

    scope: str
    steps: list[tuple[str, str]]
    exclude: list[tuple[str, str]]
    window_hours: int
    by_platform: bool


@dataclass(frozen=True)
class Rules:
    """The plan of the test, in plain words."""

    zones: dict[str, str]  # app or group -> zone
    groups: dict[str, list[str]]
    activities: dict[str, list[str]]
    platforms: list[str]
    passive: list[str]
    launches: list[str]
    late_days: int
    late_hours: int
    gap_minutes: int
    funnels: dict[str, PlainFunnel] = field(default_factory=dict)


def _at(ms: int, zone: str) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).astimezone(ZoneInfo(zone))


def _ms(at: datetime) -> int:
    return round((at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))


def _lives(persons: dict[Number, set[str]], rules: Rules) -> dict[Number, int]:
    """New, returning, resurrected, dormant; cohorts; overlap of apps: from the days that each person was active on."""
    days: dict[tuple[str, str], set[date]] = defaultdict(set)
    for number, who in persons.items():
        if (number.metric, number.facet, number.window) == ("active_users", "", "day"):
            for person in who:
                days[number.app, person].add(number.day)
    numbers: dict[Number, int] = defaultdict(int)
    for (scope, person), active in days.items():
        first = min(active)
        numbers[Number("new_users", scope, "", "day", first)] += 1
        for day in active:
            if (day - first).days <= 30:
                numbers[Number("retained_users", scope, f"d{(day - first).days}", "day", first)] += 1
            if day != first:
                recent = any(day - timedelta(days=back) in active for back in range(1, 31))
                numbers[Number("returning_users" if recent else "resurrected_users", scope, "", "day", day)] += 1
            if not any(day + timedelta(days=ahead) in active for ahead in range(1, 31)):
                numbers[Number("dormant_users", scope, "", "day", day + timedelta(days=30))] += 1
        if scope not in rules.groups:
            for other in rules.zones:
                if other != scope and other not in rules.groups:
                    theirs = {day.replace(day=1) for day in days.get((other, person), ())}
                    for month in {day.replace(day=1) for day in active} & theirs:
                        numbers[Number("overlap_users", scope, f"app:{other}", "month", month)] += 1
    return dict(numbers)


def _funnel(name: str, funnel: PlainFunnel, events: list[PlainEvent], rules: Rules) -> dict[Number, int]:
    """Every chain of every person, tried one by one."""
    apps = rules.groups.get(funnel.scope, [funnel.scope])
    own: dict[str, dict[tuple[int, int], PlainEvent]] = defaultdict(dict)
    for event in events:
        time = min(event.time, event.received)
        if event.app in apps and event.event not in rules.passive and event.received - time <= rules.late_hours * 3_600_000:
            own[event.person][time, zlib.crc32(event.id.encode())] = event

    def is_one_of(event: PlainEvent, these: list[tuple[str, str]]) -> bool:
        return any(event.event == name and kind in ("", event.kind) for name, kind in these)

    deepest: dict[tuple[str, date, str], tuple[int, int]] = {}
    for person, by_order in own.items():
        for entry, first in by_order.items():
            if not is_one_of(first, funnel.steps[:1]):
                continue
            depth, last = 1, entry[0]
            for order in sorted(order for order in by_order if order > entry):
                if order[0] > entry[0] + funnel.window_hours * 3_600_000 or depth == len(funnel.steps):
                    break
                if is_one_of(by_order[order], [funnel.steps[depth]]):
                    depth, last = depth + 1, order[0]
                elif is_one_of(by_order[order], funnel.exclude):
                    break
            quick = entry[0] - last if depth == len(funnel.steps) else 0
            values = {""}
            if funnel.by_platform and first.platform:
                values.add("platform:" + (first.platform if first.platform in rules.platforms else "other"))
            for value in values:
                key = (person, _at(entry[0], rules.zones[funnel.scope]).date(), value)
                deepest[key] = max(deepest.get(key, (0, 0)), (depth, quick))
    numbers: dict[Number, int] = defaultdict(int)
    for (_, day, value), (depth, quick) in deepest.items():
        for step in range(1, depth + 1):
            numbers[Number("funnel_users", funnel.scope, f"{name}:{step}" + (f":{value}" if value else ""), "day", day)] += 1
        if depth == len(funnel.steps) and not value:
            seconds = -quick // 1000
            width = 1
            while seconds // width >= 64:
                width *= 2
            numbers[Number("funnel_conversions", funnel.scope, f"{name}:{seconds // width * width}", "day", day)] += 1
    return dict(numbers)


def recompute(events: list[PlainEvent], rules: Rules) -> dict[Number, int]:
    """All numbers of the events, zeros left out. Trailing windows are told for all days they can end on."""
    persons: dict[Number, set[str]] = defaultdict(set)
    launches: dict[tuple[str, date], set[tuple[str, int]]] = defaultdict(set)
    spans: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        if event.event in rules.passive:
            continue
        time = min(event.time, event.received)
        activities = [f"activity:{name}" for name, names in rules.activities.items() if event.event in names]
        app_facets = ["", *activities]
        if event.platform:
            app_facets.append("platform:" + (event.platform if event.platform in rules.platforms else "other"))
        scopes = [(event.app, app_facets)] + [(g, ["", *activities]) for g, apps in rules.groups.items() if event.app in apps]
        for scope, facets in scopes:
            at, received = _at(time, rules.zones[scope]), _at(event.received, rules.zones[scope])
            if (received.date() - at.date()).days > rules.late_days:
                continue
            in_hours = event.received - time <= rules.late_hours * 3_600_000
            for facet in facets:
                persons[Number("active_users", scope, facet, "day", at.date())].add(event.person)
                if in_hours:
                    hour = at.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
                    persons[Number("active_users", scope, facet, "hour", at.date(), hour)].add(event.person)
            if in_hours and scope == event.app:
                if event.event in rules.launches:
                    launches[scope, at.date()].add((event.person, time))
                duration = event.duration if event.duration <= 86_400_000 else 0
                spans[scope, event.person].append((time - duration, time))
    for number, who in list(persons.items()):
        if number.window == "day":
            first = number.day.replace(day=1)
            persons[number._replace(window="month", day=first)] |= who
            for window, length in (("7d", 7), ("30d", 30)):
                for back in range(length):
                    persons[number._replace(window=window, day=number.day + timedelta(days=back))] |= who
    numbers = {number: len(who) for number, who in persons.items()}
    numbers |= _lives(persons, rules)
    for name, funnel in rules.funnels.items():
        numbers |= _funnel(name, funnel, events, rules)
    for (app, day), times in launches.items():
        numbers[Number("launches", app, "", "day", day)] = len(times)
    for (app, _), pieces in spans.items():
        joined: list[list[int]] = []
        for start, end in sorted(pieces):
            if joined and start - joined[-1][1] <= rules.gap_minutes * 60_000:
                joined[-1][1] = max(joined[-1][1], end)
            else:
                joined.append([start, end])
        zone = ZoneInfo(rules.zones[app])
        for start, end in joined:
            day = _at(start, rules.zones[app]).date()
            sessions = Number("sessions", app, "", "day", day)
            numbers[sessions] = numbers.get(sessions, 0) + 1
            while True:
                midnight = _ms(datetime.combine(day, datetime.min.time(), zone))
                next_midnight = _ms(datetime.combine(day + timedelta(days=1), datetime.min.time(), zone))
                usage = min(end, next_midnight) - max(start, midnight)
                if usage > 0:
                    number = Number("usage_ms", app, "", "day", day)
                    numbers[number] = numbers.get(number, 0) + usage
                if end < next_midnight:
                    break
                day += timedelta(days=1)
    return numbers

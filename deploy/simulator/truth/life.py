"""New, returning, resurrected, dormant; cohorts; overlap of apps: from the dates on which each person was active. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from deploy.simulator.truth.clock import midnight
from streams.contract.total import TotalKey

_DAYS = 30


def lives(scope: str, zone: ZoneInfo, days: set[date], today: date) -> Iterator[TotalKey]:
    """The numbers in which a person counts once who was active on these days in an app or group."""
    first = min(days)
    yield _key("new_users", scope, "", first, zone)
    for day in days:
        if (day - first).days <= _DAYS:
            yield _key("retained_users", scope, f"d{(day - first).days}", first, zone)
        if day != first:
            recent = any(day - timedelta(days=back) in days for back in range(1, _DAYS + 1))
            yield _key("returning_users" if recent else "resurrected_users", scope, "", day, zone)
        dormant = day + timedelta(days=_DAYS)
        if dormant <= today and not any(day + timedelta(days=ahead) in days for ahead in range(1, _DAYS + 1)):
            yield _key("dormant_users", scope, "", dormant, zone)


def overlaps(days: Mapping[str, set[date]], zones: Mapping[str, ZoneInfo]) -> Iterator[TotalKey]:
    """The same for a person's days in all apps (app -> dates there): months in which two apps were used."""
    months = {app: {day.replace(day=1) for day in own} for app, own in days.items()}
    for app, own in months.items():
        for other, theirs in months.items():
            if other != app:
                for month in own & theirs:
                    yield TotalKey("overlap_users", app, f"app:{other}", "month", midnight(month, zones[app]))


def possible_lives(scope: str, zone: ZoneInfo, days: Iterable[date], today: date) -> Iterator[TotalKey]:
    """Every number of `lives` in which a person can count who was active on any of these days."""
    all_days = set(days)
    for day in all_days:
        for metric in ("new_users", "returning_users", "resurrected_users"):
            yield _key(metric, scope, "", day, zone)
        if day + timedelta(days=_DAYS) <= today:
            yield _key("dormant_users", scope, "", day + timedelta(days=_DAYS), zone)
        for later in range(_DAYS + 1):
            if day + timedelta(days=later) in all_days:
                yield _key("retained_users", scope, f"d{later}", day, zone)


def _key(metric: str, scope: str, facet: str, day: date, zone: ZoneInfo) -> TotalKey:
    return TotalKey(metric, scope, facet, "day", midnight(day, zone))

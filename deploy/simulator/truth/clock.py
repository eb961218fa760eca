"""Local days and hours, straight from the zone database. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo


def local(ms: int, zone: ZoneInfo) -> datetime:
    """What a clock on the wall shows at an instant."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).astimezone(zone)


def local_date(ms: int, zone: ZoneInfo) -> date:
    """The calendar date at an instant. Clocks change on whole minutes only, so a minute's date is kept."""
    return _date_of_minute(ms // 60_000, zone)


@lru_cache(maxsize=1_000_000)
def _date_of_minute(minute: int, zone: ZoneInfo) -> date:
    return local(minute * 60_000, zone).date()


@lru_cache(maxsize=100_000)
def midnight(day: date, zone: ZoneInfo) -> int:
    """The first instant (ms) of a local day: mostly 00:00, later where the clock skips midnight."""
    at = int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)
    while local(at, zone).date() < day:  # a skipped midnight: the clock jumps by whole minutes
        at += 60_000
    while local(at - 60_000, zone).date() >= day:
        at -= 60_000
    return at


def hour_start(ms: int, zone: ZoneInfo) -> int:
    """The instant (ms) at which the clock hour of an instant began. Zones' offsets are whole minutes, changes whole hours."""
    shown = local(ms, zone)
    return ms - shown.minute * 60_000 - shown.second * 1000 - ms % 1000

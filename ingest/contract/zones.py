"""Local days and hours of a time zone, as whole numbers that can be bits.

A **day** is a local calendar date, counted in days since 1970-01-01. An **hour** is a local clock hour, named by the instant
it starts at, counted in hours: when clocks go back, the two hours 01:00 are two hours; when they go forward, 02:00 is none.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ingest.contract.errors import ConfigError
from ingest.contract.event import MAX_TIME_MS

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1)
_EPOCH_AT = datetime(1970, 1, 1, tzinfo=UTC)
#: 2020: what counts is at most horizons.late_days older than its receipt. Many zones, Singapore's too, once had odd minutes.
_CHECKED_FROM_MS = 1_577_836_800_000
_CHECK_EACH_MS = 30 * DAY_MS


def date_of_day(day: int) -> date:
    """The calendar date of a day number."""
    return _EPOCH + timedelta(days=day)


def day_of_date(value: date) -> int:
    """The day number of a calendar date."""
    return (value - _EPOCH).days


def month_start(day: int) -> int:
    """The day number of the first day of that day's month."""
    return day - date_of_day(day).day + 1


def next_month(day: int) -> int:
    """The day number of the first day of the month after that day's."""
    return month_start(month_start(day) + 31)


class _DayOfHour(dict[int, int]):
    """Hour number -> local day number, filled as asked for: the hot path is one dict look-up."""

    def __init__(self, zone: Zone) -> None:
        super().__init__()
        self._zone = zone

    def __missing__(self, hour: int) -> int:
        ms = hour * HOUR_MS - self._zone.shift_ms
        day = self[hour] = (ms + self._zone.offset_ms(ms)) // DAY_MS
        return day


class Zone:
    """An IANA time zone, for instants in milliseconds UTC.

    Raises ConfigError for an unknown zone, and for the few whose clock changes are not whole hours at any time from 2020 until
    no event's time is taken any more (MAX_TIME_MS): there, hours cannot be numbered. Before 2020 no event counts; where a zone
    had other minutes then, the part of an hour beyond midnight is still of the day that the hour starts on.
    """

    def __init__(self, name: str) -> None:
        try:
            self._info = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ConfigError(f'unknown time zone "{name}": use an IANA name such as "Asia/Shanghai"') from error
        self.name = name
        #: What to add to an instant so that local hours start at multiples of an hour (30 min in India, else mostly 0).
        self.shift_ms = self.offset_ms(1_735_689_600_000) % HOUR_MS
        for ms in range(_CHECKED_FROM_MS, MAX_TIME_MS, _CHECK_EACH_MS):
            if self.offset_ms(ms) % HOUR_MS != self.shift_ms:
                raise ConfigError(f'time zone "{name}" changes its clock by less than an hour: not supported')
        #: Hour number -> day number.
        self.day_of_hour: dict[int, int] = _DayOfHour(self)
        self._day_starts: dict[int, int] = {}

    def offset_ms(self, ms: int) -> int:
        """Local time minus UTC at an instant, in milliseconds."""
        delta = (_EPOCH_AT + timedelta(milliseconds=ms)).astimezone(self._info).utcoffset()
        return int(delta.total_seconds() * 1000) if delta is not None else 0

    def hour(self, ms: int) -> int:
        """The hour number of an instant."""
        return (ms + self.shift_ms) // HOUR_MS

    def day(self, ms: int) -> int:
        """The local day number of an instant."""
        return self.day_of_hour[(ms + self.shift_ms) // HOUR_MS]

    def hour_start(self, hour: int) -> int:
        """The instant an hour starts at."""
        return hour * HOUR_MS - self.shift_ms

    def day_start(self, day: int) -> int:
        """The instant a local day starts at: its first one, also where midnight is skipped or comes twice."""
        start = self._day_starts.get(day)
        if start is None:
            hour = (day * DAY_MS - 15 * HOUR_MS) // HOUR_MS
            while self.day_of_hour[hour] < day:
                hour += 1
            start = self._day_starts[day] = self.hour_start(hour)
        return start

    def clock_hour(self, hour: int) -> int:
        """What a clock on the wall shows in that hour: 0 to 23."""
        ms = self.hour_start(hour)
        return (ms + self.offset_ms(ms)) % DAY_MS // HOUR_MS

"""Local days and hours: against the standard library's own, in every zone and for every time that an event may have."""

from __future__ import annotations

import struct
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.contract.errors import ConfigError
from ingest.contract.event import MAX_TIME_MS
from ingest.contract.zones import DAY_MS, HOUR_MS, Zone, date_of_day

FROM_MS = 1_577_836_800_000
HALF_HOURS = {"Australia/Lord_Howe", "Australia/LHI"}
NAMES = sorted(zoneinfo.available_timezones() - HALF_HOURS)
_zones: dict[str, Zone] = {}


def local(name: str, ms: int) -> datetime:
    """What calendar and clock show."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).astimezone(zoneinfo.ZoneInfo(name))


@given(st.sampled_from(NAMES), st.integers(FROM_MS, MAX_TIME_MS - 1))
def test_days_and_hours_are_those_of_calendar_and_clock(name: str, ms: int) -> None:
    zone = _zones.setdefault(name, Zone(name))
    there, hour, day = local(name, ms), zone.hour(ms), zone.day(ms)
    assert date_of_day(day) == there.date()
    assert zone.clock_hour(hour) == there.hour
    assert zone.hour_start(hour) <= ms < zone.hour_start(hour + 1) == zone.hour_start(hour) + HOUR_MS
    assert zone.day_start(day) <= ms < zone.day_start(day + 1)
    assert local(name, zone.day_start(day)).date() == there.date() != local(name, zone.day_start(day) - 1).date()


@pytest.mark.parametrize("name", sorted(HALF_HOURS))
def test_a_zone_that_changes_its_clock_by_half_an_hour_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="changes its clock by less than an hour"):
        Zone(name)


@pytest.fixture
def made_zones(tmp_path: Path) -> Iterator[Path]:
    """A folder that zones are looked for in before those of the system."""
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([str(tmp_path), *before])
    yield tmp_path
    zoneinfo.reset_tzpath(before)


@pytest.mark.parametrize("year", [2021, 2029, 2031, 2045, 2099])
def test_so_is_one_that_will_do_so_in_any_year_that_events_may_have(made_zones: Path, year: int) -> None:
    change = int(datetime(year, 6, 1, tzinfo=UTC).timestamp())
    head = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, 1, 2, 8)
    types = struct.pack(">lbblbb", 8 * 3600, 0, 0, 8 * 3600 + 1800, 0, 4) + b"AAA\0BBB\0"
    first = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, 0, 1, 4) + struct.pack(">lbb", 8 * 3600, 0, 0) + b"AAA\0"
    (made_zones / f"Made{year}").write_bytes(first + head + struct.pack(">qb", change, 1) + types + b"\nBBB-8:30\n")
    assert local(f"Made{year}", (change + 1) * 1000).utcoffset() == timedelta(hours=8.5)
    with pytest.raises(ConfigError, match="changes its clock by less than an hour"):
        Zone(f"Made{year}")


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match='unknown time zone "Asia/Atlantis"'):
        Zone("Asia/Atlantis")


def test_before_2020_an_hour_that_midnight_lies_in_is_of_the_day_that_it_starts_on() -> None:
    """Caracas was half an hour off from 2007 to 2016; nothing of then counts."""
    zone = Zone("America/Caracas")
    midnight = int(datetime(2010, 3, 1, 4, 30, tzinfo=UTC).timestamp() * 1000)
    assert local("America/Caracas", midnight).time().isoformat() == "00:00:00"
    day = midnight // DAY_MS
    assert [zone.day(midnight + minutes * 60_000) - day for minutes in (-31, -1, 0, 29, 30)] == [-1, -1, -1, -1, 0]

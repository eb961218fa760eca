"""The sum over all records at once (streams.bulk) against its definition, record by record (streams.contributions)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.contract.plan import Horizons
from ingest.contract.zones import DAY_MS, Zone
from streams.bits import each
from streams.bulk import sum_stored
from streams.clock import ScopeClock
from streams.codec import RecordFormatError, decode_record, encode_record
from streams.contributions import FunnelPlace, Scopes, sum_afresh
from streams.funnel import FunnelRule
from streams.horizon import horizon_of
from streams.lanes import PIECE_LANES, LaneCounts, pieces
from streams.names import Names
from streams.partition import NOT_PERSONS
from streams.record import Part, Record
from streams.totals import Totals
from tests.streams.test_record import DAY0, GAP, records
from tests.streams.test_stored_records import STORED, read_stored

#: By local midnights and clock changes: of these zones, at these hours after the newest day of any record.
ZONES = ["Asia/Shanghai", "UTC", "America/New_York", "Asia/Kolkata", "Australia/Adelaide"]
LATER_HOURS = st.one_of(st.integers(0, 100), st.integers(0, 24 * 100), st.just(24 * 500))


class World:
    """Apps 1 and 2, a group 3, scope 130 that has left the plan; funnel 9 of scope 1."""

    def __init__(self, zones: tuple[str, str], horizons: Horizons, now: int) -> None:
        self.horizon = horizon_of(horizons, 24)
        self.now = now
        own, other = (ScopeClock(Zone(name), self.horizon) for name in zones)
        for clock in (own, other):
            clock.advance(now)
        names = Names()
        self._names = names
        rule = FunnelRule(3, DAY_MS, self.horizon.keep_funnel_days)
        self.scopes = Scopes(
            {1: own, 2: other, 3: other}, {1: 501, 2: 502}, {9: FunnelPlace("buy", 1, own, rule, names.number, names.text)}
        )
        for facet in range(1200):
            names.number(f"facet {facet}")

    def totals(self) -> Totals:
        totals = Totals(GAP, lambda day: 700 + day)
        totals.forget_minutes(self.now // 60_000 - 120)
        return totals


def assert_equal(world: World, these: list[Record]) -> None:
    """Both sums of the records, as they come back from their bytes."""
    stored = [encode_record(record) for record in these]
    expected = sum_afresh(world.totals(), world.scopes, map(decode_record, stored))
    found = sum_stored(world.totals(), world.scopes, stored)
    assert {key: value for key, value in found.values().items() if value} == {
        key: value for key, value in expected.values().items() if value
    }
    minute = world.now // 60_000
    for scope in world.scopes.clocks:
        for facet in range(310):
            for at in (minute, minute - 100):
                assert found.active_now(scope, facet, at, "30m") == expected.active_now(scope, facet, at, "30m")
    assert not found.take_changed()
    assert not found.closed_changes


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_the_sum_at_once_is_the_sum_record_by_record(data: st.DataObject) -> None:
    zones = data.draw(st.sampled_from(ZONES)), data.draw(st.sampled_from(ZONES))
    horizons = data.draw(st.sampled_from([Horizons(late_days=5, late_hours=48), Horizons(late_days=2, late_hours=1), Horizons()]))
    now = (DAY0 + 62) * DAY_MS + data.draw(LATER_HOURS) * 3_600_000
    these = data.draw(st.lists(records(scopes=(1, 2, 3, 130)), max_size=5))
    if data.draw(st.booleans()):
        these.append(Record(target="u:1"))
    assert_equal(World(zones, horizons, now), these)


@st.composite
def wide_records(draw: st.DrawFn, horizons: Horizons) -> Record:
    """Records with more days and hours than 64."""
    horizon = horizon_of(horizons)
    record = Record()
    for scope in draw(st.sets(st.sampled_from([1, 2]), min_size=1)):
        day = DAY0 + draw(st.integers(0, 60))
        part = record.parts[scope] = Part(day, day * 24 + draw(st.integers(0, 23)), day - draw(st.integers(0, 120)))
        days, hours = draw(st.integers(0, horizon.day_mask)), draw(st.integers(0, horizon.hour_mask))
        seen = {0: (days | 1, hours | 1, part.hour * 60 + 3)}
        for facet in draw(st.sets(st.integers(1, 5), max_size=3)):
            seen[facet] = days & draw(st.integers(0, horizon.day_mask)), hours >> 1, part.hour * 60 - 70
        part.group(seen)
    return record


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_horizons_beyond_64_days_and_hours_are_summed_right(data: st.DataObject) -> None:
    horizons = data.draw(st.sampled_from([Horizons(late_days=45, late_hours=300), Horizons(late_days=400, late_hours=48)]))
    these = data.draw(st.lists(wide_records(horizons), max_size=4))
    now = (DAY0 + 62) * DAY_MS + data.draw(LATER_HOURS) * 3_600_000
    assert_equal(World(("UTC", "America/New_York"), horizons, now), these)


def test_many_records_are_more_than_a_piece() -> None:
    """More equal and unequal records than are worked on at a time."""
    these = []
    for number in range(2 * PIECE_LANES + 17):
        record = Record()
        for scope in (1, 2, 3)[: 1 + number % 3]:
            part = record.parts[scope] = Part(DAY0 + number % 40, (DAY0 + number % 40) * 24 + number % 24, DAY0 - number % 70)
            bits = (number * 2_654_435_761) & (1 << 38) - 1 | 1
            part.group({0: (bits, 1, part.hour * 60), 4: (bits, 1, part.hour * 60), 5 + number % 3: (bits & 21, 0, 0)})
        these.append(record)
    assert_equal(World(("UTC", "UTC"), Horizons(), (DAY0 + 41) * DAY_MS), these)


@pytest.mark.parametrize("path", sorted(STORED.glob("*.bin")), ids=lambda path: str(path.stem))
def test_records_of_every_version_are_summed_together(path: Path) -> None:
    stored = [value for key, value in read_stored(path).items() if key not in NOT_PERSONS]
    again = [encode_record(decode_record(value)) for value in stored]
    world = World(("UTC", "America/New_York"), Horizons(), int(datetime(2026, 11, 22, 13, tzinfo=UTC).timestamp() * 1000))
    expected = sum_afresh(world.totals(), world.scopes, map(decode_record, stored + again)).values()
    assert sum_stored(world.totals(), world.scopes, stored + again).values() == expected


def test_records_that_cannot_be_read_are_refused() -> None:
    world = World(("UTC", "UTC"), Horizons(), DAY0 * DAY_MS)
    for data, why in (
        (msgspec.msgpack.encode([99, []]), "version 99.*update it"),
        (b"\x94\x02\xc1", "cannot be read"),
        (b"", "does not begin with a version"),
    ):
        with pytest.raises(RecordFormatError, match=why):
            sum_stored(world.totals(), world.scopes, [data])


@settings(deadline=None)
@given(st.lists(st.integers(0, (1 << 72) - 1), max_size=70), st.integers(1, 40))
def test_bits_of_lanes_are_counted_by_position(numbers: list[int], times: int) -> None:
    counts = LaneCounts(72)
    for lanes in pieces(b"".join(one.to_bytes(9, "little") for one in numbers) * times, 9):
        counts.add(lanes)
    expected = [0] * 72
    for one in numbers:
        for position in each(one):
            expected[position] += times
    assert counts.by_position() == expected

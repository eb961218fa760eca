"""Receipts out of order, as from a collector's spool that drains while new traffic goes on: the numbers are the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.partition import Partition
from streams.rules import Rules
from tests.streams.plain import PlainEvent, recompute
from tests.streams.test_partition_properties import (
    BASES,
    DAY,
    HOUR,
    PARTITIONS,
    PERSONS,
    ZONES,
    Downstream,
    events_from,
    frame_of,
    plain_rules,
    plan_of,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_a_spool_that_drains_up_to_23_hours_late_changes_no_number(data: st.DataObject) -> None:
    base = int(data.draw(BASES).timestamp() * 1000)
    zone, project_zone = data.draw(ZONES), data.draw(ZONES)
    spooled = [replace(event, received=base) for event in data.draw(events_from(base, 5))]
    direct = data.draw(events_from(base + 3 * HOUR, 5))  # received up to 20 hours after that
    partition = Partition(Rules(plan_of(zone, project_zone)), "t", 0, PARTITIONS, {}, cached=10)
    downstream = Downstream()
    now = base + 23 * HOUR
    for frame in (direct, spooled):
        partition.apply_frame(frame_of(frame), 0, now)
        taken = partition.take(now)
        partition.commit(taken)
        assert not taken.rejected
        downstream.last |= dict(taken.totals)
    taken = partition.take(now + 40 * DAY)
    downstream.last |= dict(taken.totals)
    assert downstream.numbers() == recompute(spooled + direct, plain_rules(zone, project_zone, 5))


@pytest.mark.parametrize(("hours_late", "lost"), [(2, set()), (70, set()), (80, {"hour"}), (130, {"hour", "uses"})])
def test_later_than_that_only_windows_that_have_closed_lack_it(hours_late: int, lost: set[str]) -> None:
    """Of an event that was received as it happened; late_hours is 48, late_days 5."""
    base = int(datetime(2026, 11, 22, 9, tzinfo=UTC).timestamp() * 1000)
    now = base + hours_late * HOUR
    partition = Partition(Rules(plan_of("UTC", "UTC")), "t", 0, PARTITIONS, {}, cached=10)
    partition.apply_frame(frame_of([PlainEvent(PERSONS[1], "one", "view", now, now, id="new")]), 0, now)
    partition.apply_frame(frame_of([PlainEvent(PERSONS[0], "one", "app_launch", base, base, id="old")]), 1, now)
    downstream = Downstream()
    downstream.last |= dict(partition.take(now).totals)
    found = {
        (number.metric, number.window)
        for number in downstream.numbers()
        if number.day == datetime.fromtimestamp(base / 1000, UTC).date()
    }
    assert ("active_users", "day") in found
    assert (("active_users", "hour") not in found) == ("hour" in lost)
    assert (("launches", "day") not in found) == ("uses" in lost)
    assert (partition.totals.closed_changes > 0) == bool(lost)

"""Edges of counting that random events seldom meet, one by one."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest

from ingest.contract.errors import LayoutError
from ingest.contract.plan import App, Funnel, FunnelStep, Plan, Segment
from streams.contract.merge import MergeMessage, encode_merge
from streams.contract.total import Total, decode_total
from streams.partition import Partition
from streams.resolve import _MOST_REMEMBERED
from streams.rules import Rules
from tests.streams.plain import PlainEvent
from tests.streams.test_partition_properties import PARTITIONS, PERSONS, frame_of, plan_of

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
#: A midnight in UTC.
MIDNIGHT = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp() * 1000)
WHO = PERSONS[0]


def started(store: dict[bytes, bytes] | None = None, zone: str = "UTC") -> Partition:
    return Partition(Rules(plan_of(zone, zone)), "t", 0, PARTITIONS, {} if store is None else store, cached=10)


def view(time: int, received: int, person: str = WHO) -> PlainEvent:
    return PlainEvent(person, "one", "view", time, received)


def apply(partition: Partition, *events: PlainEvent) -> None:
    partition.apply_frame(frame_of(list(events)), 0, max(event.received for event in events))


def taken(partition: Partition, now: int) -> dict[tuple[str, str, str, int], int]:
    """(metric, window, day, hour) -> value, of app `one`, any activity."""
    result = partition.take(now)
    partition.commit(result)
    totals: list[Total] = [decode_total(line) for _, line in result.totals]
    return {(t.metric, t.window, t.day, t.hour): t.value for t in totals if (t.app, t.facet) == ("one", "")}


def test_two_late_days_of_one_person_both_count() -> None:
    partition = started()
    now = MIDNIGHT + 12 * HOUR
    apply(partition, view(now - 4 * DAY, now), view(now - 3 * DAY, now))
    totals = taken(partition, now)
    assert totals["active_users", "day", "2026-11-18", -1] == 1
    assert totals["active_users", "day", "2026-11-19", -1] == 1
    assert not [key for key in totals if key[1] == "hour"]
    assert partition.joiner.late_hours == 2


def test_a_day_beyond_the_horizon_is_counted_as_late_and_nowhere_else() -> None:
    partition = started()
    now = MIDNIGHT + 12 * HOUR
    apply(partition, view(now - 5 * DAY, now), view(now - 6 * DAY, now))
    totals = taken(partition, now)
    assert [key[2] for key in totals if key[:2] == ("active_users", "day")] == ["2026-11-17"]
    assert partition.joiner.late_days == 1


def test_an_event_before_midnight_that_comes_after_one_behind_it_adds_no_time_twice() -> None:
    partition = started()
    now = MIDNIGHT + HOUR
    apply(partition, view(MIDNIGHT - 10 * MINUTE, now), view(MIDNIGHT + 5 * MINUTE, now))
    first = taken(partition, now)
    assert first["usage_ms", "day", "2026-11-21", -1] == 10 * MINUTE
    assert first["usage_ms", "day", "2026-11-22", -1] == 5 * MINUTE
    assert first["sessions", "day", "2026-11-21", -1] == 1
    assert ("sessions", "day", "2026-11-22", -1) not in first
    apply(partition, view(MIDNIGHT - 5 * MINUTE, now))
    assert not [key for key in taken(partition, now) if key[0] in ("usage_ms", "sessions")]


def test_active_now_falls_back_to_zero_as_minutes_pass() -> None:
    partition = started()
    now = MIDNIGHT + 12 * HOUR + 30_000
    apply(partition, view(now, now))
    assert taken(partition, now)["active_users", "5m", "2026-11-22", -1] == 1
    assert ("active_users", "5m", "2026-11-22", -1) not in taken(partition, now + 4 * MINUTE)
    assert taken(partition, now + 5 * MINUTE)["active_users", "5m", "2026-11-22", -1] == 0
    assert taken(partition, now + 30 * MINUTE)["active_users", "30m", "2026-11-22", -1] == 0


def test_a_clock_that_is_set_back_loses_nobody_who_is_active_now() -> None:
    partition = started()
    now = MIDNIGHT + 12 * HOUR
    apply(partition, view(now - 15 * MINUTE, now), view(now - 15 * MINUTE, now, PERSONS[1]))
    assert taken(partition, now + 20 * MINUTE).get(("active_users", "30m", "2026-11-22", -1)) == 0
    apply(partition, view(now + MINUTE, now + MINUTE))
    told = taken(partition, now + MINUTE)
    assert (told["active_users", "30m", "2026-11-22", -1], told["active_users", "5m", "2026-11-22", -1]) == (2, 1)


def test_a_restart_tells_active_now_and_the_trailing_windows_of_days_gone_by() -> None:
    store: dict[bytes, bytes] = {}
    partition = started(store)
    now = MIDNIGHT + 12 * HOUR
    apply(partition, view(now, now))
    taken(partition, now)
    again = taken(started(store), now + 2 * DAY)
    assert again["active_users", "5m", "2026-11-24", -1] == 0
    assert again["active_users", "7d", "2026-11-24", -1] == 1
    assert ("active_users", "7d", "2026-11-25", -1) not in again


def test_closed_windows_keep_their_last_value_when_time_jumps() -> None:
    partition = started()
    apply(partition, view(MIDNIGHT + HOUR, MIDNIGHT + HOUR))
    later = MIDNIGHT + 200 * DAY
    apply(partition, view(later, later))
    totals = taken(partition, later)
    assert totals["active_users", "day", "2026-11-22", -1] == 1
    assert totals["active_users", "hour", "2026-11-22", 1] == 1
    assert not [key for key in taken(partition, later + 1) if key[2] == "2026-11-22"]


def test_a_changed_time_zone_is_refused_because_old_days_would_mean_something_else() -> None:
    store: dict[bytes, bytes] = {}
    partition = started(store)
    apply(partition, view(MIDNIGHT, MIDNIGHT))
    taken(partition, MIDNIGHT)
    with pytest.raises(LayoutError, match=r"zone of one was UTC.*is Asia/Shanghai now.*project.layout"):
        started(store, "Asia/Shanghai")


def with_funnel(store: dict[bytes, bytes], *steps: str, funnel: str = "f") -> Partition:
    funnels = [Funnel(id=funnel, app="one", steps=[FunnelStep(event=step) for step in steps])] if steps else []
    return Partition(Rules(Plan(apps=[App(id="one")], funnels=funnels)), "t", 0, 1, store, cached=10)


def test_a_funnel_that_changes_is_refused_because_records_hold_numbers_of_its_steps() -> None:
    store: dict[bytes, bytes] = {}
    partition = with_funnel(store, "open", "view")
    apply(partition, view(MIDNIGHT, MIDNIGHT))
    taken(partition, MIDNIGHT)
    with pytest.raises(LayoutError, match=r"funnel f was .*open.*view.* is .*view.*open.* now: .*new id"):
        with_funnel(store, "view", "open")
    without = with_funnel(store)  # it may leave the plan, and a new one may come
    apply(without, view(MIDNIGHT + 1, MIDNIGHT + 1))
    taken(without, MIDNIGHT)
    renamed = with_funnel(store, "view", "open", funnel="g")
    apply(renamed, view(MIDNIGHT + 2, MIDNIGHT + 2))
    taken(renamed, MIDNIGHT)
    with pytest.raises(LayoutError, match="funnel f was"):  # what it was is not forgotten meanwhile
        with_funnel(store, "view", "open")
    with pytest.raises(LayoutError, match="funnel g was"):
        with_funnel(store, "open", "view", funnel="g")
    with_funnel(store, "open", "view")


def test_names_and_values_that_clients_make_up_take_no_more_than_so_much_memory() -> None:
    segments = [Segment(id="kind", source="props.kind", values=["a"])]
    partition = Partition(Rules(Plan(apps=[App(id="one")], segments=segments)), "t", 0, 1, {}, cached=10)
    for start in range(0, _MOST_REMEMBERED + 20_000, 10_000):
        lines = [
            {"id": "1", "person": "u:1", "app": "one", "event": f"e{number}", "time": MIDNIGHT, "received": MIDNIGHT}
            | ({"type": "identify"} if number % 2 else {"props": {"kind": [1]}})
            for number in range(start, start + 10_000)
        ]
        partition.apply_frame(b"\n".join(map(orjson.dumps, lines)), 0, MIDNIGHT)
    assert len(partition._resolver._kinds) <= _MOST_REMEMBERED


def test_an_event_of_a_merged_id_that_is_too_late_is_counted_as_late() -> None:
    partition = Partition(Rules(Plan(apps=[App(id="one")])), "t", 0, 1, {}, cached=10)
    claim = MergeMessage(kind="claim", person="a:1", target="u:1", clock=MIDNIGHT)
    partition.apply_merges(encode_merge(claim), 0, MIDNIGHT)
    apply(partition, view(MIDNIGHT - 60 * DAY, MIDNIGHT, "a:1"), view(MIDNIGHT - 5 * DAY, MIDNIGHT, "a:1"))
    taken(partition, MIDNIGHT)
    assert (partition.joiner.late_days, partition.joiner.late_hours) == (1, 1)

"""A partition that starts from a snapshot of its totals has the same totals as one that sums all its records up.

`tests/streams/stored/snapshot<version>.msgpack` is a changelog ([key, value], ...) with a snapshot, as it was written when
streams.snapshot.VERSION was that. What totals hold must not change without that version; when it rises, make a new one:

    python -m tests.streams.test_snapshot
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from ingest.contract.settings import read_settings
from streams.codec import STATE_KEY
from streams.contract.merge import MergeMessage, encode_merge
from streams.contract.total import decode_total
from streams.partition import Partition, Taken
from streams.rules import Rules
from streams.snapshot import PIECE_BYTES, SNAPSHOT_KEY, VERSION, ChangelogReader, digest, snapshot_records
from streams.snapshotting import SnapshotRule, start_of
from streams.totals import Key, TotalsState
from tests.streams.plain import PlainEvent
from tests.streams.test_partition_properties import (
    BASES,
    DAY,
    HOUR,
    PARTITIONS,
    PERSONS,
    ZONES,
    events_from,
    frame_of,
    plan_of,
)
from tests.streams.test_stored_records import STORED, read_stored

Changes = list[tuple[bytes, bytes | None]]
NOW = 1_795_312_800_000
#: When time alone makes a snapshot due.
OFTEN = SnapshotRule(records=1, passed_ms=0)


def written(taken: Taken) -> Changes:
    """What a checkpoint puts into the changelog, in order."""
    return [*taken.records, *taken.snapshot]


def compacted(changes: Changes, upto: int) -> Changes:
    """The log when compaction has come so far: of each key only the last there is."""
    last = {key: index for index, (key, _) in enumerate(changes[:upto])}
    return [change for index, change in enumerate(changes) if index >= upto or last[change[0]] == index]


def read_again(rules: Rules, changes: Iterable[tuple[bytes, bytes | None]]) -> tuple[Partition, bool, dict[bytes, bytes]]:
    """A partition made from the log; whether from a snapshot; its records."""
    records: dict[bytes, bytes] = {}
    reader = ChangelogReader(records)
    reader.read(changes)
    recovered = reader.found()
    start = start_of(rules, records, recovered) if recovered is not None else None
    return Partition(rules, "t", 0, PARTITIONS, records, cached=2, start=start), start is not None, records


def assert_as_summed_afresh(partition: Partition, records: dict[bytes, bytes]) -> None:
    afresh = partition.summed_afresh()
    assert {key: value for key, value in partition.totals.values().items() if value} == {
        key: value for key, value in afresh.values().items() if value
    }
    oldest = afresh.oldest_minute
    assert minutes_since(partition.totals.state(), oldest) == minutes_since(afresh.state(), oldest)
    assert partition.snapshotting.digest == digest(records)


def minutes_since(state: TotalsState, oldest: int) -> dict[tuple[int, int, int], int]:
    return {
        (*where, minute): persons
        for where, found in state.minutes.items()
        for minute, persons in found.items()
        if persons and minute >= oldest
    }


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_totals_from_a_snapshot_are_those_of_all_records(data: st.DataObject) -> None:
    base = int(data.draw(BASES).timestamp() * 1000)
    late_days = data.draw(st.sampled_from([5, 45]))
    rules = Rules(plan_of(data.draw(ZONES), data.draw(ZONES), late_days))
    changes: Changes = []
    partition, *_ = read_again(rules, changes)
    used, handed_over = 0, list[bytes]()
    for _ in range(data.draw(st.integers(2, 5))):
        base += data.draw(st.sampled_from([0, 0, 1, 2, 9, 40])) * DAY
        now = base + 21 * HOUR
        forgotten = data.draw(st.sampled_from(["", "", "before", "after"]))
        if forgotten == "before":  # who comes now is somebody new
            partition.forget(data.draw(st.sampled_from(PERSONS)))
        for line in handed_over:
            partition.apply_merges(line, 0, now)
        partition.apply_frame(frame_of(data.draw(events_from(base, late_days))), 0, now)
        if forgotten == "after":
            partition.forget(data.draw(st.sampled_from(PERSONS)))
        if data.draw(st.booleans()) and data.draw(st.booleans()):
            one, target = data.draw(st.permutations(PERSONS))[:2]
            partition.apply_merges(encode_merge(MergeMessage(kind="claim", person=one, target=target)), 0, now)
        ahead = data.draw(st.sampled_from([0, 0, HOUR]))  # the clock of the machine that has the partition just then
        taken = partition.take(now + ahead, snapshot=data.draw(st.booleans()))
        handed_over = [line for number, line in taken.merges if number == 0]
        changes += written(taken)
        partition.commit(taken)
        if data.draw(st.booleans()):
            log = compacted(changes, data.draw(st.integers(0, len(changes))))
            partition, from_snapshot, records = read_again(rules, log)
            used += from_snapshot
            assert_as_summed_afresh(partition, records)
            if data.draw(st.booleans()):
                changes = log
    event(f"from a snapshot {min(used, 2)} times or more")


def traffic(seed: int, persons: Sequence[str], days: int = 3) -> list[PlainEvent]:
    rng = random.Random(seed)
    found = []
    for number in range(300):
        received = NOW + seed * DAY - rng.randrange(days * DAY)
        name = rng.choice(["app_launch", "view", "pay"])
        who = rng.choice(persons)
        time = received - rng.randrange(HOUR)
        found.append(PlainEvent(who, rng.choice(["one", "two"]), name, time, received, "ios", id=f"{seed}/{number}"))
    return found


def lived(rules: Rules, rounds: int = 4, snapshot: int = 1) -> Changes:
    """The log of a partition that wrote a snapshot in the round of that number only."""
    partition, *_ = read_again(rules, [])
    changes: Changes = []
    for number in range(rounds):
        partition.apply_frame(frame_of(traffic(number, PERSONS)), 0, NOW + number * DAY)
        taken = partition.take(NOW + number * DAY, snapshot=number == snapshot)
        assert bool(taken.snapshot) == (number == snapshot)
        changes += written(taken)
        partition.commit(taken)
    return changes


@pytest.fixture
def rules() -> Rules:
    return Rules(plan_of("Asia/Shanghai", "UTC", 45))


def test_what_changed_behind_the_snapshot_is_counted(rules: Rules) -> None:
    partition, from_snapshot, records = read_again(rules, lived(rules))
    assert from_snapshot
    assert_as_summed_afresh(partition, records)


@pytest.mark.parametrize(("ago", "platform"), [(0, "web"), (3 * HOUR, "ios"), (2 * DAY, "ios")])
def test_who_was_forgotten_since_the_snapshot_and_came_again_is_counted_as_who_they_are_now(
    rules: Rules, ago: int, platform: str
) -> None:
    who, other = PERSONS[:2]
    first = [PlainEvent(one, "one", "view", NOW, NOW, "ios", id=one) for one in (who, other)]
    again = PlainEvent(who, "one", "view", NOW - ago, NOW, platform, id="again")  # on another device, or before what was known
    partition, *_ = read_again(rules, [])
    partition.apply_frame(frame_of(first), 0, NOW)
    changes = written(taken := partition.take(NOW, snapshot=True))
    partition.commit(taken)
    partition.forget(who)
    partition.apply_frame(frame_of([again]), 0, NOW)
    changes += written(partition.take(NOW, snapshot=False))
    partition, from_snapshot, records = read_again(rules, changes)
    assert from_snapshot
    assert_as_summed_afresh(partition, records)


def test_a_snapshot_by_a_machine_whose_clock_was_ahead_holds_who_is_active_now_by_the_right_one(rules: Rules) -> None:
    minute = 60_000
    ahead, now = NOW + 20 * minute, NOW + minute
    partition, *_ = read_again(rules, [])
    seen = [PlainEvent(who, "one", "view", NOW - 15 * minute, NOW, "ios", id=who) for who in PERSONS[:3]]
    partition.apply_frame(frame_of(seen), 0, NOW)
    changes = written(taken := partition.take(ahead, snapshot=True))
    partition.commit(taken)
    partition, from_snapshot, records = read_again(rules, changes)
    assert from_snapshot
    assert_as_summed_afresh(partition, records)
    partition.apply_frame(frame_of([PlainEvent(PERSONS[0], "one", "view", now, now, "ios", id="again")]), 0, now)
    told = [decode_total(line) for _, line in partition.take(now).totals]
    assert {total.window: total.value for total in told if (total.app, total.facet) == ("one", "") and total.start == 0} == {
        "5m": 1,
        "30m": 3,
    }


def test_a_snapshot_of_other_records_than_those_that_are_there_is_not_used(rules: Rules) -> None:
    changes = lived(rules)
    at = next(index for index, (key, _) in enumerate(changes) if key.startswith(SNAPSHOT_KEY))
    # a compaction beyond the snapshot took away what some records were then
    assert not read_again(rules, compacted(changes, len(changes)))[1]
    # one that ends before it took nothing of it
    assert read_again(rules, compacted(changes, at))[1]
    # a record that it knows of is missing
    without = next(index for index, (key, _) in enumerate(changes) if key.startswith(b"u:"))
    lost = compacted(changes, at)
    lost = [change for change in lost if change != changes[without]] if changes[without] in lost else lost[1:]
    assert not read_again(rules, [change for change in lost if change[0] != changes[without][0]])[1]


def test_a_snapshot_by_other_definitions_is_not_used(rules: Rules) -> None:
    records: dict[bytes, bytes] = {}
    reader = ChangelogReader(records)
    reader.read(lived(rules))
    recovered = reader.found()
    assert recovered is not None
    assert start_of(rules, records, recovered) is not None
    plan = plan_of("Asia/Shanghai", "UTC", 45)
    fewer = Rules(plan_of("Asia/Shanghai", "UTC", 45))
    fewer.fingerprint = Rules(type(plan)(project=plan.project, horizons=plan.horizons, apps=plan.apps[:1])).fingerprint
    assert start_of(fewer, records, recovered) is None
    del records[STATE_KEY]  # it speaks of names that are nowhere
    assert start_of(rules, records, recovered) is None


def test_a_snapshot_that_is_not_whole_is_none_and_a_newer_whole_one_counts() -> None:
    values = {Key("active_users", 1, facet, "day", 20_000 + facet): facet * 7_919 for facet in range(1, 200_000)}
    pieces = snapshot_records(TotalsState(values, {}), 1, "{}", 0, 0)
    assert len(pieces) >= 3
    assert all(len(value) < PIECE_BYTES + 100 for _, value in pieces)
    for broken in (pieces[1:], pieces[:-1], [*pieces[:1], *pieces[2:]], [(key, value[:-1]) for key, value in pieces]):
        reader = ChangelogReader({})
        reader.read(broken)
        assert reader.found() is None
        reader.read([(b"u:1", b"x"), *pieces, (b"u:1", b"y")])
        found = reader.found()
        assert found is not None
        assert found.before == {b"u:1": b"x"}
    small = snapshot_records(TotalsState({}, {}), 2, "{}", 0, 0)
    reader = ChangelogReader({})
    reader.read(compacted([*pieces, *small], len(pieces) + len(small)))  # the end of the first lies before the second
    found = reader.found()
    assert found is not None
    assert found.snapshot != b""


def test_a_snapshot_is_due_when_enough_has_changed_and_time_has_passed(rules: Rules) -> None:
    def partition(rule: SnapshotRule) -> Partition:
        one = Partition(rules, "t", 0, PARTITIONS, {}, cached=2, snapshots=rule)
        one.apply_frame(frame_of(traffic(0, PERSONS)), 0, NOW)
        return one

    assert not partition(SnapshotRule(records=1000, passed_ms=0)).take(NOW).snapshot
    often = partition(OFTEN)
    taken = often.take(NOW)
    assert taken.snapshot
    often.commit(taken)
    assert not often.take(NOW + 1000).snapshot, "nothing has changed"
    seldom = partition(SnapshotRule(records=1, passed_ms=60_000))
    seldom.commit(seldom.take(NOW))
    seldom.apply_frame(frame_of(traffic(1, PERSONS)), 0, NOW + DAY)
    assert not seldom.take(NOW + 30_000).snapshot
    assert seldom.take(NOW - DAY).snapshot, "a clock that was ahead by a day holds up snapshots for a day"


def stored_rules() -> Rules:
    return Rules(read_settings(json.loads((STORED / "v2.json").read_text())["plan"], {}))


def test_a_snapshot_that_was_stored_by_this_version_is_what_this_version_sums_up() -> None:
    changes = msgspec.msgpack.decode((STORED / f"snapshot{VERSION}.msgpack").read_bytes(), type=list[tuple[bytes, bytes]])
    records: dict[bytes, bytes] = {}
    reader = ChangelogReader(records)
    reader.read(changes)
    recovered = reader.found()
    assert recovered is not None
    start = start_of(stored_rules(), records, recovered)
    assert start is not None, "it is not read, or not taken for one of these records: raise streams.snapshot.VERSION"
    partition = Partition(stored_rules(), "events", 0, 1, records, cached=10, start=start)
    assert_as_summed_afresh(partition, records)


def main() -> None:
    """Writes a snapshot of the stored records of version 2 beside them."""
    store = read_stored(STORED / "v2.bin")
    partition = Partition(stored_rules(), "events", 0, 1, store, cached=10)
    taken = partition.take(partition.clock, snapshot=True)
    changes = [*store.items(), *taken.records, *taken.snapshot]
    (STORED / f"snapshot{VERSION}.msgpack").write_bytes(msgspec.msgpack.encode(changes))


if __name__ == "__main__":
    main()

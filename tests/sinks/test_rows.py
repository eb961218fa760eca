"""Batches: what becomes one INSERT, and how rows are stamped."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.contract.rejected import Rejected
from sinks.ages import Ages
from sinks.clickhouse.errors import Remedy, backoff, remedy
from sinks.clickhouse.kinds import next_offset
from sinks.clickhouse.landing import land
from sinks.clickhouse.rows import EventsBatch, Insert, MetricsBatch, RejectedBatch, Row, together, with_fields
from streams.contract.total import Total, encode_total


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def line(number: int = 0, received: int = ms("2026-11-21T12:00"), **more: Any) -> bytes:
    event = {"id": f"e{number}", "app": "harbor", "person": "u:1", "event": "x", "time": received, "received": received}
    return json.dumps(event | more).encode()


def total(**more: Any) -> Total:
    fields: dict[str, Any] = {
        "metric": "active_users",
        "app": "harbor",
        "facet": "",
        "window": "day",
        "start": 0,
        "day": "2026-11-21",
        "hour": -1,
        "layout": "1",
        "partition": 2,
        "value": 1,
        "at": 0,
    }
    return Total(**(fields | more))


def test_all_of_one_month_is_one_insert_stamped_with_the_last_offset() -> None:
    batch = EventsBatch(3)
    batch.add(7, b"\n".join([line(1), line(2)]))
    batch.add(9, line(3))
    (insert,) = batch.inserts()
    assert [row.line for row in insert.rows] == [line(1), line(2), line(3)]
    assert [(row.offset, row.number) for row in insert.rows] == [(7, 0), (7, 1), (9, 0)]
    assert (insert.before, insert.last) == (6, 9)
    assert (batch.rows, batch.apps["harbor"], batch.newest) == (3, 3, {"harbor": ms("2026-11-21T12:00")})


def test_a_batch_across_months_is_stamped_with_its_last_offset_only_at_the_end() -> None:
    batch = EventsBatch(0)
    batch.add(0, b"\n".join([line(1, ms("2026-11-30T23:59:59.999")), line(2, ms("2026-12-01T00:00"))]))
    batch.add(1, line(3, ms("2026-11-30T12:00")))
    first, second = batch.inserts()
    assert [row.line for row in first.rows] == [line(1, ms("2026-11-30T23:59:59.999")), line(3, ms("2026-11-30T12:00"))]
    assert [row.line for row in second.rows] == [line(2, ms("2026-12-01T00:00"))]
    assert (first.before, first.last, second.before, second.last) == (-1, -1, -1, 1)


def test_a_bad_line_is_counted_and_the_lines_after_it_keep_their_numbers() -> None:
    batch = EventsBatch(0)
    batch.add(5, b"\n".join([line(1), b"garbage", line(2)]))
    (insert,) = batch.inserts()
    assert [(row.line, row.number) for row in insert.rows] == [(line(1), 0), (line(2), 2)]
    assert (batch.skipped, batch.rows) == (1, 2)


def test_a_line_nested_too_deep_is_a_bad_line_and_does_not_end_the_sink() -> None:
    deep = line(9).replace(b'"x"', b'"x", "props": {"n": ' + b"[" * 5000 + b"]" * 5000 + b"}")
    batch = EventsBatch(0)
    batch.add(5, b"\n".join([line(1), deep, line(2)]))
    (insert,) = batch.inserts()
    assert [row.number for row in insert.rows] == [0, 2]
    assert batch.skipped == 1


def test_a_frame_without_a_good_line_is_no_insert_but_moves_on() -> None:
    batch = EventsBatch(0)
    batch.add(5, b"garbage")
    batch.add(6, b"")
    assert batch.inserts() == []
    assert batch.last_offset == 6


def test_of_totals_the_last_of_each_key_goes_in_with_its_offset_as_version() -> None:
    batch = MetricsBatch(2)
    batch.add(10, encode_total(total(value=1)))
    batch.add(11, encode_total(total(value=5, facet="platform:ios")))
    batch.add(12, encode_total(total(value=2)))
    (insert,) = batch.inserts()
    rows = [json.loads(row.line) for row in insert.rows]
    assert [(row["facet"], row["value"], row["version"]) for row in rows] == [("", 2, 12), ("platform:ios", 5, 11)]
    assert batch.rows == 2


def test_a_total_of_another_partition_or_no_total_at_all_is_skipped() -> None:
    batch = MetricsBatch(2)
    batch.add(10, encode_total(total(partition=1)))
    batch.add(11, b"{}")
    assert batch.inserts() == []
    assert batch.skipped == 2


def test_rejected_lines_carry_their_place_in_the_rejected_topic() -> None:
    batch = RejectedBatch(0, "t.rejected")
    batch.add(4, msgspec.json.encode(Rejected(at=1, stage="worker", reason="bad_line", detail="d", payload='{"kafka_offset":9}')))
    batch.add(5, b"nonsense")
    (insert,) = batch.inserts()
    row = json.loads(insert.rows[0].line)
    assert (row["kafka_topic"], row["kafka_partition"], row["kafka_offset"], row["payload"]) == (
        "t.rejected",
        0,
        4,
        '{"kafka_offset":9}',
    )
    assert batch.skipped == 1


def test_fields_are_put_at_the_end_of_an_object() -> None:
    assert with_fields(b' {"a":{}} \n', b=1, c="x") == b' {"a":{},"b":1,"c":"x"}'


class Picky:
    """Takes at most `most` rows at once and none of the bad ones, like a ClickHouse. `calls`: how often it was asked."""

    def __init__(self, bad: set[int], most: int) -> None:
        self.bad = bad
        self.most = most
        self.calls = 0
        self.landed: list[int] = []
        self.stamps: list[int] = []
        self.refused: list[int] = []

    def insert(self, rows: list[Row], offset: int) -> Remedy | None:
        self.calls += 1
        if len(rows) > self.most:
            return Remedy.TOO_LARGE
        if any(row.number in self.bad for row in rows):
            return Remedy.BAD_ROW
        self.landed += [row.number for row in rows]
        self.stamps.append(offset)
        return None

    def insert_readable(self, rows: list[Row], offset: int) -> int | None:
        self.calls += 1
        if len(rows) > self.most:
            return None
        good = [row for row in rows if row.number not in self.bad]
        if good:
            self.insert(good, offset)
        return len(good)

    def doubt(self, row: Row) -> str:
        return "odd" if row.line else ""

    def refuse(self, rows: list[Row], why: list[str]) -> None:
        assert len(rows) == len(why)
        self.refused += [row.number for row in rows]


_NUMBERS = st.sets(st.integers(0, 199), max_size=8)


def _rows(size: int, doubtful: set[int]) -> list[Row]:
    return [Row(b"x" if number in doubtful else b"", 0, 5, number) for number in range(size)]


@given(st.integers(1, 200), _NUMBERS, _NUMBERS, st.integers(1, 200))
def test_every_good_row_lands_and_every_bad_one_is_refused(size: int, bad: set[int], doubtful: set[int], most: int) -> None:
    bad = {number for number in bad if number < size}
    target = Picky(bad, most)
    assert land(Insert(_rows(size, doubtful), before=4, last=9), target) == len(bad)
    assert set(target.landed) == set(range(size)) - bad
    assert sorted(target.refused) == sorted(bad)
    if not doubtful - bad:
        assert len(target.landed) == size - len(bad), "none twice"
    # The last offset only on the very last rows: until they are in, a crash must bring the batch back.
    assert set(target.stamps[:-1]) <= {4}
    if size - 1 not in bad | doubtful:
        assert target.stamps[-1] == 9


@pytest.mark.parametrize("every", [1, 2, 10, 999])
def test_however_many_rows_are_bad_few_inserts_find_them(every: int) -> None:
    bad = set(range(0, 1000, every))
    target = Picky(bad, most=1000)
    land(Insert(_rows(1000, bad), before=4, last=9), target)
    assert target.refused == sorted(bad)
    assert target.landed == [number for number in range(1000) if number not in bad]
    assert target.calls <= 5


def test_reading_goes_on_after_what_clickhouse_holds_or_from_the_start() -> None:
    assert next_offset(41, 30, 10, atomic=True) == 42
    assert next_offset(41, None, 10, atomic=True) == 42
    assert next_offset(None, 30, 10, atomic=True) == 10


def test_where_an_insert_can_land_in_part_what_was_not_committed_is_read_again() -> None:
    assert next_offset(41, 30, 10, atomic=False) == 30
    assert next_offset(41, None, 10, atomic=False) == 10
    assert next_offset(41, 60, 10, atomic=False) == 42  # the table was restored from before the commit
    assert next_offset(None, 30, 10, atomic=False) == 10


def test_totals_of_all_partitions_go_in_together() -> None:
    first, second, empty = MetricsBatch(2), MetricsBatch(1), MetricsBatch(0)
    first.add(10, encode_total(total(value=1)))
    second.add(3, encode_total(total(value=1, partition=1)))
    (insert,) = together([first, second, empty])
    assert [(row.partition, row.offset) for row in insert.rows] == [(2, 10), (1, 3)]
    assert together([empty]) == []


def test_remedies() -> None:
    assert remedy(243, "", False) is Remedy.RETRY  # disk full
    assert remedy(164, "", False) is Remedy.RETRY  # read-only
    assert remedy(242, "", False) is Remedy.RETRY
    assert remedy(117, "", False) is Remedy.BAD_ROW
    assert remedy(241, "", False) is Remedy.TOO_LARGE
    assert remedy(60, "", False) is Remedy.FATAL  # the table is gone
    assert remedy(None, "Connection refused", True) is Remedy.RETRY
    assert remedy(None, "HTTP driver received HTTP status 502", False) is Remedy.RETRY
    assert remedy(None, "HTTP driver received HTTP status 413", False) is Remedy.TOO_LARGE
    assert remedy(None, "a mistake in the program", False) is Remedy.FATAL


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_waits_grow_with_jitter_up_to_half_a_minute(attempt: int, spread: float) -> None:
    assert 0.25 <= backoff(attempt, spread) <= 30.0
    assert backoff(1, spread) <= 0.5


def test_receipts_are_of_every_event_and_of_the_oldest_event_of_each_checkpoint() -> None:
    events = EventsBatch(0)
    events.add(1, b"\n".join([line(1), line(2), line(3)]))
    events.add(2, line(4, ms("2026-11-21T12:01")))
    assert events.receipts == {ms("2026-11-21T12:00"): 3, ms("2026-11-21T12:01"): 1}
    totals = MetricsBatch(2, "1")
    said: list[dict[str, Any]] = [
        {"facet": "a"},
        {"facet": "b"},
        {"at": 90, "oldest": 60},
        {"at": 95, "oldest": 0},
        {"layout": "2"},
    ]
    for offset, more in enumerate(said):
        totals.add(offset, encode_total(total(**({"at": 50, "oldest": 20} | more))))
    assert totals.receipts == {20: 1, 60: 1}, "time alone, and another layout, say nothing of freshness"


def test_ages_fall_between_their_bounds_and_are_never_below_zero() -> None:
    ages = Ages()
    for age, times in ((-5, 1), (100, 2), (101, 1), (4_000_000, 3)):
        ages.add(age, times)
    counts, seconds = ages.distribution()
    assert counts[:2] == (3, 1)
    assert counts[-1] == 3
    assert sum(counts) == 7
    assert seconds == pytest.approx(0.2 + 0.101 + 12_000)

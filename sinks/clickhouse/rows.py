"""From Kafka records to the rows of one INSERT: batches of one partition, by rule and without clock or I/O.

An INSERT is one part in ClickHouse, so that it lands wholly or not at all: events of one month of receipt, fewer rows than a
block holds. Its rows carry the last offset of the batch; after a crash that offset says where to go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from typing import NamedTuple, Protocol

import msgspec

from ingest.contract.control import Control, UnknownControlError, read_control
from ingest.contract.errors import LayoutError
from ingest.contract.event import good_lines
from ingest.contract.rejected import Rejected
from ingest.contract.zones import DAY_MS, month_start
from streams.contract.merge import decode_merge, merge_lines
from streams.contract.total import decode_total

#: Raw bytes of a batch beyond which it is inserted: far from where ClickHouse would cut a block (256 MiB in memory).
MAX_BATCH_BYTES = 48 * 1024 * 1024


class Row(NamedTuple):
    """One JSON line for ClickHouse, and whence it came: partition and offset of its record, number in the frame."""

    line: bytes
    partition: int
    offset: int
    number: int


class Insert(NamedTuple):
    """Rows that go in together.

    `last` is the offset that they may be stamped with once all of the batch are in; a part of it that goes in before the others
    is stamped with `before`, so that a crash in between has the whole batch sent again.
    """

    rows: list[Row]
    before: int
    last: int


class Batch(Protocol):
    """Records of one partition, gathered until they are inserted. `ends`: nothing may come into it any more."""

    partition: int
    first_offset: int
    last_offset: int
    rows: int
    size: int
    skipped: int
    receipts: Counter[int]
    ends: bool

    def add(self, offset: int, value: bytes) -> None:
        """Takes one record; offsets come in rising order."""

    def inserts(self) -> list[Insert]:
        """What to insert, in this order."""


class _Gathered:
    """What all batches count. Offsets are -1 while empty."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.first_offset = -1
        self.last_offset = -1
        self.rows = 0
        self.size = 0
        self.skipped = 0
        self.ends = False
        #: Receipt (ms) -> how many events, or how many checkpoints whose oldest event that is.
        self.receipts: Counter[int] = Counter()

    def _record(self, offset: int) -> None:
        if self.first_offset < 0:
            self.first_offset = offset
        self.last_offset = offset


class EventsBatch(_Gathered):
    """Frames: the good lines go on as they are; lines that are none are counted only (the worker rejects them)."""

    def __init__(self, partition: int) -> None:
        super().__init__(partition)
        self._months: dict[int, list[Row]] = {}
        #: A control line ends the batch: rows before it are stamped with an offset before its own, those after it are not.
        self.controls: list[Control] = []
        #: Events by app and by (app, event name), and the newest receipt of each app (ms).
        self.apps: Counter[str] = Counter()
        self.names: Counter[tuple[str, str]] = Counter()
        self.newest: dict[str, int] = {}

    def add(self, offset: int, value: bytes) -> None:
        self._record(offset)
        good, bad = good_lines(value)
        found = [control for one in bad if (control := _control(one.payload)) is not None]
        self.controls += found
        self.ends = self.ends or bool(found)
        self.skipped += len(bad) - len(found)
        self.rows += len(good)
        self.size += len(value)
        if good:
            self.receipts[good[0][0].received] += len(good)  # a frame's events came within milliseconds of each other
        taken = {one.line for one in bad}
        numbers = (number for number in count() if number not in taken)
        for number, (head, line) in zip(numbers, good, strict=False):
            self.apps[head.app] += 1
            self.names[head.app, head.event] += 1
            if head.received > self.newest.get(head.app, 0):
                self.newest[head.app] = head.received
            self._months.setdefault(_month(head.received // DAY_MS), []).append(Row(line, self.partition, offset, number))

    def inserts(self) -> list[Insert]:
        before = self.first_offset - 1
        months = [self._months[month] for month in sorted(self._months)]
        return [
            Insert(rows, before, self.last_offset - self.ends if index == len(months) - 1 else before)
            for index, rows in enumerate(months)
        ]


class MetricsBatch(_Gathered):
    """Totals: the last of each key; the offset is the version. A line that is no total of this partition, nor a
    correction (streams.contract.total), is skipped.

    layout: the one that is served; the totals of others were made of events of long ago, which says nothing of freshness.
    """

    def __init__(self, partition: int, layout: str = "") -> None:
        super().__init__(partition)
        self._layout = layout
        self._rows: dict[tuple[str, str, str, str, int, str, int], Row] = {}
        self._told = 0

    def add(self, offset: int, value: bytes) -> None:
        self._record(offset)
        try:
            total = decode_total(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.skipped += 1
            return
        if total.partition >= 0 and total.partition != self.partition:
            self.skipped += 1
            return
        if total.oldest and total.at != self._told and total.layout == self._layout:
            self._told = total.at  # all totals of a checkpoint say the same
            self.receipts[total.oldest] += 1
        key = (total.metric, total.app, total.facet, total.window, total.start, total.layout, total.partition)
        row = Row(with_fields(value, version=offset), self.partition, offset, 0)
        old = self._rows.get(key)
        self.size += len(row.line) - (len(old.line) if old else 0)
        self._rows[key] = row
        self.rows = len(self._rows)

    def inserts(self) -> list[Insert]:
        rows = list(self._rows.values())
        return [Insert(rows, self.first_offset - 1, self.last_offset)] if rows else []


class RejectedBatch(_Gathered):
    """Rejected lines, stamped with their place in the rejected topic."""

    def __init__(self, partition: int, topic: str) -> None:
        super().__init__(partition)
        self._topic = topic
        self._rows: list[Row] = []

    def add(self, offset: int, value: bytes) -> None:
        self._record(offset)
        try:
            _rejected_decoder.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.skipped += 1
            return
        line = with_fields(value, kafka_topic=self._topic, kafka_partition=self.partition, kafka_offset=offset)
        self._rows.append(Row(line, self.partition, offset, 0))
        self.rows += 1
        self.size += len(line)

    def inserts(self) -> list[Insert]:
        return [Insert(self._rows, self.first_offset - 1, self.last_offset)] if self._rows else []


def together(batches: Sequence[Batch]) -> list[Insert]:
    """One INSERT of several partitions' rows, for tables where it need not be atomic: fewer parts to merge."""
    rows = [row for batch in batches for insert in batch.inserts() for row in insert.rows]
    return [Insert(rows, -1, -1)] if rows else []


class MergesBatch(_Gathered):
    """Merges that were granted; what else the worker's partitions tell each other in that topic is passed over."""

    def __init__(self, partition: int) -> None:
        super().__init__(partition)
        self._rows: dict[str, Row] = {}

    def add(self, offset: int, value: bytes) -> None:
        self._record(offset)
        for line in merge_lines(value):
            self._add(offset, line)

    def _add(self, offset: int, told: bytes) -> None:
        try:
            message = decode_merge(told)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.skipped += 1
            return
        if message.kind != "merged":
            return
        row = {
            "person": message.person,
            "target": message.target,
            "at": message.at,
            "clock": message.clock,
            "partition": self.partition,
            "offset": offset,
        }
        line = msgspec.json.encode(row)
        self._rows[message.person] = Row(line, self.partition, offset, 0)
        self.rows = len(self._rows)
        self.size += len(line)

    def inserts(self) -> list[Insert]:
        rows = list(self._rows.values())
        return [Insert(rows, self.first_offset - 1, self.last_offset)] if rows else []


def _control(line: bytes) -> Control | None:
    try:
        return read_control(line)
    except UnknownControlError as error:
        raise LayoutError(str(error)) from error


_rejected_decoder = msgspec.json.Decoder(Rejected)


def with_fields(line: bytes, **fields: str | int) -> bytes:
    """A JSON object's line with more fields at its end, without reading it; the line must be an object with a field."""
    return line.rstrip()[:-1] + b"," + msgspec.json.encode(fields)[1:]


@lru_cache(maxsize=4096)
def _month(day: int) -> int:
    return month_start(day)

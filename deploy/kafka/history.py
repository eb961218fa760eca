"""Shell: the events that Kafka still holds, read back side by side, so that totals can be made anew from them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from ingest.contract.control import read_control
from ingest.contract.errors import UnavailableError
from ingest.contract.event import good_lines
from ingest.contract.settings import Settings, kafka_options
from ingest.contract.topics import topic_names
from streams.contract.history import MAX_AHEAD_MS
from streams.contract.merge import decode_merge, merge_lines

#: Of a slice, at most: events in memory, and receipts, as what partitions hear of each other must not come late.
SLICE_EVENTS = 100_000
SLICE_MS = 6 * 3_600_000
#: Frames of a partition that wait in memory for those of others.
_AHEAD = 200
_PATIENCE_S = 60.0


class KafkaHistory:
    """streams.contract.history.History over the events topic, from its first record up to its end as it is now.

    since   when the oldest record that Kafka holds came in (ms); 0: nothing has been deleted yet
    A context manager: it closes its consumer. Raises UnavailableError when Kafka does not answer.
    """

    def __init__(self, settings: Settings) -> None:
        names = topic_names(settings)
        count = settings.kafka.partitions
        self._partitions = [TopicPartition(names.events, number) for number in range(count)]
        try:
            self._consumer: Any = KafkaConsumer(
                **kafka_options(settings.kafka),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                max_partition_fetch_bytes=4 << 20,
            )
            self._ends: dict[Any, int] = self._consumer.end_offsets(self._partitions)
            begins = self._consumer.beginning_offsets(self._partitions)
            self.offsets = {one.partition: self._ends[one] for one in self._partitions}
            self.merges = self._granted([TopicPartition(names.merges, number) for number in range(count)])
            self.since = self._oldest([one for one in self._partitions if 0 < begins[one] < self._ends[one]])
        except KafkaError as error:
            raise _away(error) from error
        #: Frames, mostly of many events each: how many events is known when they have been read.
        self.events = sum(self._ends[one] - begins[one] for one in self._partitions)

    def _records(self, partitions: list[Any], ends: dict[Any, int]) -> Iterator[tuple[Any, list[Any]]]:
        """(partition, records) until all are read; a partition that is paused meanwhile is waited for."""
        self._consumer.assign(partitions)
        self._consumer.seek_to_beginning(*partitions)
        left = {one for one in partitions if self._consumer.position(one) < ends[one]}
        in_vain = 0
        while left:
            found = self._consumer.poll(timeout_ms=500, max_records=2000)
            in_vain = 0 if found else in_vain + 1
            for one, records in found.items():
                yield one, [record for record in records if record.offset < ends[one]]
            for one in [one for one in left if self._consumer.position(one) >= ends[one]]:
                left.discard(one)
                yield one, []
            if in_vain > 2 * _PATIENCE_S:
                raise UnavailableError(f"Kafka gave no record of {partitions[0].topic} for {_PATIENCE_S:.0f} s")

    def _granted(self, partitions: list[Any]) -> dict[str, str]:
        found = {}
        for _, records in self._records(partitions, self._consumer.end_offsets(partitions)):
            for record in records:
                for line in merge_lines(record.value or b""):
                    try:
                        message = decode_merge(line)
                    except msgspec.DecodeError:
                        continue  # the worker has put it aside
                    if message.kind == "merged":
                        found[message.person] = message.target
        return found

    def _oldest(self, begun: list[Any]) -> int:
        """When what is left of partitions that have lost their beginning came in: the latest of them."""
        oldest = 0
        for one in begun:
            self._consumer.assign([one])
            self._consumer.seek_to_beginning(one)
            until = time.monotonic() + _PATIENCE_S
            while not (records := self._consumer.poll(timeout_ms=500, max_records=1).get(one)):
                if time.monotonic() > until:
                    raise UnavailableError(f"Kafka gave no record of {one.topic} for {_PATIENCE_S:.0f} s")
            oldest = max(oldest, records[0].timestamp)
        return oldest

    def slices(self) -> Iterator[bytes]:
        """Event lines, a slice at a time, in the order in which their frames came into Kafka, whatever the partition."""
        lines: list[bytes] = []
        first = newest = 0
        forgotten = self._forgotten()
        for record in self._in_order():
            for event, line in good_lines(record.value or b"")[0]:
                if forgotten and record.offset <= forgotten.get((record.partition, event.person), -1):
                    continue
                if event.received > record.timestamp + MAX_AHEAD_MS:
                    continue  # the worker refuses it, too
                lines.append(line)
                newest = max(newest, event.received)
                first = first or newest
            if len(lines) >= SLICE_EVENTS or newest - first >= SLICE_MS:
                yield b"\n".join(lines)
                lines, first = [], newest
        if lines:
            yield b"\n".join(lines)

    def _forgotten(self) -> dict[tuple[int, str], int]:
        """Persons whom `footfall forget` has removed, by partition: up to which offset their events are gone."""
        found: dict[tuple[int, str], int] = {}
        for one, records in self._records(self._partitions, self._ends):
            for record in records:
                control = read_control(record.value or b"")
                if control is not None:
                    gone = [(control.person, record.offset)] if control.control == "forget" else []
                    gone += [(erased.person, erased.upto) for erased in control.erase]
                    for person, upto in gone:
                        found[one.partition, person] = max(upto, found.get((one.partition, person), -1))
        return found

    def _in_order(self) -> Iterator[Any]:
        """The frames of all partitions by the time at which they came in."""
        waiting: dict[Any, deque[Any]] = {one: deque() for one in self._partitions}
        paused: set[Any] = set()
        done: set[Any] = set()
        try:
            for one, records in self._records(self._partitions, self._ends):
                waiting[one].extend(records)
                if not records:
                    done.add(one)
                elif len(waiting[one]) >= _AHEAD:
                    self._consumer.pause(one)
                    paused.add(one)
                yield from _due(waiting, done)
                for other in [other for other in paused if len(waiting[other]) < _AHEAD // 2]:
                    self._consumer.resume(other)
                    paused.discard(other)
        except KafkaError as error:
            raise _away(error) from error
        yield from _due(waiting, set(waiting))

    def close(self) -> None:
        """Closes the consumer."""
        self._consumer.close()

    def __enter__(self) -> KafkaHistory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _due(waiting: dict[Any, deque[Any]], done: set[Any]) -> Iterator[Any]:
    """Takes out what no partition can still come before."""
    while all(frames or one in done for one, frames in waiting.items()) and any(waiting.values()):
        first = min((one for one, frames in waiting.items() if frames), key=lambda one: waiting[one][0].timestamp)
        yield waiting[first].popleft()


def _away(error: KafkaError) -> UnavailableError:
    return UnavailableError(f"Kafka could not give back its events: {error!r}")


def open_history(settings: Settings) -> KafkaHistory:
    """The events that Kafka holds now. Raises UnavailableError."""
    return KafkaHistory(settings)

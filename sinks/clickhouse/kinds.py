"""The ways from Kafka into ClickHouse: which topic goes into which table, in what batches, and how far it has come.

Where to go on is asked of ClickHouse itself. Kafka's committed offset is only what may be behind: a process can end between
an insert and its commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from ingest.contract.event import Event
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from sinks.clickhouse.rows import Batch, EventsBatch, MergesBatch, MetricsBatch, RejectedBatch
from sinks.contract import tables

#: Runs a query with parameters and gives its rows.
Query = Callable[[str, dict[str, Any]], Sequence[Sequence[Any]]]


class Kind(Protocol):
    """One topic on its way into one table.

    role     names the consumer group; scope: what the topic's offsets are an order of
    atomic   whether an insert of a batch lands wholly or not at all. If not, a crash can leave the newest row without older
             ones, so what was not committed is read again: the table's key makes that harmless
    apart    whether each partition has inserts of its own, because rows are stamped with its last offset
    whole    reads a row as its writer writes them, where its batch asks for less; None where it asks for all
    """

    role: str
    topic: str
    table: str
    scope: str
    isolation: str
    atomic: bool
    apart: bool
    whole: msgspec.json.Decoder[Any] | None

    def batch(self, partition: int) -> Batch:
        """An empty batch."""

    def held(self, query: Query, committed: Mapping[int, int | None]) -> dict[int, int]:
        """The last offset that ClickHouse holds of each partition asked for; partitions that it has nothing of are left out.

        committed: partition -> the group's committed offset (the next to read), None if there is none.
        """


class Events:
    """Frames into `events`."""

    role = "events"
    table = tables.EVENTS
    isolation = "read_uncommitted"
    apart = True
    whole: msgspec.json.Decoder[Any] | None = msgspec.json.Decoder(Event)

    def __init__(self, settings: Settings) -> None:
        self.atomic = not settings.clickhouse.cluster  # an insert goes to several shards
        self.topic = topic_names(settings).events
        self.scope = f"events of {self.topic}"

    def batch(self, partition: int) -> EventsBatch:
        return EventsBatch(partition)

    def held(self, query: Query, committed: Mapping[int, int | None]) -> dict[int, int]:
        # Looking only at what is not before the commit spares a scan of the whole table (by_offset). Where even the last
        # committed record is not found, the table was emptied, restored, or the record had no good line: look at all.
        near = {partition: offset - 1 for partition, offset in committed.items() if offset}
        found = {}
        if near:
            found = _offsets(
                query(
                    "SELECT kafka_partition, max(kafka_offset) FROM events WHERE kafka_topic = {topic:String} "
                    "AND kafka_offset >= {offsets:Array(Int64)}[indexOf({partitions:Array(Int32)}, kafka_partition)] "
                    "AND kafka_partition IN {partitions:Array(Int32)} AND kafka_offset >= {least:Int64} GROUP BY kafka_partition",
                    {
                        "topic": self.topic,
                        "partitions": list(near),
                        "offsets": list(near.values()),
                        "least": min(near.values()),
                    },
                )
            )
        missing = [partition for partition in committed if partition not in found]
        if missing:
            found |= _of_topic(query, self.table, self.topic, missing)
        return found


class Metrics:
    """Totals into `metrics`. Only committed ones: no reader may see a number that a crash could take back."""

    role = "metrics"
    table = tables.METRICS
    isolation = "read_committed"
    atomic = False
    apart = False
    whole: msgspec.json.Decoder[Any] | None = None

    def __init__(self, settings: Settings) -> None:
        self.topic = topic_names(settings).metrics
        self.layout = settings.project.layout
        self.scope = f"metrics of layout {self.layout}"

    def batch(self, partition: int) -> MetricsBatch:
        return MetricsBatch(partition, self.layout)

    def held(self, query: Query, committed: Mapping[int, int | None]) -> dict[int, int]:
        return _offsets(
            query(
                "SELECT partition, max(version) FROM metrics WHERE layout = {layout:String} "
                "AND partition IN {partitions:Array(Int32)} GROUP BY partition",
                {"layout": self.layout, "partitions": list(committed)},
            )
        )


class Rejected:
    """Rejected lines into `rejected`."""

    role = "rejected"
    table = tables.REJECTED
    isolation = "read_uncommitted"
    atomic = False
    apart = False
    whole: msgspec.json.Decoder[Any] | None = None

    def __init__(self, settings: Settings) -> None:
        self.topic = topic_names(settings).rejected
        self.scope = f"rejected of {self.topic}"

    def batch(self, partition: int) -> RejectedBatch:
        return RejectedBatch(partition, self.topic)

    def held(self, query: Query, committed: Mapping[int, int | None]) -> dict[int, int]:
        # The newest rows may have been erased with a person: they must not come back.
        return _all_committed(_of_topic(query, self.table, self.topic, list(committed)), committed)


class Merges:
    """Merges that were granted into `person_merges`. Only committed ones, as they come with the numbers that they change."""

    role = "merges"
    table = tables.PERSON_MERGES
    isolation = "read_committed"
    atomic = False
    apart = False
    whole: msgspec.json.Decoder[Any] | None = None

    def __init__(self, settings: Settings) -> None:
        self.topic = topic_names(settings).merges
        self.scope = f"merges of {self.topic}"

    def batch(self, partition: int) -> MergesBatch:
        return MergesBatch(partition)

    def held(self, query: Query, committed: Mapping[int, int | None]) -> dict[int, int]:
        # Few records become rows, so rows say little about how far this sink has come. What was committed is in the table,
        # unless the table was emptied.
        found = _offsets(query("SELECT partition, max(offset) FROM person_merges GROUP BY partition", {}))
        return _all_committed(found, committed)


def kinds(settings: Settings) -> tuple[Kind, ...]:
    """All of them."""
    return Events(settings), Metrics(settings), Rejected(settings), Merges(settings)


def _all_committed(found: Mapping[int, int], committed: Mapping[int, int | None]) -> dict[int, int]:
    """What a table holds if rows say little about it: what was committed, unless it was emptied (nothing is `found`)."""
    if not found:
        return {}
    read = {partition: offset - 1 for partition, offset in committed.items() if offset}
    return {one: max(read.get(one, -1), found.get(one, -1)) for one in committed if one in read or one in found}


def next_offset(held: int | None, committed: int | None, beginning: int, atomic: bool) -> int:
    """Where to go on reading.

    After what ClickHouse holds; where it holds nothing, from the log's start, whatever was committed (the table may have been
    emptied). Where inserts are not atomic, also not after what was committed.
    """
    if held is None:
        return beginning
    if atomic:
        return held + 1
    return min(held + 1, beginning if committed is None else committed)


def _of_topic(query: Query, table: str, topic: str, partitions: list[int]) -> dict[int, int]:
    """The greatest offset of each partition that the whole table has."""
    sql = (
        f"SELECT kafka_partition, max(kafka_offset) FROM {table} WHERE kafka_topic = {{topic:String}} "
        "AND kafka_partition IN {partitions:Array(Int32)} GROUP BY kafka_partition"
    )
    return _offsets(query(sql, {"topic": topic, "partitions": partitions}))


def _offsets(rows: Iterable[Sequence[Any]]) -> dict[int, int]:
    return {int(partition): int(offset) for partition, offset in rows}

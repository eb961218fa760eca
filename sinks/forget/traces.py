"""Shell: where a person still is: ids that are one, rows in ClickHouse, records in the worker's changelog."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence

from clickhouse_connect.driver.client import Client
from kafka import TopicPartition

from ingest.contract.errors import UnavailableError
from ingest.contract.partition import partition_of
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from sinks.contract import tables
from sinks.contract.forgotten import FIND_REJECTED, needles, unlogged
from sinks.kafka import log_reader
from sinks.verify.expressions import among

_READ_S = 600.0


def ids_of(client: Client, person: str) -> list[str]:
    """All ids that are one with the person; the one that they became part of is the last."""
    salt = secrets.token_hex(16)

    def merges(column: str, where: str, ids: Sequence[str]) -> list[str]:
        sql = f"SELECT {column} FROM person_merges FINAL WHERE {among(salt, where, ids)}"
        return [str(row[0]) for row in client.query(sql).result_rows]

    root, seen = person, {person}
    while targets := merges("target", "person", [root]):
        if targets[0] in seen:
            break
        root = targets[0]
        seen.add(root)
    found = [root]
    newest = [root]
    while newest:
        newest = [one for one in merges("person", "target", newest) if one not in found]
        found += newest
    return list(reversed(found))


def rows_of(client: Client, ids: Sequence[str], upto: Mapping[str, int] | None = None) -> dict[str, int]:
    """Rows with one of the ids. upto: id -> the last offset that is looked at of its events (a new start comes after it)."""
    salt = secrets.token_hex(16)
    if upto is None:
        events = among(salt, "person", ids)
    else:
        events = " OR ".join(f"({among(salt, 'person', [one])} AND kafka_offset <= {upto[one]})" for one in ids)
    merges = f"{among(salt, 'person', ids)} OR {among(salt, 'target', ids)}"
    counts = {
        tables.EVENTS: f"SELECT count() FROM events WHERE {events}",
        tables.PERSON_MERGES: f"SELECT count() FROM person_merges WHERE {merges}",
    }
    found = {table: int(client.query(sql).result_rows[0][0]) for table, sql in counts.items()}
    sql = f"SELECT count() FROM ({FIND_REJECTED})"
    rejected = client.query(sql, parameters={"needles": needles(ids)}, settings=unlogged(client))
    return found | {tables.REJECTED: int(rejected.result_rows[0][0])}


def others_with(client: Client, ids: Sequence[str]) -> int:
    """Events of other persons that name one of the ids (a shared device)."""
    salt = secrets.token_hex(16)
    named = f"arrayExists(one -> {among(salt, 'one', [one[2:] for one in ids])}, mapValues(ids))"
    sql = f"SELECT count() FROM events WHERE NOT {among(salt, 'person', ids)} AND {named}"
    return int(client.query(sql).result_rows[0][0])


def records_left(settings: Settings, ids: Iterable[str]) -> list[str]:
    """The ids of which the worker's changelog still has a record. Reads the partitions of these ids from their start."""
    wanted = {one.encode(): one for one in ids}
    topic = topic_names(settings).changelog
    places = sorted({partition_of(one, settings.kafka.partitions) for one in wanted.values()})
    consumer = log_reader(settings, topic)
    left: set[str] = set()
    try:
        partitions = [TopicPartition(topic, place) for place in places]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        until = time.monotonic() + _READ_S
        while any(consumer.position(one) < ends[one] for one in partitions):
            if time.monotonic() > until:
                raise UnavailableError(f"{topic} could not be read within {_READ_S:.0f} s")
            for records in consumer.poll(timeout_ms=500).values():
                for record in records:
                    person = wanted.get(record.key)
                    if person is not None:
                        (left.discard if record.value is None else left.add)(person)
    finally:
        consumer.close()
    return sorted(left)

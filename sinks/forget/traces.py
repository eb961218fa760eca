"""Shell: where a person still is: ids that are one, rows in ClickHouse, records in the worker's changelog."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clickhouse_connect.driver.client import Client
from kafka import TopicPartition

from ingest.contract.errors import UnavailableError
from ingest.contract.partition import partition_of
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from sinks.contract import tables
from sinks.contract.forgotten import FIND_REJECTED, needles
from sinks.kafka import log_reader

_READ_S = 600.0


def ids_of(client: Client, person: str) -> list[str]:
    """All ids that are one with the person; the one that they became part of is the last."""
    root, seen = person, {person}
    while targets := _column(client, "SELECT target FROM person_merges FINAL WHERE person = {person:String}", {"person": root}):
        if targets[0] in seen:
            break
        root = targets[0]
        seen.add(root)
    found = [root]
    newest = [root]
    while newest:
        merged = _column(client, "SELECT person FROM person_merges FINAL WHERE target IN {ids:Array(String)}", {"ids": newest})
        newest = [one for one in merged if one not in found]
        found += newest
    return list(reversed(found))


def rows_of(client: Client, ids: Sequence[str], upto: Mapping[str, int] | None = None) -> dict[str, int]:
    """Rows with one of the ids. upto: id -> the last offset that is looked at of its events (a new start comes after it)."""
    last = [(upto or {}).get(one, 2**62) for one in ids]
    parameters: dict[str, Any] = {"ids": list(ids), "last": last, "needles": needles(ids)}
    counts = {
        tables.EVENTS: "SELECT count() FROM events WHERE person IN {ids:Array(String)} "
        "AND kafka_offset <= {last:Array(Int64)}[indexOf({ids:Array(String)}, person)]",
        tables.PERSON_MERGES: "SELECT count() FROM person_merges WHERE person IN {ids:Array(String)} "
        "OR target IN {ids:Array(String)}",
        tables.REJECTED: f"SELECT count() FROM ({FIND_REJECTED})",
    }
    return {table: int(client.query(sql, parameters=parameters).result_rows[0][0]) for table, sql in counts.items()}


def others_with(client: Client, ids: Sequence[str]) -> int:
    """Events of other persons that name one of the ids (a shared device)."""
    sql = "SELECT count() FROM events WHERE person NOT IN {ids:Array(String)} AND hasAny(mapValues(ids), {bare:Array(String)})"
    return int(client.query(sql, parameters={"ids": list(ids), "bare": [one[2:] for one in ids]}).result_rows[0][0])


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


def _column(client: Client, sql: str, parameters: dict[str, Any]) -> list[str]:
    return [str(row[0]) for row in client.query(sql, parameters=parameters).result_rows]

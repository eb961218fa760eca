"""Which partition a person is in: the one that any Kafka client picks for a record keyed by the person."""

from __future__ import annotations

from functools import lru_cache

from kafka.partitioner.default import murmur2  # a pure function; Kafka's own hash


@lru_cache(maxsize=200_000)
def partition_of(person: str, partitions: int) -> int:
    """The events partition of a person: murmur2 over the UTF-8 key as Kafka's default partitioner does it."""
    return int((murmur2(person.encode()) & 0x7FFFFFFF) % partitions)

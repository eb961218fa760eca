"""How much may come from outside. Every limit is a number here or in the settings; none is implied."""

from __future__ import annotations

from typing import NamedTuple

from ingest.contract.settings import CollectorSettings

#: Objects and arrays inside each other. Every reader after us recurses: a limit far below theirs keeps them safe.
MAX_DEPTH = 64
#: Ids, names, versions: as long as the contract allows.
MAX_TEXT = 256
#: A duration beyond a day is a broken clock, not usage.
MAX_DURATION_MS = 86_400_000
#: Bytes of events in one frame. Kafka's usual limit for a record is 1 MiB, and a batch around it needs room.
MAX_FRAME_BYTES = 900_000
#: Bytes of one encoded event line: it must fit a frame.
MAX_LINE_BYTES = MAX_FRAME_BYTES
#: Array elements that a body may have at most, told by its commas, before anything is made of them.
MAX_COMMAS = 1_000_000
#: A request's line: Sensors' browser SDK puts an event of many properties into one. A header's line, and how many there may be.
#: Beyond, there is no request that could be kept: the answer is 400, and the connection ends.
MAX_LINE = 64 * 1024
MAX_HEADER = 8190
MAX_HEADERS = 64


class Limits(NamedTuple):
    """The limits that are settings."""

    body_bytes: int
    inflated_bytes: int
    batch_events: int
    event_bytes: int
    properties: int
    name_chars: int
    value_chars: int


def limits_of(settings: CollectorSettings) -> Limits:
    """The limits of a collector."""
    return Limits(
        body_bytes=settings.max_body_bytes,
        inflated_bytes=settings.max_inflated_bytes,
        batch_events=settings.max_batch_events,
        event_bytes=settings.max_event_bytes,
        properties=settings.max_properties,
        name_chars=settings.max_name_chars,
        value_chars=settings.max_value_chars,
    )

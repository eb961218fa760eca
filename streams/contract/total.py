"""A total: the absolute value of one number in one partition, as it lies in the metrics topic.

One Kafka record each, keyed so that compaction keeps the last. The partition of the record is the events partition that it
sums up; its offset is its version. Readers use isolation level read_committed, keep the last per key, and add up partitions
of one layout.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

Window = Literal["5m", "30m", "hour", "day", "7d", "30d", "month"]


class TotalKey(NamedTuple):
    """What a total is the value of, partition aside."""

    metric: str
    app: str
    facet: str
    window: Window
    start: int


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the metrics topic.

    metric     name from the catalogue
    app        app id, or group id
    facet      "" for any activity
    window     span that the value stands for; 7d and 30d end on `day`, month starts on it
    start      the instant the window starts (ms, UTC); 0 for 5m and 30m, which end at `at`
    day        local date that names the window: the day itself, the last day of 7d and 30d, the first day of a month
    hour       local clock hour 0-23 for hours, else -1
    partition  events partition summed up; layout: generation of the partitioning, never added across. A negative one is a
               correction of numbers whose window had closed when a person was forgotten: a part of the sum as all others are
    value      the partition's absolute value, a whole number
    at         when it was computed (ms, UTC)
    oldest     receipt (ms, UTC) of the oldest event that was joined since the partition last told its totals: how long that event
               took until it counts, for whoever makes the total seen; 0 where no event was joined, time alone went on
    """

    metric: str
    app: str
    facet: str
    window: Window
    start: int
    day: str
    hour: int
    layout: str
    partition: int
    value: int
    at: int
    oldest: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Total)


def encode_total(total: Total) -> bytes:
    """The JSON line."""
    return _encoder.encode(total)


def decode_total(line: bytes) -> Total:
    """Reads a JSON line; msgspec.ValidationError says what is wrong with it."""
    return _decoder.decode(line)


def record_key(total: Total) -> bytes:
    """The Kafka key: compaction keeps the last total per (metric, app, facet, window, start, layout) of a partition."""
    correction = f"|{total.partition}" if total.partition < 0 else ""
    return f"{total.metric}|{total.app}|{total.facet}|{total.window}|{total.start}|{total.layout}{correction}".encode()

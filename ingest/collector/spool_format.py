"""The spool's segment files: how frames lie in them, and what can be had back from a damaged one. Pure.

    header   MAGIC, partitions (u16), created (u64, ms), CRC-32 of these
    entry    MARK, number (u32, from 0), topic (u8), partition (u16), length (u32), CRC-32 of these and the payload; payload

All numbers are big-endian. MARK has bytes that no UTF-8 text has, so it is in no payload, and a reader finds the next entry after
a damaged one. Numbers rise by one, so a reader also knows how many entries are gone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Literal, NamedTuple

from ingest.contract.errors import BadLineError
from ingest.contract.event import check_line, make_frame
from ingest.contract.partition import partition_of

MAGIC = b"\xf5FFSPL\x00\x01"
MARK = b"\xf5\xff\xfe\xfa"
EVENTS, REJECTED = 0, 1
#: Far beyond any frame: a length above it is damage.
MAX_PAYLOAD_BYTES = 16 * 1024 * 1024

_HEADER = struct.Struct(">8sHQI")
_HEAD = struct.Struct(">4sIBHI")
_CRC = struct.Struct(">I")
HEADER_BYTES = _HEADER.size
ENTRY_BYTES = _HEAD.size + _CRC.size

DamageKind = Literal["middle", "tail"]


class Entry(NamedTuple):
    """A frame: `topic` is EVENTS or REJECTED, `partition` as of the segment's partition count."""

    number: int
    topic: int
    partition: int
    payload: bytes


class Damage(NamedTuple):
    """Bytes that are no entries. A tail may be a write that was cut short, of which nobody was told that it is safe.

    missing   entries that are gone there, as far as the numbers tell
    """

    kind: DamageKind
    start: int
    end: int
    missing: int


class Segment(NamedTuple):
    """What is in a segment. partitions is 0 where the header is damaged, and in what was set aside of such a segment."""

    partitions: int
    created: int
    entries: list[Entry]
    damages: list[Damage]


def encode_header(partitions: int, created: int) -> bytes:
    """The beginning of a segment; `created` in ms."""
    head = _HEADER.pack(MAGIC, partitions, created, 0)[: -_CRC.size]
    return head + _CRC.pack(zlib.crc32(head))


def decode_header(data: bytes) -> tuple[int, int]:
    """(partitions, created) from a segment's first bytes; (0, 0) where they are damaged."""
    if len(data) < HEADER_BYTES:
        return 0, 0
    magic, partitions, created, crc = _HEADER.unpack_from(data)
    if magic != MAGIC or crc != zlib.crc32(data[: HEADER_BYTES - _CRC.size]):
        return 0, 0
    return partitions, created


def encode_entry(number: int, topic: int, partition: int, payload: bytes) -> bytes:
    """What stands before the payload of an entry."""
    head = _HEAD.pack(MARK, number, topic, partition, len(payload))
    return head + _CRC.pack(zlib.crc32(payload, zlib.crc32(head)))


def _entry_at(data: bytes, at: int) -> Entry | None:
    """The whole and undamaged entry that begins there."""
    start = at + ENTRY_BYTES
    if start > len(data):
        return None
    mark, number, topic, partition, length = _HEAD.unpack_from(data, at)
    if mark != MARK or topic > REJECTED or length > MAX_PAYLOAD_BYTES or start + length > len(data):
        return None
    payload = data[start : start + length]
    (crc,) = _CRC.unpack_from(data, at + _HEAD.size)
    if crc != zlib.crc32(payload, zlib.crc32(data[at : at + _HEAD.size])):
        return None
    return Entry(number, topic, partition, payload)


def _next_entry(data: bytes, at: int) -> tuple[int, Entry | None]:
    """The first undamaged entry that begins at or after `at`, and where; (-1, None) when there is none."""
    while (at := data.find(MARK, at)) >= 0:
        entry = _entry_at(data, at)
        if entry is not None:
            return at, entry
        at += 1
    return -1, None


def read_segment(data: bytes) -> Segment:
    """All entries of a segment that can be had, in order, and what is damaged. Never raises, whatever the bytes are."""
    partitions, created = decode_header(data)
    entries: list[Entry] = []
    damages: list[Damage] = []
    at = HEADER_BYTES if created else 0
    expected = 0
    while at < len(data):
        entry = _entry_at(data, at)
        start = at
        if entry is None:
            at, entry = _next_entry(data, at)
        if entry is None:
            damages.append(Damage("tail", start, len(data), 0))
            break
        missing = max(0, entry.number - expected)
        if at > start or missing:
            damages.append(Damage("middle", start, at, missing))
        entries.append(entry)
        expected = entry.number + 1
        at += ENTRY_BYTES + len(entry.payload)
    return Segment(partitions, created, entries, damages)


def count_entries(end: bytes) -> int:
    """How many entries a segment has, from its last bytes (at least one whole entry of them); -1 when those have none."""
    at = len(end)
    while (at := end.rfind(MARK, 0, at)) >= 0:
        entry = _entry_at(end, at)
        if entry is not None:
            return entry.number + 1
    return -1


class Drained(NamedTuple):
    """What goes to Kafka as one record."""

    topic: int
    partition: int
    value: bytes


class Records(NamedTuple):
    """What a segment comes to.

    records     in order per partition
    unreadable  events that cannot be read, so that nobody knows to which partition they belong now: as the segment has them
    """

    records: list[Drained]
    unreadable: list[Drained]


def encode_segment(partitions: int, created: int, records: Iterable[Drained]) -> list[bytes]:
    """A whole segment of these, in pieces; `partitions` and `created` as in `Segment`."""
    pieces = [encode_header(partitions, created)]
    for number, record in enumerate(records):
        pieces += (encode_entry(number, *record), record.value)
    return pieces


def halved(frame: bytes) -> list[bytes]:
    """A frame as two of about the same size; none where it is a single event."""
    middle = len(frame) // 2
    at = frame.rfind(b"\n", 0, middle)
    if at < 0:
        at = frame.find(b"\n", middle)
    return [] if at < 0 else [part for part in (frame[:at], frame[at + 1 :]) if part]


def records_of(segment: Segment, partitions: int, most: int) -> Records:
    """The records that a segment comes to: small frames of a partition are made one, up to `most` bytes.

    Where the segment was written for another partition count than `partitions`, each event goes where its person belongs now.
    """
    records: list[Drained] = []
    unreadable: list[Drained] = []
    gathered: dict[int, list[bytes]] = {}
    sizes: dict[int, int] = {}
    for entry in segment.entries:
        if entry.topic == REJECTED:
            records.append(Drained(REJECTED, entry.partition, entry.payload))
            continue
        for partition, payload in _placed(entry, segment.partitions, partitions):
            if partition is None:
                unreadable.append(Drained(EVENTS, entry.partition, payload))
                continue
            if partition in gathered and sizes[partition] + len(payload) > most:
                records.append(Drained(EVENTS, partition, make_frame(gathered.pop(partition))))
                del sizes[partition]
            gathered.setdefault(partition, []).append(payload)
            sizes[partition] = sizes.get(partition, 0) + len(payload) + 1
    records += (Drained(EVENTS, partition, make_frame(payloads)) for partition, payloads in gathered.items())
    return Records(records, unreadable)


def _placed(entry: Entry, was: int, partitions: int) -> Iterable[tuple[int | None, bytes]]:
    if was == partitions:
        return [(entry.partition, entry.payload)]
    return [(_partition_now(line, partitions), line) for line in entry.payload.split(b"\n") if line.strip()]


def _partition_now(line: bytes, partitions: int) -> int | None:
    try:
        return partition_of(check_line(line).person, partitions)
    except BadLineError:
        return None

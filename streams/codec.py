"""Person records and partition state as bytes: what lies in the changelog.

MessagePack arrays that start with a version. A newer Footfall reads older versions; fields are only ever appended to the end.
Days and hours of facets are written as the difference (xor) to those of any activity, and times relative to what stands before
them: small numbers take a byte.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import msgspec

from ingest.contract.errors import FootfallError
from ingest.contract.zones import DAY_MS
from streams.bits import each
from streams.funnel import EXCLUDED
from streams.names import Names
from streams.record import Part, Record, Seen

VERSION = 1

#: The changelog keys of what a partition knows besides its persons; a person's key begins with "u:" or "a:".
STATE_KEY = b"\x00state"
CLOCK_KEY = b"\x00clock"

#: Bits of a funnel event's steps and exclusion; its breakdown's facet lies above them.
_STEP_BITS = EXCLUDED.bit_length()
_LARGEST_MSGPACK_INT = (1 << 64) - 1


class RecordFormatError(FootfallError):
    """A record in the changelog cannot be read by this Footfall."""


class _Part(msgspec.Struct, array_like=True):
    scope: int
    day: int
    hour: int  # relative to day * 24
    first: int  # days before `day`; -1: none
    seen: list[list[int | bytes]]  # days, hours, minute, facets; after the first all but the facets relative to the first
    spans: list[list[int]]  # [days before `day`, start, length, start after the end before, length, ...]
    launches: list[list[int]]  # [days before `day`, bits of the spans that begin with one, time, time after that, ...]


class _Record(msgspec.Struct, array_like=True):
    version: int
    parts: list[_Part]
    funnels: list[list[int]] = []  # funnel, then for each event: ms after the one before, tie, bits and value
    target: str = ""


class _Portable(msgspec.Struct, array_like=True):
    record: bytes
    names: dict[int, str]


class State(msgspec.Struct, array_like=True):
    """What a partition knows of its records.

    names        the names used in its records, by number
    definitions  what must stay as it is for its records to keep their meaning (time zones, horizons, session gap)
    """

    version: int
    names: list[str]
    definitions: dict[str, str]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Record)
_portable_decoder = msgspec.msgpack.Decoder(_Portable)
_state_decoder = msgspec.msgpack.Decoder(State)


def _pack(bits: int) -> int | bytes:
    return bits if bits <= _LARGEST_MSGPACK_INT else bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _unpack(packed: int | bytes) -> int:
    return packed if isinstance(packed, int) else int.from_bytes(packed, "little")


def _pack_times(times: Iterable[int], before: int, row: list[int]) -> list[int]:
    """Appends times to a row, each relative to the one before."""
    for time in times:
        row.append(time - before)
        before = time
    return row


def _unpack_times(row: list[int], index: int, before: int) -> list[int]:
    times: list[int] = []
    for step in row[index:]:
        before += step
        times.append(before)
    return times


def _pack_part(scope: int, part: Part) -> _Part:
    any_days = any_hours = 0
    any_minute = part.hour * 60
    seen: list[list[int | bytes]] = []
    for one in part.seen:
        days, hours = one.days ^ any_days, one.hours ^ any_hours
        if days > _LARGEST_MSGPACK_INT or hours > _LARGEST_MSGPACK_INT:
            seen.append([_pack(days), _pack(hours), any_minute - one.minute, *one.facets])
        else:
            seen.append([days, hours, any_minute - one.minute, *one.facets])
        if len(seen) == 1:
            any_days, any_hours, any_minute = one.days, one.hours, one.minute
    spans = [_pack_times(edges, day * DAY_MS, [part.day - day]) for day, edges in part.spans.items()]
    launches: list[list[int]] = []
    for day, times in part.launches.items():
        edges, bits, others = part.spans.get(day, []), 0, []
        for time in times:
            where = bisect_left(edges, time)
            if where < len(edges) and edges[where] == time and where % 2 == 0:
                bits |= 1 << where // 2
            else:
                others.append(time)
        launches.append(_pack_times(others, day * DAY_MS, [part.day - day, bits]))
    return _Part(
        scope,
        part.day,
        part.hour - part.day * 24,
        part.day - part.first if part.first >= 0 else -1,
        seen,
        spans,
        launches,
    )


def encode_record(record: Record) -> bytes:
    """The bytes of a record."""
    funnels: list[list[int]] = []
    for funnel, events in record.funnels.items():
        row, before = [funnel], 0
        for time, tie, bits, value in events:
            row += (time - before, tie, bits | value << _STEP_BITS)
            before = time
        funnels.append(row)
    parts = [_pack_part(scope, part) for scope, part in record.parts.items()]
    return _encoder.encode(_Record(VERSION, parts, funnels, record.target))


def _unpack_part(packed: _Part) -> Part:
    part = Part(packed.day, packed.hour + packed.day * 24, packed.day - packed.first if packed.first >= 0 else -1)
    days = hours = 0
    minute = part.hour * 60
    for seen in packed.seen:
        one = Seen(tuple(seen[3:]), _unpack(seen[0]) ^ days, _unpack(seen[1]) ^ hours, minute - _unpack(seen[2]))  # type: ignore[arg-type]
        if not part.seen:
            days, hours, minute = one.days, one.hours, one.minute
        part.seen.append(one)
    for row in packed.spans:
        day = packed.day - row[0]
        part.spans[day] = _unpack_times(row, 1, day * DAY_MS)
    for row in packed.launches:
        day = packed.day - row[0]
        times = _unpack_times(row, 2, day * DAY_MS)
        starts = part.spans.get(day, [])[::2]
        part.launches[day] = sorted(times + [starts[index] for index in each(row[1])])
    return part


def decode_record(data: bytes) -> Record:
    """Reads a record; RecordFormatError for a version that this Footfall does not know."""
    try:
        packed = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise RecordFormatError(f"a person record cannot be read: {error}") from error
    if packed.version > VERSION:
        raise RecordFormatError(f"a person record has version {packed.version}, this Footfall knows up to {VERSION}: update it")
    record = Record()
    for part in packed.parts:
        record.parts[part.scope] = _unpack_part(part)
    for row in packed.funnels:
        time = 0
        events = record.funnels[row[0]] = []
        for index in range(1, len(row), 3):
            time += row[index]
            bits = row[index + 2]
            events.append((time, row[index + 1], bits & (1 << _STEP_BITS) - 1, bits >> _STEP_BITS))
    record.target = packed.target
    return record


def encode_portable(record: Record, names: Names) -> bytes:
    """A record with the names that it uses, for another partition."""
    used = set(record.parts) | set(record.funnels)
    for part in record.parts.values():
        used |= part.by_facet().keys()
    for events in record.funnels.values():
        used |= {event[3] for event in events}
    return _encoder.encode(_Portable(encode_record(record), {number: names.text(number) for number in used}))


def decode_portable(data: bytes, names: Names) -> Record:
    """Reads a record of another partition, in this one's names."""
    try:
        portable = _portable_decoder.decode(data)
    except msgspec.DecodeError as error:
        raise RecordFormatError(f"a record handed over cannot be read: {error}") from error
    theirs = decode_record(portable.record)
    ours = {number: names.number(text) for number, text in portable.names.items()}
    record = Record()
    for scope, part in theirs.parts.items():
        part.group({ours[facet]: seen for facet, seen in part.by_facet().items()})
        record.parts[ours[scope]] = part
    for funnel, events in theirs.funnels.items():
        record.funnels[ours[funnel]] = [(time, tie, bits, ours[value]) for time, tie, bits, value in events]
    return record


def encode_state(names: list[str], definitions: dict[str, str]) -> bytes:
    """The bytes of a partition's state."""
    return _encoder.encode(State(VERSION, names, definitions))


def encode_clock(newest_receipt: int) -> bytes:
    """The bytes of a partition's clock: its newest receipt (ms, UTC)."""
    return b"%d" % newest_receipt


def decode_clock(data: bytes) -> int:
    """Reads a partition's clock."""
    return int(data)


def decode_state(data: bytes) -> State:
    """Reads a partition's state; RecordFormatError for a version that this Footfall does not know."""
    try:
        state = _state_decoder.decode(data)
    except msgspec.DecodeError as error:
        raise RecordFormatError(f"a partition's state cannot be read: {error}") from error
    if state.version > VERSION:
        raise RecordFormatError(
            f"a partition's state has version {state.version}, this Footfall knows up to {VERSION}: update it"
        )
    return state

"""Person records as the first format had them in the changelog. Only read: what changes is written in the newest.

Days and hours of facets are the difference (xor) to those of any activity, and times relative to what stands before them.
"""

from __future__ import annotations

import msgspec

from streams.funnel import STEP_BITS
from streams.packed import launches_of, spans_of
from streams.record import Part, Record, Seen


class _Part(msgspec.Struct, array_like=True):
    scope: int
    day: int
    hour: int  # relative to day * 24
    first: int  # days before `day`; -1: none
    seen: list[list[int | bytes]]  # days, hours, minute, facets; after the first all but the facets relative to the first
    spans: list[list[int]]
    launches: list[list[int]]


class _Record(msgspec.Struct, array_like=True):
    version: int
    parts: list[_Part]
    funnels: list[list[int]] = []  # funnel, then for each event: ms after the one before, tie, bits and value
    target: str = ""


_decoder = msgspec.msgpack.Decoder(_Record)


def _unpack(packed: int | bytes) -> int:
    return packed if isinstance(packed, int) else int.from_bytes(packed, "little")


def _unpack_part(packed: _Part) -> Part:
    part = Part(packed.day, packed.hour + packed.day * 24, packed.day - packed.first if packed.first >= 0 else -1)
    days = hours = 0
    minute = part.hour * 60
    for seen in packed.seen:
        one = Seen(tuple(seen[3:]), _unpack(seen[0]) ^ days, _unpack(seen[1]) ^ hours, minute - _unpack(seen[2]))  # type: ignore[arg-type]
        if not part.seen:
            days, hours, minute = one.days, one.hours, one.minute
        part.seen.append(one)
    part.spans = spans_of(packed.day, packed.spans)
    part.launches = launches_of(packed.day, packed.launches, part.spans)
    return part


def unpack_record(data: bytes) -> Record:
    """Reads a record of version 1. Raises msgspec.DecodeError."""
    packed = _decoder.decode(data)
    record = Record({part.scope: _unpack_part(part) for part in packed.parts}, {}, packed.target)
    for row in packed.funnels:
        time = 0
        events = record.funnels[row[0]] = []
        for index in range(1, len(row), 3):
            time += row[index]
            bits = row[index + 2]
            events.append((time, row[index + 1], bits & (1 << STEP_BITS) - 1, bits >> STEP_BITS))
    return record

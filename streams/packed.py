"""Person records as they lie in the changelog: MessagePack arrays that can be read by column.

What many records have alike (which facets were seen together) and what is summed up (days) are byte strings, so that a sum
over all records (streams.bulk) can put them side by side without looking into them. What a sum seldom needs (minutes, spans,
launches, funnel events) it need not even decode: see `Columns`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate
from operator import attrgetter

import msgspec

from ingest.contract.zones import DAY_MS
from streams.bits import each
from streams.funnel import STEP_BITS, FunnelEvent
from streams.record import Part, Record, Seen
from streams.spans import Spans

VERSION = 2

#: Facets that were always seen together, and several such sets, are msgpack of their own inside.
FacetSets = tuple[tuple[int, ...], ...]


class Times(msgspec.Struct, array_like=True, gc=False):
    """What a part knows to the minute and to the millisecond.

    minutes     of the first of `seen` before hour * 60, of the others before that of the first
    spans       [days before `day`, start, length, start after the end before, length, ...], the oldest day first
    launches    [days before `day`, bits of the spans that begin with one, time, time after that, ...]
    """

    minutes: list[int]
    spans: list[list[int]]
    launches: list[list[int]]


class PackedPart(msgspec.Struct, array_like=True, gc=False):
    """A part (streams.record.Part).

    hour        relative to day * 24
    first       days before `day`; -1: none
    facets      of the first of `seen` (`pack_facets`)
    days        of the first: a number, or little-endian bytes if it is beyond 64 bits
    others      facets of the others (`pack_others`), in order
    other_days  of the others: little-endian rows, all as wide as the widest needs
    hours       of the first and the others, as `other_days`
    """

    scope: int
    day: int
    hour: int
    first: int
    facets: bytes
    days: int | bytes
    others: bytes
    other_days: bytes
    hours: bytes
    times: Times


class PackedFunnel(msgspec.Struct, array_like=True, gc=False):
    """A funnel's events: each is ms after the one before, tie, bits and value."""

    funnel: int
    newest: int
    events: list[int]


class PackedRecord(msgspec.Struct, array_like=True, gc=False):
    """A record (streams.record.Record)."""

    version: int
    parts: list[PackedPart]
    funnels: list[PackedFunnel]
    target: str


#: PackedPart, Times and PackedRecord as a sum over all records takes them, what it seldom needs left as bytes.
PartColumns = tuple[int, int, int, int, bytes, int | bytes, bytes, bytes, bytes, msgspec.Raw]
TimesColumns = tuple[msgspec.Raw, list[list[int]], list[list[int]]]
Columns = tuple[int, list[PartColumns], list[tuple[int, int, msgspec.Raw]], str]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(PackedRecord)
_facets_decoder = msgspec.msgpack.Decoder(tuple[int, ...])
_others_decoder = msgspec.msgpack.Decoder(FacetSets)
_STEPS = (1 << STEP_BITS) - 1
_by_facets = attrgetter("facets")


@lru_cache(maxsize=65536)
def pack_facets(facets: tuple[int, ...]) -> bytes:
    """The bytes of facets that were seen together."""
    return _encoder.encode(facets)


@lru_cache(maxsize=65536)
def unpack_facets(packed: bytes) -> tuple[int, ...]:
    """Reads `pack_facets`."""
    return _facets_decoder.decode(packed)


@lru_cache(maxsize=65536)
def pack_others(others: FacetSets) -> bytes:
    """The bytes of sets of facets; of none, nothing."""
    return _encoder.encode(others) if others else b""


@lru_cache(maxsize=65536)
def unpack_others(packed: bytes) -> FacetSets:
    """Reads `pack_others`."""
    return _others_decoder.decode(packed) if packed else ()


def _pack_rows(rows: list[int]) -> bytes:
    """Whole numbers as rows of equal width."""
    width = (max(rows).bit_length() + 7) // 8
    return bytes(rows) if width == 1 else b"".join([row.to_bytes(width, "little") for row in rows])


def unpack_rows(packed: bytes, count: int) -> list[int]:
    """Reads `_pack_rows`."""
    width = len(packed) // count
    if width == 1:
        return list(packed)
    return [int.from_bytes(packed[at : at + width], "little") for at in range(0, width * count, width)] if width else [0] * count


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


def _pack_launches(part: Part) -> list[list[int]]:
    rows: list[list[int]] = []
    for day, times in part.launches.items():
        edges, bits, others = part.spans.get(day, []), 0, []
        for time in times:
            where = bisect_left(edges, time)
            if where < len(edges) and edges[where] == time and where % 2 == 0:
                bits |= 1 << where // 2
            else:
                others.append(time)
        rows.append(_pack_times(others, day * DAY_MS, [part.day - day, bits]))
    return rows


def spans_of(day: int, rows: list[list[int]]) -> Spans:
    """Reads PackedPart.spans; `day` is the part's."""
    return {day - row[0]: _unpack_times(row, 1, (day - row[0]) * DAY_MS) for row in rows}


def launches_of(day: int, rows: list[list[int]], spans: Spans) -> dict[int, list[int]]:
    """Reads PackedPart.launches."""
    launches: dict[int, list[int]] = {}
    for row in rows:
        one = day - row[0]
        starts = spans.get(one, [])[::2]
        launches[one] = sorted(_unpack_times(row, 2, one * DAY_MS) + [starts[index] for index in each(row[1])])
    return launches


def _pack_part(scope: int, part: Part) -> PackedPart:
    seen = part.seen
    facets = others = other_days = hours = b""
    days: int | bytes = 0
    minutes: list[int] = []
    if seen:
        if len(seen) > 1:  # always in the same order, so that more records are alike
            seen = [seen[0], *sorted(seen[1:], key=_by_facets)]
            others = pack_others(tuple([one.facets for one in seen[1:]]))
            other_days = _pack_rows([one.days for one in seen[1:]])
        facets = pack_facets(seen[0].facets)
        days = seen[0].days
        if days >> 64:
            days = days.to_bytes((days.bit_length() + 7) // 8, "little")
        hours = _pack_rows([one.hours for one in seen])
        newest = seen[0].minute
        minutes = [newest - one.minute for one in seen]
        minutes[0] = part.hour * 60 - newest
    spans = [_pack_times(edges, day * DAY_MS, [part.day - day]) for day, edges in sorted(part.spans.items())]
    return PackedPart(
        scope,
        part.day,
        part.hour - part.day * 24,
        part.day - part.first if part.first >= 0 else -1,
        facets,
        days,
        others,
        other_days,
        hours,
        Times(minutes, spans, _pack_launches(part)),
    )


def _unpack_part(packed: PackedPart) -> Part:
    day, times = packed.day, packed.times
    part = Part(day, packed.hour + day * 24, day - packed.first if packed.first >= 0 else -1)
    if packed.facets:
        others = unpack_others(packed.others)
        hours = unpack_rows(packed.hours, 1 + len(others))
        minutes = times.minutes
        newest = part.hour * 60 - minutes[0]
        days = packed.days if isinstance(packed.days, int) else int.from_bytes(packed.days, "little")
        part.seen = [Seen(unpack_facets(packed.facets), days, hours[0], newest)]
        if others:
            for index, row in enumerate(unpack_rows(packed.other_days, len(others)), 1):
                part.seen.append(Seen(others[index - 1], row, hours[index], newest - minutes[index]))
    if times.spans:
        part.spans = spans_of(day, times.spans)
    if times.launches:
        part.launches = launches_of(day, times.launches, part.spans)
    return part


def events_of(row: list[int]) -> list[FunnelEvent]:
    """Reads PackedFunnel.events."""
    both = row[2::3]
    return list(
        zip(accumulate(row[::3]), row[1::3], [one & _STEPS for one in both], [one >> STEP_BITS for one in both], strict=True)
    )


def _pack_funnel(funnel: int, events: list[FunnelEvent]) -> PackedFunnel:
    row: list[int] = []
    before = 0
    for time, tie, bits, value in events:
        row += (time - before, tie, bits | value << STEP_BITS)
        before = time
    return PackedFunnel(funnel, before, row)


def pack_record(record: Record) -> bytes:
    """The bytes of a record."""
    parts = [_pack_part(scope, part) for scope, part in record.parts.items()]
    funnels = [_pack_funnel(funnel, events) for funnel, events in record.funnels.items()] if record.funnels else []
    return _encoder.encode(PackedRecord(VERSION, parts, funnels, record.target))


def unpack_record(data: bytes) -> Record:
    """Reads a record of this version. Raises msgspec.DecodeError."""
    packed = _decoder.decode(data)
    return Record(
        {part.scope: _unpack_part(part) for part in packed.parts},
        {one.funnel: events_of(one.events) for one in packed.funnels},
        packed.target,
    )

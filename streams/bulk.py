"""The sum of contributions over all records of a partition at once: what streams.contributions adds up record by record.

Records are not decoded: what lies in them as bytes is put into columns, and bits are counted in columns (streams.lanes), by the
same functions that tell the windows and lives of a single person. What concerns few persons (open spans, funnels, overlaps) is
worked out for those. A test holds both sums equal; records of an older format are counted one by one.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise

import msgspec

from ingest.contract.zones import DAY_MS
from streams import packed
from streams.bits import REACH, cover_7, cover_30
from streams.clock import ScopeClock
from streams.codec import RecordFormatError, decode_record, version_of
from streams.contributions import Scopes, contribute, count_chain
from streams.funnel import NO_CHAIN, best_chains
from streams.lanes import PIECE_LANES, LaneCounts, pieces, repeated, spaced
from streams.life import AHEAD, LIFE_METRICS, RETENTION_DAYS, kinds, told_days
from streams.packed import Columns, TimesColumns, events_of, spans_of, unpack_facets, unpack_others, unpack_rows
from streams.record import ANY, Record
from streams.totals import Key, Totals
from streams.windows import WINDOWS, month_masks

_NOBODY = Record()
#: How the record of a person begins who was merged into another: nothing of them counts.
_MERGED = msgspec.msgpack.encode([packed.VERSION, [], [], ""])[:-1]

_columns = msgspec.msgpack.Decoder(Columns)
_numbers = msgspec.msgpack.Decoder(list[int])
_times = msgspec.msgpack.Decoder(TimesColumns)


class _Scope:
    """What is gathered of a scope. Days are bits before its newest day."""

    __slots__ = ("clock", "day_bytes", "firsts", "hours", "is_app", "lives", "months", "number", "others", "spans")

    def __init__(self, number: int, clock: ScopeClock, is_app: bool) -> None:
        self.number = number
        self.clock = clock
        self.is_app = is_app
        keep_days = clock.horizon.keep_days
        self.day_bytes = max((keep_days + 7) // 8, 8)
        #: Of each month that is whole: its first day, and the bits of its days before the newest day, in lanes.
        self.months = [
            (WINDOWS[-1][1](clock.day, index), repeated(mask, 16 * self.day_bytes, PIECE_LANES // 2))
            for index, (mask, whole) in enumerate(month_masks(clock.day, keep_days))
            if whole
        ]
        self.firsts: dict[bytes, list[int]] = defaultdict(list)  # facets -> days
        self.lives: dict[int, list[int]] = defaultdict(list)  # days since the first one -> days
        #: (sets of facets, how many bytes their days have, newest day) -> their days
        self.others: dict[tuple[bytes, int, int], list[bytes]] = defaultdict(list)
        self.hours: dict[tuple[int, bytes, bytes, bytes], int] = {}  # (hour, facets, others, hours) -> persons
        self.spans: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])  # day -> ms of usage, sessions, launches


def sum_stored(totals: Totals, scopes: Scopes, records: Iterable[bytes]) -> Totals:
    """Fills empty totals from all records as they lie in the changelog, the clocks being where they are.

    Nothing counts as changed after it. Raises RecordFormatError.
    """
    bulk = _Bulk(totals, scopes)
    bulk.gather(records)
    bulk.count()
    totals.forget_changes()
    return totals


class _Bulk:
    def __init__(self, totals: Totals, scopes: Scopes) -> None:
        self._totals = totals
        self._scopes = scopes
        self._by_scope = {
            number: _Scope(number, clock, number in scopes.overlap_facets) for number, clock in scopes.clocks.items()
        }
        #: When the oldest open entry day of a funnel begins.
        self._since = {
            number: place.clock.zone.day_start(place.clock.oldest_funnel_day) for number, place in scopes.funnels.items()
        }
        #: (app, another) -> the days of both, for each person who has both
        self._pairs: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        self._chains: dict[tuple[int, int, int, tuple[int, int]], int] = {}  # (funnel, day, value, chain) -> persons

    def gather(self, records: Iterable[bytes]) -> None:
        """Takes records apart."""
        decode, scopes, since = _columns.decode, self._by_scope, self._since
        limits = {
            number: (one, one.clock.day, one.clock.oldest_day, one.clock.oldest_hour, one.clock.oldest_span_day)
            for number, one in scopes.items()
        }
        oldest_minute_hour = self._totals.oldest_minute // 60 - 1
        for data in records:
            if data.startswith(_MERGED):
                continue
            if version_of(data) != packed.VERSION:
                contribute(self._totals, self._scopes, _NOBODY, decode_record(data))
                continue
            try:
                _, parts, funnels, _ = decode(data)
            except msgspec.DecodeError as error:
                raise RecordFormatError(f"a person record cannot be read: {error}") from error
            apps = []
            for number, day, hour, first, facets, days, others, other_days, hours, times in parts:
                if number not in limits:
                    continue  # it has left the plan
                scope, newest_day, oldest_day, oldest_hour, oldest_span_day = limits[number]
                if day >= oldest_day and days:
                    back = newest_day - day
                    bits = (days if days.__class__ is int else _number(days)) << back & scope.clock.horizon.day_mask
                    scope.firsts[facets].append(bits)
                    scope.lives[back + first if first >= 0 else -1].append(bits)
                    if scope.is_app:
                        apps.append((number, bits))
                    if others:
                        scope.others[others, len(other_days), day].append(other_days)
                hour += day * 24
                if hour >= oldest_hour and hours:
                    alike = hour, facets, others, hours
                    scope.hours[alike] = scope.hours.get(alike, 0) + 1
                if day >= oldest_span_day or hour >= oldest_minute_hour:
                    minutes, spans, launches = _times.decode(times)
                    if launches or spans:
                        self._spans(scope, day, spans, launches)
                    if hour >= oldest_minute_hour and facets:
                        self._minutes(number, hour, facets, others, minutes)
            if len(apps) > 1:
                for (one, one_bits), (other, other_bits) in combinations(apps, 2):
                    self._pairs[one, other].append((one_bits, other_bits))
            for funnel, newest, events in funnels:
                if newest >= since.get(funnel, newest + 1):
                    self._funnel(funnel, events)

    def _minutes(self, scope: int, hour: int, facets: bytes, others: bytes, packed_minutes: msgspec.Raw) -> None:
        minutes = _numbers.decode(packed_minutes)
        newest = hour * 60 - minutes[0]
        self._totals.count_minute(scope, unpack_facets(facets), 0, newest)
        for other, minute in zip(unpack_others(others), minutes[1:], strict=True):
            self._totals.count_minute(scope, other, 0, newest - minute)

    def _spans(self, scope: _Scope, day: int, rows: list[list[int]], launches: list[list[int]]) -> None:
        if len(rows) == 1 or not any(self._go_on(one, other) for one, other in pairwise(rows)):
            for row in rows:
                of_day = scope.spans[day - row[0]]
                of_day[0] += sum(row[2::2])
                of_day[1] += len(row) // 2
        else:
            spans = spans_of(day, rows)
            for one in spans:
                numbers = self._totals.day_numbers(scope.clock, spans, one)
                of_day = scope.spans[one]
                of_day[0] += numbers.usage_ms
                of_day[1] += numbers.sessions
        for row in launches:
            scope.spans[day - row[0]][2] += row[1].bit_count() + len(row) - 2

    def _go_on(self, row: list[int], later: list[int]) -> bool:
        """Whether the last span of a day goes on in the first of a later one."""
        return row[0] - later[0] == 1 and DAY_MS + later[1] - sum(row[1:]) <= self._totals.gap_ms

    def _funnel(self, funnel: int, events: msgspec.Raw) -> None:
        place = self._scopes.funnels[funnel]
        best = best_chains(events_of(_numbers.decode(events)), place.rule, place.clock.zone.day, self._since[funnel])
        for (day, value), chain in best.items():
            alike = funnel, day, value, chain
            self._chains[alike] = self._chains.get(alike, 0) + 1

    # --- counting what was gathered

    def count(self) -> None:
        """Counts the columns."""
        for scope in self._by_scope.values():
            self._count_days(scope)
            self._count_hours(scope)
            for day, (usage_ms, sessions, launches) in scope.spans.items():
                self._totals.count_span(scope.clock, scope.number, day, usage_ms, sessions)
                self._totals.count_launches(scope.clock, scope.number, day, 0, launches)
        for (funnel, day, value, chain), persons in self._chains.items():
            count_chain(self._totals, self._scopes.funnels[funnel], day, value, NO_CHAIN, chain, persons)
        self._count_overlaps()

    def _count_days(self, scope: _Scope) -> None:
        clock, width = scope.clock, scope.day_bytes
        keep = clock.horizon.keep_days
        by_facet: dict[int, list[bytes]] = defaultdict(list)
        for facets, found in scope.firsts.items():
            column = _column(found, width)
            for facet in unpack_facets(facets):
                by_facet[facet].append(column)
        scope.firsts.clear()
        for (others, row_bytes, day), rows in scope.others.items():
            sets = unpack_others(others)
            columns = _columns_of(b"".join(rows), len(sets), row_bytes // len(sets), width)
            for facets_of, column in zip(sets, columns, strict=True):
                column = _aligned(column, width, keep, clock.day - day)
                for facet in facets_of:
                    by_facet[facet].append(column)
        scope.others.clear()
        for facet, these in by_facet.items():
            self._count_windows(scope, facet, b"".join(these))
        by_first: dict[int, list[int]] = defaultdict(list)
        for since, found in scope.lives.items():
            by_first[since if 0 <= since < keep else keep] += found
        scope.lives.clear()
        of_kind = [LaneCounts(16 * width, PIECE_LANES // 2) for _ in LIFE_METRICS[1:]]
        for since, found in by_first.items():
            self._count_lives(scope, since, _column(found, width), of_kind)
        for metric, counts in zip(LIFE_METRICS[1:], of_kind, strict=True):
            for position, persons in enumerate(counts.by_position()):
                if persons:
                    self._totals.add(Key(metric, scope.number, ANY, "day", clock.day + AHEAD - position), persons)

    def _count_windows(self, scope: _Scope, facet: int, column: bytes) -> None:
        clock, lane_bits = scope.clock, scope.day_bytes * 8
        keep = clock.horizon.keep_days
        room = 2 * lane_bits
        days, last_7, last_30 = LaneCounts(lane_bits), LaneCounts(room, PIECE_LANES // 2), LaneCounts(room, PIECE_LANES // 2)
        months = dict.fromkeys((month for month, _ in scope.months), 0)
        for piece in pieces(column, scope.day_bytes):
            days.add(piece)
            for half in spaced(piece, lane_bits):
                last_7.add(cover_7(half))
                last_30.add(cover_30(half))
                for month, mask in scope.months:
                    months[month] += _not_empty(half & mask, lane_bits).bit_count()
        counts = days.by_position(), last_7.by_position()[: REACH + keep - 6], last_30.by_position()[: REACH + keep - 29]
        for (window, name), of_window in zip(WINDOWS[:-1], counts, strict=True):
            for position, persons in enumerate(of_window):
                if persons:
                    self._totals.add(Key("active_users", scope.number, facet, window, name(clock.day, position)), persons)
        for month, persons in months.items():
            if persons:
                self._totals.add(Key("active_users", scope.number, facet, "month", month), persons)

    def _count_lives(self, scope: _Scope, since: int, column: bytes, of_kind: list[LaneCounts]) -> None:
        """Of persons whose first day was `since` days ago; keep_days: before all days that are kept.

        Kinds of days other than new ones are counted in `of_kind`.
        """
        clock, totals, lane_bits = scope.clock, self._totals, scope.day_bytes * 8
        keep = clock.horizon.keep_days
        room, lanes = 2 * lane_bits, PIECE_LANES // 2
        first = repeated(1 << AHEAD + since, room, lanes)
        told = repeated(told_days(keep), room, lanes)
        days, new = LaneCounts(lane_bits), 0
        for piece in pieces(column, scope.day_bytes):
            days.add(piece)
            for half in spaced(piece, lane_bits):
                new_day, *others = kinds(half << AHEAD, first, told)
                new += new_day.bit_count()
                for counts, those in zip(of_kind, others, strict=True):
                    counts.add(those)
        if new:
            totals.add(Key(LIFE_METRICS[0], scope.number, ANY, "day", clock.day - since), new)
        if since < keep:
            for position, persons in enumerate(days.by_position()[: since + 1]):
                if persons and since - position <= RETENTION_DAYS:
                    facet = totals.retained_facet(since - position)
                    totals.add(Key("retained_users", scope.number, facet, "day", clock.day - since), persons)

    def _count_hours(self, scope: _Scope) -> None:
        clock = scope.clock
        keep = clock.horizon.keep_hours
        width = (keep + 7) // 8
        by_facets: dict[tuple[int, ...], list[bytes]] = defaultdict(list)
        aligned: dict[tuple[int, bytes, int], list[bytes]] = {}  # (hour, hours, sets of facets) -> lanes
        for (hour, facets, others, hours), persons in scope.hours.items():
            sets = unpack_facets(facets), *unpack_others(others)
            alike = hour, hours, len(sets)
            lanes = aligned.get(alike)
            if lanes is None:
                back, mask = clock.hour - hour, clock.horizon.hour_mask
                lanes = aligned[alike] = [(one << back & mask).to_bytes(width, "little") for one in unpack_rows(hours, len(sets))]
            for facets_of, lane in zip(sets, lanes, strict=True):
                by_facets[facets_of].append(lane * persons)
        scope.hours.clear()
        by_facet: dict[int, list[bytes]] = defaultdict(list)
        for facets_of, found in by_facets.items():
            column = b"".join(found)
            for facet in facets_of:
                by_facet[facet].append(column)
        for facet, columns in by_facet.items():
            counts = LaneCounts(width * 8)
            for piece in pieces(b"".join(columns), width):
                counts.add(piece)
            for position, persons in enumerate(counts.by_position()):
                if persons:
                    self._totals.add(Key("active_users", scope.number, facet, "hour", clock.hour - position), persons)

    def _count_overlaps(self) -> None:
        for (one, other), persons in self._pairs.items():
            one_days, other_days = zip(*persons, strict=True)
            ones, others = self._active(one, one_days), self._active(other, other_days)
            for month in ones.keys() & others.keys():
                both = sum((mine & theirs).bit_count() for mine, theirs in zip(ones[month], others[month], strict=True))
                for scope, beside in ((one, other), (other, one)):
                    facet = self._scopes.overlap_facets[beside]
                    self._totals.add(Key("overlap_users", scope, facet, "month", month), both)
        self._pairs.clear()

    def _active(self, app: int, days: Sequence[int]) -> dict[int, list[int]]:
        """For each month that is open (its first day): a bit for each person who was active in it."""
        scope = self._by_scope[app]
        width = scope.day_bytes
        found: dict[int, list[int]] = defaultdict(list)
        for piece in pieces(_column(days, width), width):
            for half in spaced(piece, width * 8):
                for month, mask in scope.months:
                    found[month].append(_not_empty(half & mask, width * 8))
        return found


def _not_empty(lanes: int, used_bits: int) -> int:
    """A bit in each lane that has one set: the one above the used bits, which must be free."""
    full = repeated((1 << used_bits) - 1, 2 * used_bits, PIECE_LANES // 2)
    return lanes + full & repeated(1 << used_bits, 2 * used_bits, PIECE_LANES // 2)


def _number(days: int | bytes) -> int:
    return days if isinstance(days, int) else int.from_bytes(days, "little")


def _column(found: Sequence[int], width: int) -> bytes:
    """Sets of days side by side, in lanes of so many bytes."""
    return struct.pack(f"<{len(found)}Q", *found) if width == 8 else b"".join([one.to_bytes(width, "little") for one in found])


def _columns_of(rows: bytes, lanes: int, was: int, width: int) -> Iterator[bytes]:
    """The columns of rows of so many lanes, their lanes made `width` bytes wide; what does not fit is older than is kept."""
    for lane in range(lanes):
        column = bytearray(len(rows) // (lanes * was) * width if was else 0)
        for byte in range(min(was, width)):
            column[byte::width] = rows[lane * was + byte :: lanes * was]
        yield bytes(column)


def _aligned(column: bytes, width: int, keep_days: int, back: int) -> bytes:
    """Days before an anchor, of days before a day that lies `back` before it; what is older than is kept is gone."""
    kept = repeated((1 << keep_days - back) - 1, width * 8)
    step = PIECE_LANES * width
    return b"".join(
        [
            ((piece & kept) << back).to_bytes(min(step, len(column) - start), "little")
            for start, piece in zip(range(0, len(column), step), pieces(column, width), strict=True)
        ]
    )

"""The person record: all that the stream remembers of a person. A join-semilattice.

A record holds a part for each **scope** (an app, or a group) in which the person was active, and a part is made of sets that
only grow inside their horizon: days and hours seen per facet, the last minute seen, launch times, active spans. Adding an
event and merging two persons are the same join; it is commutative, associative and idempotent.

Scopes and facets are small numbers here; the partition's `Names` says what they stand for. Facet 0 is "" (any activity).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from ingest.contract.zones import Zone
from streams.funnel import FunnelEvent, FunnelRule, join_events
from streams.horizon import Horizon
from streams.spans import Spans, add_interval

ANY = 0

#: Days and hours seen (bits before a part's anchors), and the last minute.
SeenValue = tuple[int, int, int]
NOT_SEEN: SeenValue = (0, 0, 0)

#: A person with more launches than this on a day is a machine: the earliest are kept (which is order-free, too).
MAX_LAUNCHES_A_DAY = 1000


class Seen(msgspec.Struct, gc=False):
    """Facets that were always seen together: the days and hours (bits before the part's anchors), and the last minute.

    Most facets of a person are those of the device and of the person: seen whenever the person was. So a part has few of these,
    and what an event changes, it changes for all of such facets at once. facets is sorted.
    """

    facets: tuple[int, ...]
    days: int = 0
    hours: int = 0
    minute: int = 0


class Part(msgspec.Struct, gc=False, eq=False):
    """What a person did in one scope.

    day, hour   anchors: newest day and newest hour seen (numbers of the scope's zone; -1: none yet)
    first       first day seen (-1: none yet)
    seen        when its facets were seen: each is in one of them, and ANY in the first
    launches    day -> sorted launch times (ms)
    spans       day -> active spans (see streams.spans)
    """

    day: int = -1
    hour: int = -1
    first: int = -1
    seen: list[Seen] = []
    launches: dict[int, list[int]] = {}
    spans: Spans = {}

    def copy(self) -> Part:
        """One of its own."""
        return Part(
            self.day,
            self.hour,
            self.first,
            [Seen(seen.facets, seen.days, seen.hours, seen.minute) for seen in self.seen],
            {day: list(times) for day, times in self.launches.items()},
            {day: list(spans) for day, spans in self.spans.items()},
        )

    def by_facet(self) -> dict[int, SeenValue]:
        """facet -> (days, hours, minute)."""
        return {facet: (seen.days, seen.hours, seen.minute) for seen in self.seen for facet in seen.facets}

    def group(self, by_facet: Mapping[int, SeenValue]) -> None:
        """Takes over what `by_facet` says, with equal facets together."""
        together: dict[SeenValue, list[int]] = {}
        for facet in sorted(by_facet):  # ANY is the smallest
            together.setdefault(by_facet[facet], []).append(facet)
        self.seen = [Seen(tuple(facets), *value) for value, facets in together.items()]

    def split(self, seen: Seen, facets: frozenset[int]) -> None:
        """Leaves in `seen` only what is among `facets`; the others go on by themselves."""
        others = tuple(facet for facet in seen.facets if facet not in facets)
        self.seen.append(Seen(others, seen.days, seen.hours, seen.minute))
        seen.facets = tuple(facet for facet in seen.facets if facet in facets)

    def _value(self) -> tuple[object, ...]:
        return self.day, self.hour, self.first, self.by_facet(), self.launches, self.spans

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and self._value() == other._value()

    __hash__ = None  # type: ignore[assignment]

    def move_day(self, day: int, horizon: Horizon) -> None:
        """Makes `day` the newest day: bits shift, and what leaves the horizon is forgotten."""
        if day <= self.day:
            return
        if self.day >= 0:
            shift = day - self.day
            for seen in self.seen:
                seen.days = (seen.days << shift) & horizon.day_mask
            if len(self.seen) > 2:
                self.group(self.by_facet())  # what was apart may have become alike
        self.day = day

    def move_hour(self, hour: int, horizon: Horizon) -> None:
        """Makes `hour` the newest hour; as `move_day`."""
        if hour <= self.hour:
            return
        if self.hour >= 0:
            shift = hour - self.hour
            for seen in self.seen:
                seen.hours = (seen.hours << shift) & horizon.hour_mask
        self.hour = hour

    def forget_spans(self, horizon: Horizon) -> None:
        """Drops the days of launches and spans that are older than the horizon, seen from the newest day."""
        oldest = self.day - horizon.keep_span_days + 1
        for days in (self.launches, self.spans):
            for day in [day for day in days if day < oldest]:
                del days[day]

    def add_launch(self, day: int, time: int) -> bool:
        """Joins a launch time; whether it was new."""
        times = self.launches.get(day)
        if times is None:
            self.launches[day] = [time]
            return True
        if times[-1] < time:
            if len(times) >= MAX_LAUNCHES_A_DAY:
                return False
            times.append(time)
            return True
        if times[bisect_left(times, time)] == time:
            return False
        insort(times, time)
        del times[MAX_LAUNCHES_A_DAY:]
        return True


class Record(msgspec.Struct, gc=False):
    """A person: scope -> Part, and funnel -> its events (see streams.funnel).

    A person that has been merged into another keeps nothing but that one's id, in `target`.
    """

    parts: dict[int, Part] = {}
    funnels: dict[int, list[FunnelEvent]] = {}
    target: str = ""

    def copy(self) -> Record:
        """One of its own."""
        parts = {scope: part.copy() for scope, part in self.parts.items()}
        return Record(parts, {funnel: list(events) for funnel, events in self.funnels.items()}, self.target)


class JoinRules(NamedTuple):
    """What a join of records needs to know: horizons, the session gap, and each funnel's rule and zone."""

    horizon: Horizon
    gap_ms: int
    funnels: dict[int, tuple[FunnelRule, Zone]]


def join(into: Record, other: Record, rules: JoinRules) -> None:
    """Joins another record (of the same names) into one, in place: the least record that holds both."""
    for funnel, events in other.funnels.items():
        rule, zone = rules.funnels[funnel]
        join_events(into.funnels.setdefault(funnel, []), events, rule, zone.day)
    for scope, theirs in other.parts.items():
        mine = into.parts.get(scope)
        if mine is None:
            mine = into.parts[scope] = Part()
        _join_part(mine, theirs, rules.horizon, rules.gap_ms)


def _join_part(mine: Part, theirs: Part, horizon: Horizon, gap_ms: int) -> None:
    mine.move_day(theirs.day, horizon)
    mine.move_hour(theirs.hour, horizon)
    if theirs.first >= 0:
        mine.first = theirs.first if mine.first < 0 else min(mine.first, theirs.first)
    both = mine.by_facet()
    for seen in theirs.seen:
        days = (seen.days << (mine.day - theirs.day)) & horizon.day_mask
        hours = (seen.hours << (mine.hour - theirs.hour)) & horizon.hour_mask
        for facet in seen.facets:
            own = both.get(facet, NOT_SEEN)
            both[facet] = (own[0] | days, own[1] | hours, max(own[2], seen.minute))
    mine.group(both)
    for day, times in theirs.launches.items():
        for time in times:
            mine.add_launch(day, time)
    for day, spans in theirs.spans.items():
        own_spans = mine.spans.setdefault(day, [])
        for index in range(0, len(spans), 2):
            add_interval(own_spans, spans[index], spans[index + 1], gap_ms)
    mine.forget_spans(horizon)

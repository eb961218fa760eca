"""Joins events into records, and counts what that changes. The hot path: what is known already must cost next to nothing."""

from __future__ import annotations

from ingest.contract.zones import DAY_MS, HOUR_MS
from streams.clock import ScopeClock
from streams.contributions import Scopes, count_chain, months
from streams.funnel import NO_CHAIN, add_event, best_chains
from streams.record import ANY, Part, Record, Seen
from streams.resolve import FunnelTarget, Resolved
from streams.rules import Rules
from streams.spans import MAX_DURATION_MS, add_interval
from streams.totals import Totals
from streams.windows import months_of

_MINUTE_MS = 60_000


class Joiner:
    """Joins events of a partition. late_days and late_hours count events that were too late for days, or for hours only."""

    def __init__(self, rules: Rules, scopes: Scopes, totals: Totals) -> None:
        self._horizon = rules.horizon
        self._gap_ms = rules.gap_ms
        self._scopes = scopes
        self._totals = totals
        self.late_days = 0
        self.late_hours = 0

    def add_late(self, other: Joiner) -> None:
        """Takes over what another has counted as late."""
        self.late_days += other.late_days
        self.late_hours += other.late_hours

    def join_event(self, record: Record, resolved: Resolved, time: int, tie: int, received: int, duration: int) -> bool:
        """Joins an event into a record; whether anything changed. Times in ms, UTC; `tie` orders events of one millisecond."""
        horizon = self._horizon
        late_ms = received - time
        in_hours = late_ms <= horizon.late_ms
        minute = time // _MINUTE_MS if in_hours else 0
        changed = False
        is_app = True
        for scope, clock, facets in resolved.targets:
            zone = clock.zone
            hour = (time + zone.shift_ms) // HOUR_MS
            day = zone.day_of_hour[hour]
            if late_ms > DAY_MS and zone.day(received) - day > horizon.late_days:
                self.late_days += is_app
                is_app = False
                continue
            part = record.parts.get(scope)
            if part is None:
                part = record.parts[scope] = Part(day, hour if in_hours else -1, day)
            if day > part.day:
                part.move_day(day, horizon)
                part.forget_spans(horizon)
            if in_hours and hour > part.hour:
                part.move_hour(hour, horizon)
            changed |= self._see(record, clock, scope, part, facets, day, hour if in_hours else -1, minute)
            if is_app:
                if in_hours:
                    changed |= self._use(clock, scope, part, day, time, duration)
                    if resolved.is_launch:
                        changed |= self._launch(clock, scope, part, day, time)
                else:
                    self.late_hours += 1
                is_app = False
        if in_hours:
            for target in resolved.funnels:
                changed |= self._step(record, target, time, tie)
        return changed

    def _see(
        self, record: Record, clock: ScopeClock, scope: int, part: Part, facets: frozenset[int], day: int, hour: int, minute: int
    ) -> bool:
        """Sets day, hour (-1: not) and minute of the facets; whether anything changed."""
        day_bit = 1 << (part.day - day) & self._horizon.day_mask
        hour_bit = 1 << (part.hour - hour) & self._horizon.hour_mask if hour >= 0 else 0
        changed = False
        known = 0
        for seen in part.seen:
            mine = seen.facets
            if facets.issuperset(mine):
                known += len(mine)
            else:
                common = len(facets.intersection(mine))
                known += common
                old = seen.days & day_bit == day_bit and seen.hours & hour_bit == hour_bit and seen.minute >= minute
                if old or not common:
                    continue
                part.split(seen, facets)
            if seen.minute < minute:
                self._totals.count_minute(scope, seen.facets, seen.minute, minute)
                seen.minute = minute
                changed = True
            if seen.days & day_bit != day_bit:
                was, seen.days = seen.days, seen.days | day_bit
                self._totals.count_days(clock, scope, seen.facets, part.day, was, seen.days)
                if seen.facets[0] == ANY:
                    self._live(record, clock, scope, part, was, day)
                changed = True
            if seen.hours & hour_bit != hour_bit:
                seen.hours |= hour_bit
                self._totals.count_hour(clock, scope, seen.facets, hour)
                changed = True
        if known < len(facets):
            part.seen.append(Seen(tuple(sorted(facets.difference(part.by_facet())))))
            self._see(record, clock, scope, part, facets, day, hour, minute)
            return True
        return changed

    def _live(self, record: Record, clock: ScopeClock, scope: int, part: Part, was: int, day: int) -> None:
        """What hangs on a new day of any activity: first day, life, cohort, overlap with other apps; `was`: the days before."""
        totals, scopes = self._totals, self._scopes
        was_first, part.first = part.first, min(part.first, day)
        totals.count_life(clock, scope, part.day, (was, was_first), (part.seen[0].days, part.first))
        if len(record.parts) > 1 and scope in scopes.overlap_facets:
            old = months_of(clock.day, was << (clock.day - part.day), clock.horizon.keep_days)
            new = months(scopes, scope, part) - old
            for other, theirs in record.parts.items() if new else ():
                if other != scope and other in scopes.overlap_facets:
                    for month in new & months(scopes, other, theirs):
                        totals.count_overlap(clock, scope, scopes.overlap_facets[other], month, 1)
                        totals.count_overlap(scopes.clocks[other], other, scopes.overlap_facets[scope], month, 1)

    def _launch(self, clock: ScopeClock, scope: int, part: Part, day: int, time: int) -> bool:
        """Joins a launch."""
        if day <= part.day - self._horizon.keep_span_days:
            return False
        before = len(part.launches.get(day, ()))
        if not part.add_launch(day, time):
            return False
        self._totals.count_launches(clock, scope, day, before, len(part.launches[day]))
        return True

    def _use(self, clock: ScopeClock, scope: int, part: Part, day: int, time: int, duration: int) -> bool:
        """Joins the interval that an event stands for into the active spans."""
        gap_ms = self._gap_ms
        start = time - duration if duration <= MAX_DURATION_MS else time
        spans = part.spans
        own = spans.get(day)
        if own is not None:
            if own[-2] <= start:
                if time <= own[-1]:
                    return False  # within what is known: the way of replays
                if day + 1 not in spans:
                    if start - own[-1] <= gap_ms:
                        self._totals.count_span(clock, scope, day, time - own[-1], 0)
                        own[-1] = time  # the open span goes on: the way of live traffic
                    else:
                        self._totals.count_span(clock, scope, day, time - start, 1)
                        own += (start, time)
                    return True
        elif (
            day - 1 not in spans
            and day + 1 not in spans
            and start >= clock.zone.day_start(day)
            and day > part.day - self._horizon.keep_span_days
        ):
            self._totals.count_span(clock, scope, day, time - start, 1)
            spans[day] = [start, time]
            return True
        zone = clock.zone
        first = zone.day(start)
        oldest = part.day - self._horizon.keep_span_days + 1
        touched = range(first - 1, day + 2)
        was = [self._totals.day_numbers(clock, part.spans, one) for one in touched]
        changed = False
        for one in range(max(first, oldest), day + 1):
            low = max(start, zone.day_start(one))
            high = min(time, zone.day_start(one + 1))
            changed |= add_interval(part.spans.setdefault(one, []), low, high, gap_ms)
        if changed:
            for one, numbers in zip(touched, was, strict=True):
                self._totals.count_spans(clock, scope, one, numbers, self._totals.day_numbers(clock, part.spans, one))
        return changed

    def _step(self, record: Record, target: FunnelTarget, time: int, tie: int) -> bool:
        """Joins an event of a funnel."""
        place = self._scopes.funnels[target.funnel]
        events = record.funnels.get(target.funnel)
        if events is None:
            events = record.funnels[target.funnel] = []
        rule, zone = place.rule, place.clock.zone
        day_of = zone.day
        before = list(events)
        if not add_event(events, (time, tie, target.bits, target.value), rule, day_of):
            return False
        # only chains that began within the window before the event can have changed, and with them the best of their days
        since = zone.day_start(day_of(time - rule.window_ms))
        was, now = best_chains(before, rule, day_of, since), best_chains(events, rule, day_of, since)
        if was != now:
            for day, value in was.keys() | now.keys():
                reached = was.get((day, value), NO_CHAIN), now.get((day, value), NO_CHAIN)
                if reached[0] != reached[1]:
                    count_chain(self._totals, place, day, value, *reached)
        return True

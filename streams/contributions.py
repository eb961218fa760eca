"""What a record contributes to the totals of its partition. Every total is the sum of this over the partition's records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from streams.clock import ScopeClock
from streams.funnel import NO_CHAIN, FunnelRule, best_chains, bucket_seconds
from streams.horizon import Horizon
from streams.record import ANY, NOT_SEEN, Part, Record, Seen, SeenValue
from streams.totals import Key, Totals
from streams.windows import months_of

_NO_PART = Part()
_NOBODY = Record()


class FunnelPlace:
    """Where a funnel is counted, and how; `number` gives the facet number for a name like "transfer:3", `text` the name."""

    def __init__(
        self, name: str, scope: int, clock: ScopeClock, rule: FunnelRule, number: Callable[[str], int], text: Callable[[int], str]
    ) -> None:
        self.name = name
        self.scope = scope
        self.clock = clock
        self.rule = rule
        self._number = number
        self._text = text
        self._facets: dict[tuple[int, int], int] = {}

    def facet(self, which: int, value: int) -> int:
        """The facet of a step, or of a bucket of seconds, for a value of the breakdown (0: all)."""
        facet = self._facets.get((which, value))
        if facet is None:
            ending = f":{self._text(value)}" if value else ""
            facet = self._facets[which, value] = self._number(f"{self.name}:{which}{ending}")
        return facet


class Scopes:
    """The scopes and funnels of a partition by number.

    clocks          of apps and groups
    overlap_facets  app -> facet number of "app:<its id>", as other apps' totals name it; groups are not in it
    funnels         where each is counted
    """

    def __init__(self, clocks: dict[int, ScopeClock], overlap_facets: dict[int, int], funnels: dict[int, FunnelPlace]) -> None:
        self.clocks = clocks
        self.overlap_facets = overlap_facets
        self.funnels = funnels


def contribute(totals: Totals, scopes: Scopes, was: Record, now: Record) -> None:
    """Counts the difference between what a record was and what it is now; an empty record is nobody.

    Parts of scopes that have left the plan are passed over.
    """
    for scope in now.parts.keys() | was.parts.keys():
        clock = scopes.clocks.get(scope)
        if clock is not None:
            _contribute_part(totals, clock, scope, was.parts.get(scope, _NO_PART), now.parts.get(scope, _NO_PART))
    for funnel in now.funnels.keys() | was.funnels.keys():
        place = scopes.funnels.get(funnel)
        if place is not None:
            before = best_chains(was.funnels.get(funnel, []), place.rule, place.clock.zone.day)
            after = best_chains(now.funnels.get(funnel, []), place.rule, place.clock.zone.day)
            for key in before.keys() | after.keys():
                count_chain(totals, place, *key, before.get(key, NO_CHAIN), after.get(key, NO_CHAIN))
    apps = [scope for scope in now.parts.keys() | was.parts.keys() if scope in scopes.overlap_facets]
    for scope in apps if len(apps) > 1 else ():
        for other in apps:
            if other != scope:
                before_months, after_months = (
                    months(scopes, scope, record.parts.get(scope, _NO_PART))
                    & months(scopes, other, record.parts.get(other, _NO_PART))
                    for record in (was, now)
                )
                for month in before_months ^ after_months:
                    difference = 1 if month in after_months else -1
                    totals.count_overlap(scopes.clocks[scope], scope, scopes.overlap_facets[other], month, difference)


def count_chain(
    totals: Totals, place: FunnelPlace, day: int, value: int, was: tuple[int, int], now: tuple[int, int], persons: int = 1
) -> None:
    """The best chain of a person, or of several, of an entry day and breakdown value (see streams.funnel; (0, 0): none).

    Per entry day: `funnel_users` for each step reached, facet "<funnel>:<step>", and "<funnel>:<step>:<facet>" for the
    breakdown; `funnel_conversions` with the bucket of the time to convert, facet "<funnel>:<seconds>".
    """
    for steps, difference in ((range(was[0] + 1, now[0] + 1), 1), (range(now[0] + 1, was[0] + 1), -1)):
        for step in steps:
            facet = place.facet(step, value)
            totals.count_funnel(place.clock, Key("funnel_users", place.scope, facet, "day", day), difference * persons)
    if not value:
        for (depth, minus_ms), difference in ((was, -1), (now, 1)):
            if depth == place.rule.steps:
                facet = place.facet(bucket_seconds(-minus_ms), 0)
                totals.count_funnel(place.clock, Key("funnel_conversions", place.scope, facet, "day", day), difference * persons)


def months(scopes: Scopes, scope: int, part: Part) -> frozenset[int]:
    """The months (first days) in which a part was active, as far as they are open."""
    clock = scopes.clocks[scope]
    return (
        months_of(clock.day, part.seen[0].days << (clock.day - part.day), clock.horizon.keep_days) if part.seen else frozenset()
    )


def _contribute_part(totals: Totals, clock: ScopeClock, scope: int, was: Part, now: Part) -> None:
    if was.seen and now.seen and not _may_become(was, now):
        _contribute_seen(totals, clock, scope, was, _NO_PART)
        _contribute_seen(totals, clock, scope, _NO_PART, now)
    else:
        _contribute_seen(totals, clock, scope, was, now)
    for day in now.launches.keys() | was.launches.keys():
        totals.count_launches(clock, scope, day, len(was.launches.get(day, ())), len(now.launches.get(day, ())))
    for day in now.spans.keys() | was.spans.keys():
        numbers = totals.day_numbers(clock, was.spans, day), totals.day_numbers(clock, now.spans, day)
        totals.count_spans(clock, scope, day, *numbers)


def _may_become(was: Part, now: Part) -> bool:
    """Whether a part can have grown to the other: not if the person was forgotten and somebody new came under the same id."""
    return (
        was.day <= now.day
        and was.hour <= now.hour
        and {facet for seen in was.seen for facet in seen.facets} <= {facet for seen in now.seen for facet in seen.facets}
    )


def _contribute_seen(totals: Totals, clock: ScopeClock, scope: int, was: Part, now: Part) -> None:
    """What hangs on when facets were seen. The one part is empty, or can have grown to the other."""
    anchors = now if now.seen else was
    for facets, before, after in _alike(was, now, clock.horizon):
        if before[0] != after[0]:
            totals.count_days(clock, scope, facets, anchors.day, before[0], after[0])
        if before[1] != after[1]:
            totals.count_hours(clock, scope, facets, anchors.hour, before[1], after[1])
        if before[2] != after[2]:
            totals.count_minute(scope, facets, before[2], after[2])
        if facets[0] == ANY and (before[0], was.first) != (after[0], now.first):
            totals.count_life(clock, scope, anchors.day, (before[0], was.first), (after[0], now.first))


def _alike(was: Part, now: Part, horizon: Horizon) -> Iterator[tuple[tuple[int, ...], SeenValue, SeenValue]]:
    """(facets, before, after) of all facets, those that change alike together; bits before the same anchors."""
    if not was.seen:
        yield from ((seen.facets, NOT_SEEN, (seen.days, seen.hours, seen.minute)) for seen in now.seen)
    elif not now.seen:
        yield from ((seen.facets, (seen.days, seen.hours, seen.minute), NOT_SEEN) for seen in was.seen)
    else:
        before = Part(was.day, was.hour, was.first, [Seen(seen.facets, seen.days, seen.hours, seen.minute) for seen in was.seen])
        before.move_day(now.day, horizon)
        before.move_hour(now.hour, horizon)
        then = before.by_facet()
        together: dict[tuple[SeenValue, SeenValue], list[int]] = {}
        for facet, value in sorted(now.by_facet().items()):
            together.setdefault((then.get(facet, NOT_SEEN), value), []).append(facet)
        yield from ((tuple(facets), *values) for values, facets in together.items())


def sum_afresh(totals: Totals, scopes: Scopes, records: Iterable[Record]) -> Totals:
    """Fills empty totals from all records, the clocks being where they are. Nothing counts as changed after it.

    This is what totals are, by definition; streams.bulk comes to the same, faster.
    """
    for record in records:
        contribute(totals, scopes, _NOBODY, record)
    totals.forget_changes()
    return totals

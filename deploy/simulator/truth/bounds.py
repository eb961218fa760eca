"""The numbers where it is not known of some events whether, or when, they arrived. Pure.

Numbers are sums over persons, so whoever had no such event counts as usual; of the others it is worked out what they can count
for at least, and at most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple
from zoneinfo import ZoneInfo

from deploy.simulator.truth.clock import local
from deploy.simulator.truth.funnels import events_of, possible_conversions
from deploy.simulator.truth.happened import HOUR_MS, Happened, in_hours, time_of
from deploy.simulator.truth.identity import families, granted, person_of
from deploy.simulator.truth.life import overlaps, possible_lives
from deploy.simulator.truth.numbers import in_days, members, numbers, persons_of, zones_of
from ingest.contract.plan import Plan
from streams.contract.total import TotalKey

#: An event touches the sessions of no day that starts further from it than this.
_NEAR_MS = 4 * 24 * HOUR_MS
#: These only grow with more events and with earlier receipts, as long as it is known who is who.
_GROWING = frozenset({"active_users", "launches", "usage_ms"})
#: What a run sends last may not have been acknowledged: (as early as it can have been received, as late; None: perhaps never).
Uncertain = tuple[Happened, Happened | None]


class Bounds(NamedTuple):
    """Where a number must lie: low = high for a certain one; apart where some events may or may not have arrived."""

    low: int
    high: int


def bounds(plan: Plan, certain: Iterable[Happened], uncertain: Iterable[Uncertain], now: int) -> dict[TotalKey, Bounds]:
    """All numbers, of all windows that have begun at `now` (ms)."""
    sure, unsure = list(certain), list(uncertain)
    least = [*sure, *(late for _, late in unsure if late is not None)]
    if not unsure:
        return {key: Bounds(value, value) for key, value in numbers(plan, least, now).items()}
    most = [*sure, *(early for early, _ in unsure)]
    merges = [granted(plan, least), granted(plan, most)]
    ids = {early.person for early, _ in unsure}
    ids |= {id_ for early, _ in unsure if early.merge for id_ in (early.merge.source, early.merge.target)}
    shaky = families(merges, ids)
    calm = [one for one in sure if one.person not in shaky]
    low: dict[TotalKey, int] = defaultdict(int, numbers(plan, calm, now, merges[1]))
    high: dict[TotalKey, int] = defaultdict(int, low)
    of_family: dict[frozenset[str], tuple[list[Happened], list[Happened]]] = defaultdict(lambda: ([], []))
    for place, events in enumerate((least, most)):
        for one in events:
            if one.person in shaky:
                of_family[shaky[one.person]][place].append(one)
    moved = {early.id for early, _ in unsure}
    for family, (fewest, all_events) in of_family.items():
        _add_growing(plan, low, high, (fewest, all_events), merges, now, moved)
        _add_possible(plan, high, all_events, merges, len(family), now)
    return {key: Bounds(low.get(key, 0), value) for key, value in high.items()}


def _add_growing(
    plan: Plan,
    low: dict[TotalKey, int],
    high: dict[TotalKey, int],
    events: tuple[list[Happened], list[Happened]],
    merges: list[dict[str, str]],
    now: int,
    moved: set[str],
) -> None:
    """One family's share in what grows with events. A session more or less is possible for each uncertain event, as one can
    both begin a session and join two; for each event at all, where it is not known whose it is."""
    ways = [numbers(plan, some, now, merged) for merged in merges for some in events]
    known = _same_persons(merges, events[1])
    shaky = [one for one in events[1] if not known or one.id in moved]
    for key in set().union(*ways):
        values = [way.get(key, 0) for way in ways]
        if key.metric in _GROWING:
            low[key] += min(values)
            high[key] += max(values)
        elif key.metric == "sessions":
            near = sum(one.app == key.app and abs(time_of(one) - key.start) <= _NEAR_MS for one in shaky)
            low[key] += max(0, min(values) - near)
            high[key] += max(values) + near


def _add_possible(
    plan: Plan, high: dict[TotalKey, int], events: list[Happened], merges: list[dict[str, str]], size: int, now: int
) -> None:
    """One family's share in what can go both ways: nothing at least, at most everything that is thinkable."""
    persons = 1 if _same_persons(merges, events) else size
    one_person = dict.fromkeys({one.person for one in events}, "u:")
    zones = zones_of(plan)
    found: set[TotalKey] = set()
    for person in persons_of(plan, events, one_person).values():
        for scope, days in person.days.items():
            found.update(possible_lives(scope, zones[scope], days, local(now, zones[scope]).date()))
        found.update(overlaps({app.id: person.days[app.id] for app in plan.apps if app.id in person.days}, zones))
        for funnel in plan.funnels:
            zone = zones[funnel.app]
            own = [one for app in members(plan, funnel.app) for one in person.events.get(app, ())]
            found.update(possible_conversions(plan, funnel, events_of(funnel, own, zone), zone))
    for key in found:
        high[key] += persons


def _same_persons(merges: list[dict[str, str]], events: list[Happened]) -> bool:
    first, second = ({one.person: person_of(merged, one.person) for one in events} for merged in merges)
    return first == second


def same_lateness(plan: Plan, early: Happened, late: Happened) -> bool:
    """Whether an event counts for the same numbers, be it received when `early` says or when `late` does."""
    if in_hours(plan, early) != in_hours(plan, late):
        return False
    names = {app.time_zone or plan.project.time_zone for app in plan.apps} | {plan.project.time_zone}
    return all(in_days(plan, early, zone) == in_days(plan, late, zone) for zone in map(ZoneInfo, names))

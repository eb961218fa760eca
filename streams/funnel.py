"""Funnels: how far a person's chains of events come, as a pure function of a sorted set of events.

A record keeps, per funnel, the events that are a step or an exclusion of it, as (time, tie, bits, value) sorted by
(time, tie): time in ms, tie the CRC-32 of the event id (so that events of one millisecond have an order, the same for all who
look), bits saying which steps the event is, and value the facet of the breakdown (0: none).

A chain starts with each event that is step 1. It takes the next step with the first later event that is that step, strictly
later in (time, tie), no more than the window after its start. One event takes a chain one step at most. An exclusion that is
not the next step ends the chain. For a person and an entry day (the local day of the chain's start) the deepest chain counts,
and of the complete ones the quickest.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple
from zlib import crc32

FunnelEvent = tuple[int, int, int, int]

#: The bit of an exclusion; steps have bits 0 to 11.
EXCLUDED = 1 << 12
#: Worse than any chain.
NO_CHAIN = (0, 0)
#: Bits of steps and exclusion.
STEP_BITS = EXCLUDED.bit_length()

#: A person with more events of a funnel on a local day is a machine: the earliest are kept (which is order-free, too).
MAX_EVENTS_A_DAY = 500


class FunnelRule(NamedTuple):
    """steps: how many; window_ms: from the chain's start to its last step; keep_days: local days of events in a record."""

    steps: int
    window_ms: int
    keep_days: int


def tie(event_id: str) -> int:
    """What orders events of the same millisecond."""
    return crc32(event_id.encode())


def add_event(events: list[FunnelEvent], event: FunnelEvent, rule: FunnelRule, day_of: Callable[[int], int]) -> bool:
    """Joins an event into the sorted list, in place; whether anything changed. Old days and events over the cap drop out."""
    where = bisect_left(events, (*event[:2], 0, 0))
    if where < len(events) and events[where][:2] == event[:2]:
        known = events[where]
        joined = (*known[:2], known[2] | event[2], max(known[3], event[3]))
        if joined == known:
            return False
        events[where] = joined
        return True
    events.insert(where, event)
    day = day_of(event[0])
    oldest = day_of(events[-1][0]) - rule.keep_days + 1
    if day < oldest:
        del events[where]
        return False
    first = 0
    while day_of(events[first][0]) < oldest:
        first += 1
    del events[:first]
    if len(events) > MAX_EVENTS_A_DAY:
        of_day = [index for index, one in enumerate(events) if day_of(one[0]) == day]
        if len(of_day) > MAX_EVENTS_A_DAY:
            last = events.pop(of_day[-1])
            return last != event
    return True


def join_events(mine: list[FunnelEvent], theirs: list[FunnelEvent], rule: FunnelRule, day_of: Callable[[int], int]) -> None:
    """Joins another list into one, in place."""
    for event in theirs:
        add_event(mine, event, rule, day_of)


def best_chains(
    events: list[FunnelEvent], rule: FunnelRule, day_of: Callable[[int], int], since: int = 0
) -> dict[tuple[int, int], tuple[int, int]]:
    """The best chain of each (entry day, breakdown value), and of each entry day over all values (value 0).

    (depth, minus the ms to convert if complete, else 0): the greater, the better. Only of chains that begin at `since` or later.
    """
    best: dict[tuple[int, int], tuple[int, int]] = {}
    steps, window_ms, count = rule.steps, rule.window_ms, len(events)
    for index in range(bisect_left(events, (since,)) if since else 0, count):
        time, _, bits, value = events[index]
        if not bits & 1:
            continue
        depth, last = 1, time
        for later in range(index + 1, count):
            at, _, bits, _ = events[later]
            if at > time + window_ms:
                break
            if bits >> depth & 1:
                depth += 1
                last = at
                if depth == steps:
                    break
            elif bits & EXCLUDED:
                break
        reached = (depth, time - last if depth == steps else 0)
        day = day_of(time)
        if reached > best.get((day, 0), NO_CHAIN):
            best[day, 0] = reached
        if value and reached > best.get((day, value), NO_CHAIN):
            best[day, value] = reached
    return best


def bucket_seconds(milliseconds: int) -> int:
    """The lower end, in seconds, of the bucket that a time to convert is counted in: whole seconds up to 64, then 32 buckets
    for each doubling, so that a bucket is at most 3.2 % wide."""
    seconds = milliseconds // 1000
    shift = max(seconds.bit_length() - 6, 0)
    return seconds >> shift << shift

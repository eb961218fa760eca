"""Active spans of a person in an app: a union of intervals with short gaps filled, kept by local day.

An event is the interval [time - duration, time] in milliseconds. Within a day intervals closer than the session gap are one;
across midnight they stay apart in the record and are put together when they are read, so that the record is a plain union
per day: order-free, and whole days can be forgotten without touching others. A day's spans are a flat sorted list
[start, end, start, end, ...].
"""

from __future__ import annotations

from typing import NamedTuple

#: A reported duration longer than this is a broken clock, not usage; it counts as none.
MAX_DURATION_MS = 86_400_000

Spans = dict[int, list[int]]


class SpanNumbers(NamedTuple):
    """What a day's spans come to: usage in milliseconds within the day, and sessions that start in it."""

    usage_ms: int
    sessions: int


NOTHING = SpanNumbers(0, 0)


def add_interval(day: list[int], start: int, end: int, gap_ms: int) -> bool:
    """Joins an interval into a day's list, in place; whether anything changed. Gaps up to gap_ms (inclusive) are filled."""
    if not day:
        day += (start, end)
        return True
    if start >= day[-2]:  # at or after the last span: the way of live traffic
        if start - day[-1] > gap_ms:
            day += (start, end)
            return True
        if end > day[-1]:
            day[-1] = end
            return True
        return False
    kept: list[int] = []
    after: list[int] = []
    low, high = start, end
    for index in range(0, len(day), 2):
        one_start, one_end = day[index], day[index + 1]
        if one_end + gap_ms < low:
            kept += (one_start, one_end)
        elif one_start - gap_ms > high:
            after += (one_start, one_end)
        else:
            low = min(low, one_start)
            high = max(high, one_end)
    joined = [*kept, low, high, *after]
    if joined == day:
        return False
    day[:] = joined
    return True


def numbers(spans: Spans, day: int, day_start: int, next_start: int, gap_ms: int) -> SpanNumbers:
    """Usage and sessions of one day, with the neighbours' spans joined on where the gap over midnight is short enough.

    day_start and next_start are the instants of the local midnights around the day.
    """
    own = spans.get(day)
    if not own:
        return NOTHING
    usage = sum(own[1::2]) - sum(own[::2])
    sessions = len(own) // 2
    before = spans.get(day - 1)
    if before and own[0] - before[-1] <= gap_ms:
        usage += own[0] - day_start
        sessions -= 1
    after = spans.get(day + 1)
    if after and after[0] - own[-1] <= gap_ms:
        usage += next_start - own[-1]
    return SpanNumbers(usage, sessions)

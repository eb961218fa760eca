"""Which windows a set of days covers: the definition of active users per day, trailing window and month.

A person is active in a window if one of its days is among the days seen. So the windows that a set of days covers are a set
themselves, and a day that is new adds exactly the windows that were not covered before. Sets are whole numbers whose bits
count back from an anchor (see streams.bits).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from ingest.contract.zones import month_start, next_month
from streams.bits import REACH, cover_7, cover_30, each
from streams.contract.total import Window


class Covered(NamedTuple):
    """Windows as bits before an anchor day.

    days      bit k: the day k before the anchor
    last_7    bit k: the 7-day window that ends REACH - k days after the anchor; last_30: the 30-day one
    months    bit k: the k-th month before the anchor's
    """

    days: int
    last_7: int
    last_30: int
    months: int


@lru_cache(maxsize=1024)
def month_masks(anchor: int, keep_days: int) -> tuple[tuple[int, bool], ...]:
    """For each month before the anchor's: the bits of its days, and whether all of them are kept."""
    masks: list[tuple[int, bool]] = []
    first = month_start(anchor)
    while True:
        newest = max(anchor - next_month(first) + 1, 0)
        if newest >= keep_days:
            return tuple(masks)
        masks.append((((1 << (anchor - first + 1)) - 1) >> newest << newest, anchor - first < keep_days))
        first = month_start(first - 1)


@lru_cache(maxsize=65536)
def covered(anchor: int, days: int, keep_days: int) -> Covered:
    """The windows that days cover, as far as they lie within the newest keep_days: a window that begins before is not told."""
    days &= (1 << keep_days) - 1
    months = 0
    for index, (mask, whole) in enumerate(month_masks(anchor, keep_days)):
        if whole and days & mask:
            months |= 1 << index
    return Covered(
        days,
        cover_7(days) & (1 << REACH + keep_days - 6) - 1,
        cover_30(days) & (1 << REACH + keep_days - 29) - 1,
        months,
    )


def _month_before(anchor: int, months: int) -> int:
    first = month_start(anchor)
    for _ in range(months):
        first = month_start(first - 1)
    return first


@lru_cache(maxsize=65536)
def months_of(anchor: int, days: int, keep_days: int) -> frozenset[int]:
    """The months (numbers of their first days) that days cover, as far as they lie within the newest keep_days."""
    return frozenset(_month_before(anchor, position) for position in each(covered(anchor, days, keep_days).months))


#: For each field of Covered: the window, and what day names it, from the anchor and the bit's position.
WINDOWS: tuple[tuple[Window, Callable[[int, int], int]], ...] = (
    ("day", lambda anchor, position: anchor - position),
    ("7d", lambda anchor, position: anchor + REACH - position),
    ("30d", lambda anchor, position: anchor + REACH - position),
    ("month", _month_before),
)

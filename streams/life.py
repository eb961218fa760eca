"""A person's life in a scope, day by day: new, returning, resurrected, dormant; and whether a cohort came back.

All are functions of the days seen and the first day ever. Sets of days are whole numbers (see streams.bits); here bit k stands
for the day AHEAD - k after the anchor, as a person becomes dormant up to 30 days after the last day seen.

    new           the first day ever
    returning     active, and active on one of the 30 days before
    resurrected   active after 30 days or more without, but not new
    dormant       the 30th day without activity: active 30 days before, and on none of the days since

So DAU = new + returning + resurrected, and 30-day active users change by new + resurrected - dormant.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

#: Days without activity after which a person is dormant.
DORMANT_DAYS = 30
AHEAD = DORMANT_DAYS
#: Retention is told for the first day (0) up to so many days after it.
RETENTION_DAYS = 30


class Life(NamedTuple):
    """Days of each kind, as bits."""

    new: int
    returning: int
    resurrected: int
    dormant: int


NEVER = Life(0, 0, 0, 0)
#: The metric of each field of Life.
LIFE_METRICS = ("new_users", "returning_users", "resurrected_users", "dormant_users")


def _any_of_last(days: int, count: int) -> int:
    """Bit k: one of the `count` days up to and with that of bit k is set."""
    reached = 1
    while reached < count:
        step = min(reached, count - reached)
        days |= days >> step
        reached += step
    return days


@lru_cache(maxsize=65536)
def life(anchor: int, days: int, first: int, keep_days: int) -> Life:
    """The kinds of a person's days. `days` are bits before the anchor, `first` is a day number.

    Told for days whose 30 days before are all kept: not before keep_days - 30 days ago.
    """
    if not days:
        return NEVER
    return kinds(days << AHEAD, 1 << anchor + AHEAD - first, told_days(keep_days))


def kinds(active: int, first: int, told: int) -> Life:
    """The kinds of active days, with the bit of the first day and those of the days to be told.

    Also for many persons side by side (streams.lanes).
    """
    before = _any_of_last(active >> 1, DORMANT_DAYS)
    old = active & ~first
    return Life(
        active & first & told,
        old & before & told,
        old & ~before & told,
        active >> DORMANT_DAYS & ~_any_of_last(active, DORMANT_DAYS) & told,
    )


def told_days(keep_days: int) -> int:
    """The days for which the kinds are told: those whose 30 days before are all kept."""
    return (1 << AHEAD + keep_days - DORMANT_DAYS) - 1


def retained(anchor: int, days: int, first: int) -> int:
    """The days up to RETENTION_DAYS after the first on which the person was seen: bit RETENTION_DAYS - n for n days after."""
    shift = first + RETENTION_DAYS - anchor
    seen = days << shift if shift >= 0 else days >> -shift
    return seen & (1 << RETENTION_DAYS + 1) - 1

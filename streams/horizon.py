"""What is remembered for how long, and what is too late. All from the plan's horizons.

An event is late by itself (its receipt against its own time), so that a replay decides the same. Records keep more than late
events may touch: the trailing windows and the month that such an event belongs to must still be whole, and frames may come a
little out of order (a collector's spool that drains after hours).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.contract.plan import Horizons
from ingest.contract.zones import HOUR_MS

#: The furthest that a window reaches back from a day in it: the first of the month, or 29 days of a 30-day window.
_LONGEST_WINDOW_DAYS = 30
#: How far receipts may be out of order in a partition before a late event can meet a window that is closed (and what a clock
#: change can add to the local days between an event and its receipt).
_SLACK_DAYS = 2
_SLACK_HOURS = 24


@dataclass(frozen=True)
class Horizon:
    """The limits in the units that the records use.

    late_days, late_ms      what still counts (see plan.Horizons)
    keep_days, keep_hours   bits in a record, newest included
    keep_span_days          days of launches and spans in a record, newest included
    open_span_days          days whose launches, usage and sessions may still change, newest included
    keep_funnel_days        days of funnel events in a record, newest included; entry days that old may still change
    day_mask, hour_mask     all bits of kept days, of kept hours
    """

    late_days: int
    late_ms: int
    keep_days: int
    keep_hours: int
    keep_span_days: int
    open_span_days: int
    keep_funnel_days: int
    day_mask: int = field(init=False)
    hour_mask: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "day_mask", (1 << self.keep_days) - 1)
        object.__setattr__(self, "hour_mask", (1 << self.keep_hours) - 1)


def horizon_of(plan: Horizons, longest_funnel_hours: int = 0) -> Horizon:
    """The record's limits for a plan's horizons. The defaults (31 days, 48 hours) keep 64 days and 72 hours."""
    # +1: an interval may begin a day before the event; +1: the newest itself
    open_span_days = -(-plan.late_hours // 24) + 2 + _SLACK_HOURS // 24
    return Horizon(
        late_days=plan.late_days,
        late_ms=plan.late_hours * HOUR_MS,
        keep_days=plan.late_days + _LONGEST_WINDOW_DAYS + _SLACK_DAYS + 1,
        keep_hours=plan.late_hours + _SLACK_HOURS,
        keep_span_days=open_span_days + 1,  # a day's numbers look at its neighbour
        open_span_days=open_span_days,
        keep_funnel_days=-(-(plan.late_hours + longest_funnel_hours) // 24) + 1 + _SLACK_HOURS // 24,
    )

"""Windows that had closed before a login told that two ids are one person. Pure.

The stream corrects a number as long as its window is open (streams.clock). Of a window that had closed by then, it has told the
number of the two ids, and that stays; whether it had closed for the partition of either id cannot be told from here. So in such
windows a number may lie anywhere between that with all merges and that with none.
"""

from __future__ import annotations

from collections.abc import Mapping

from ingest.contract.plan import Plan
from sinks.verify.report import Bounds, Difference
from streams.contract.total import TotalKey

_HOUR_MS = 3_600_000
_OF_HOURS = frozenset({"launches", "usage_ms", "sessions", "funnel_users", "funnel_conversions"})


def may_have_closed(plan: Plan, key: TotalKey, newest: int) -> bool:
    """Whether a window may have closed when the newest merge was granted (ms). No window closes before its horizon has passed."""
    if key.window == "hour" or key.metric in _OF_HOURS:
        return key.start < newest - plan.horizons.late_hours * _HOUR_MS
    return key.start < newest - plan.horizons.late_days * 24 * _HOUR_MS


def unexplained(
    plan: Plan,
    differences: list[Difference],
    unmerged: Mapping[TotalKey, int],
    truth: Mapping[TotalKey, Bounds] | None,
    newest: int,
) -> list[Difference]:
    """The differences that do not come of windows that had closed. unmerged: SQL's numbers with every id as sent."""
    found = []
    for one in differences:
        low, high = sorted((one.sql, unmerged.get(one.key, 0)))
        bounds = Bounds(one.sql, one.sql) if truth is None else truth.get(one.key, Bounds(0, 0))
        right = bounds.low <= one.sql <= bounds.high and low <= one.stream <= high
        if not (right and may_have_closed(plan, one.key, newest)):
            found.append(one)
    return found

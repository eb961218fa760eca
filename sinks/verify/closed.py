"""Windows that had closed before a login told that two ids are one person. Pure.

The stream corrects a number as long as its window is open (streams.clock). Of a window that had closed by then, it has told the
number of the two ids, and that stays; whether it had closed cannot be told from here to the hour. So in such a window a person
who was joined late may be either: as joined, or as the ids were sent. Everybody else is exactly what SQL says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ingest.contract.plan import Plan
from sinks.verify.expressions import text, texts
from sinks.verify.report import Bounds, Difference
from sinks.verify.source import Source, late_persons, resolved
from sinks.verify.sql import Check, checks
from streams.contract.total import TotalKey

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
#: The last day of a window, from its first: until that one is too old, records keep all of it.
_LAST_DAY = {"7d": 6, "30d": 29, "month": 27}
_OF_HOURS = ("launches", "usage_ms", "sessions", "funnel_users", "funnel_conversions")
#: Of a person with several ids, these lie between all joined and all apart whichever of them are joined.
_BETWEEN = ("active_users", "launches", "sessions")


class Slack(NamedTuple):
    """By how much persons who were joined late may make a number less or more than SQL's. persons: how many they are."""

    less: int
    more: int
    persons: int


def closes(plan: Plan, key: TotalKey) -> int:
    """The clock (ms) up to which a window is open for sure: none closes before its horizon has passed."""
    if key.window == "hour" or key.metric in _OF_HOURS:
        return key.start + plan.horizons.late_hours * _HOUR_MS
    return key.start + (plan.horizons.late_days + _LAST_DAY.get(key.window, 0)) * _DAY_MS


def may_have_closed(plan: Plan, key: TotalKey, newest: int) -> bool:
    """Whether a window may have closed when the newest merge was granted (ms)."""
    return closes(plan, key) < newest


def slack_checks(plan: Plan, source: Source, now: int, scopes: set[str]) -> list[Check]:
    """Statements that give rows (metric, facet, window, start, less, more, persons) for those who were joined late.

    source: with `late`: the earliest clock that matters. Only apps and groups of `scopes`.

    What a person is in a number is between that with the ids joined and that with them apart. Where three or more ids are one
    person, some may have been joined in time: then it is between nothing and what so many persons can be at most.
    """
    joined = checks(plan, source._replace(merged=True), now, by_person=True)
    apart = checks(plan, source._replace(merged=False), now, by_person=True)
    return [
        one._replace(sql=_slack(plan, source, one.sql, other.sql))
        for one, other in zip(joined, apart, strict=True)
        if one.scope in scopes
    ]


def _slack(plan: Plan, source: Source, joined: str, apart: str) -> str:
    hours, days = plan.horizons.late_hours * _HOUR_MS, plan.horizons.late_days * _DAY_MS
    last = ", ".join(f"window = {text(window)}, {days + after * _DAY_MS}" for window, after in _LAST_DAY.items())
    columns = "metric, facet, window, start"
    simple = f"granted = 1 OR metric IN ({texts(_BETWEEN)})"
    most = f"(granted + 1) * if(metric = 'usage_ms', {25 * _HOUR_MS}, 1)"
    return f"""
SELECT {columns}, toInt64(sum(joined - if({simple}, least(joined, apart), 0))) AS less,
    toInt64(sum(if({simple}, greatest(joined, apart), {most}) - joined)) AS more, count() AS persons
FROM (
    SELECT {columns}, one_person, sum(if_joined) AS joined, sum(if_apart) AS apart
    FROM (
        SELECT {columns}, who AS one_person, total AS if_joined, toInt64(0) AS if_apart FROM ({joined})
        UNION ALL
        SELECT {columns}, if(merged_into = '', who, merged_into) AS one_person, toInt64(0) AS if_joined, total AS if_apart
        FROM ({apart}) AS sent LEFT ANY JOIN {resolved(source.database)} AS of_sent ON who = begins
    )
    GROUP BY {columns}, one_person
) AS contributions INNER JOIN {late_persons(source.database, source.late)} AS late_ones ON one_person = joined_into
WHERE newest > start + multiIf(window = 'hour' OR metric IN ({texts(_OF_HOURS)}), {hours}, {last}, {days})
GROUP BY {columns}"""


def unexplained(
    differences: list[Difference], slack: Mapping[TotalKey, Slack], truth: Mapping[TotalKey, Bounds] | None
) -> list[Difference]:
    """The differences that do not come of windows that had closed."""
    found = []
    for one in differences:
        less, more, _ = slack.get(one.key, Slack(0, 0, 0))
        bounds = Bounds(one.sql, one.sql) if truth is None else truth.get(one.key, Bounds(0, 0))
        if not (bounds.low <= one.sql <= bounds.high and one.sql - less <= one.stream <= one.sql + more):
            found.append(one)
    return found

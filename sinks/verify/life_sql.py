"""SQL for persons' lives in an app or group (new, returning, resurrected, dormant; cohorts), and for overlap of apps. Pure.

A person's days are one sorted array; every number is said of each day by looking at its neighbours.
"""

from __future__ import annotations

from ingest.contract.plan import Plan
from sinks.verify.expressions import day, midnight, month_of, text
from sinks.verify.use_sql import person_days


def lives(plan: Plan, zone: str, source: str, now: int, each: str = "") -> str:
    """new_users, returning_users, resurrected_users, dormant_users (up to the day of `now`, ms), retained_users.

    each: as in `sinks.verify.sql.checks`, here and below.
    """
    return f"""
SELECT said.1 AS metric, said.2 AS facet, 'day' AS window, {midnight("said.3", zone)} AS start, toInt64(count()) AS total{each}
FROM (SELECT who, arraySort(groupArray(day)) AS days FROM ({person_days(plan, zone, source)}) GROUP BY who)
ARRAY JOIN arrayConcat(
    [('new_users', '', days[1])],
    arrayMap(
        (one, gap) -> (if(gap <= 30, 'returning_users', 'resurrected_users'), '', one),
        arrayPopFront(days), arrayPopFront(arrayDifference(days))
    ),
    arrayMap(
        one -> ('dormant_users', '', toInt32(one + 30)),
        arrayFilter((one, following) -> following = 0 OR following > one + 30, days, arrayPushBack(arrayPopFront(days), 0))
    ),
    arrayMap(
        since -> ('retained_users', concat('d', toString(since)), days[1]),
        arrayFilter(since -> since <= 30, arrayMap(one -> one - days[1], days))
    )
) AS said
WHERE metric != 'dormant_users' OR said.3 <= {day(f"toInt64({now})", zone)}
GROUP BY metric, facet, said.3{each}"""


def overlap(plan: Plan, app: str, sources: dict[str, str], each: str = "") -> str:
    """overlap_users of an app with all others. sources: app -> its activity events."""
    months = " UNION ALL ".join(
        f"SELECT DISTINCT who, {text(one)} AS member, {month_of('day')} AS month "
        f"FROM ({person_days(plan, plan.zone_name(one), source)})"
        for one, source in sources.items()
    )
    return f"""
SELECT 'overlap_users' AS metric, concat('app:', member) AS facet, 'month' AS window,
    {midnight("month", plan.zone_name(app))} AS start, toInt64(count()) AS total{each}
FROM (SELECT who, month, groupUniqArray(member) AS members FROM ({months}) GROUP BY who, month HAVING has(members, {text(app)}))
ARRAY JOIN members AS member
WHERE member != {text(app)}
GROUP BY member, month{each}"""

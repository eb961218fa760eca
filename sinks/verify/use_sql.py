"""SQL for active users, launches, usage time and sessions. Pure.

Local days and hours are ClickHouse's own, the windows are written out day by day, the spans are put together with window
functions.
"""

from __future__ import annotations

from ingest.contract.plan import App, Plan
from sinks.verify.expressions import day, local, midnight, month_of, texts

_HOUR_MS = 3_600_000
_MAX_DURATION_MS = 24 * _HOUR_MS
_MAX_LAUNCHES = 1000


def person_days(plan: Plan, zone: str, source: str) -> str:
    """A subquery of (who, facet, day): the days on which persons were active, events that are too late for days left out."""
    return f"""
    SELECT DISTINCT who, facet, {day("t", zone)} AS day
    FROM ({source}) ARRAY JOIN facets AS facet
    WHERE {day("r", zone)} - {day("t", zone)} <= {plan.horizons.late_days}"""


def active(plan: Plan, zone: str, source: str, now: int, each: str = "") -> list[tuple[str, str]]:
    """(what, statement): active users of hours, days, months, trailing windows (that end up to `now`, ms).

    each: as in `sinks.verify.sql.checks`, here and below.
    """
    late_ms = plan.horizons.late_hours * _HOUR_MS
    hour = f"toInt64(toUnixTimestamp(toStartOfHour({local('t', zone)}))) * 1000"
    hours = f"""
SELECT 'active_users' AS metric, facet, 'hour' AS window, {hour} AS start, toInt64(uniqExact(who)) AS total{each}
FROM ({source}) ARRAY JOIN facets AS facet
WHERE r - t <= {late_ms}
GROUP BY facet, start{each}"""
    all_days = person_days(plan, zone, source)
    days = f"""
SELECT 'active_users' AS metric, facet, 'day' AS window, {midnight("day", zone)} AS start, toInt64(uniqExact(who)) AS total{each}
FROM ({all_days})
GROUP BY facet, day{each}"""
    months = f"""
SELECT 'active_users' AS metric, facet, 'month' AS window, {midnight("month", zone)} AS start,
    toInt64(uniqExact(who)) AS total{each}
FROM (SELECT who, facet, {month_of("day")} AS month FROM ({all_days}))
GROUP BY facet, month{each}"""
    found = [("hours", hours), ("days", days), ("months", months)]
    today = day(f"toInt64({now})", zone)
    for window, length in (("7d", 7), ("30d", 30)):
        trailing = f"""
SELECT 'active_users' AS metric, facet, '{window}' AS window, {midnight(f"ends - {length - 1}", zone)} AS start,
    toInt64(uniqExact(who)) AS total{each}
FROM ({all_days}) ARRAY JOIN range(day, day + {length}) AS ends
WHERE ends <= {today}
GROUP BY facet, ends{each}"""
        found.append((f"{window} windows", trailing))
    return found


def launches(plan: Plan, app: App, zone: str, source: str, each: str = "") -> str:
    """Distinct launch times a person and day."""
    if not app.launch_events:
        nobody = ", '' AS who" if each else ""
        return (
            f"SELECT 'launches' AS metric, '' AS facet, 'day' AS window, toInt64(0) AS start, toInt64(0) AS total{nobody} WHERE 0"
        )
    return f"""
SELECT 'launches' AS metric, '' AS facet, 'day' AS window, {midnight("day", zone)} AS start, toInt64(sum(launches)) AS total{each}
FROM (
    SELECT {day("t", zone)} AS day, who, least({_MAX_LAUNCHES}, uniqExact(t)) AS launches
    FROM ({source})
    WHERE r - t <= {plan.horizons.late_hours * _HOUR_MS} AND named IN ({texts(app.launch_events)})
    GROUP BY day, who
)
GROUP BY day{each}"""


def spans(plan: Plan, zone: str, source: str, each: str = "") -> str:
    """Usage time and sessions.

    Events in order of their beginning; one that begins more than the gap after everything before it has ended begins a session.
    """
    gap_ms = plan.project.session_gap_minutes * 60_000
    sessions = f"""
    SELECT who, min(begins) AS opened, max(ends) AS closed
    FROM (
        SELECT who, begins, ends, sum(is_new) OVER (PARTITION BY who ORDER BY begins, ends ROWS UNBOUNDED PRECEDING) AS session
        FROM (
            SELECT who, begins, ends, if(latest IS NULL OR begins - latest > {gap_ms}, 1, 0) AS is_new
            FROM (
                SELECT who, begins, ends,
                    max(toNullable(ends)) OVER (
                        PARTITION BY who ORDER BY begins, ends ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                    ) AS latest
                FROM (
                    SELECT DISTINCT who, t - if(reported > {_MAX_DURATION_MS}, 0, reported) AS begins, t AS ends
                    FROM ({source})
                    WHERE r - t <= {plan.horizons.late_hours * _HOUR_MS}
                )
            )
        )
    )
    GROUP BY who, session"""
    return f"""
WITH sessions AS ({sessions})
SELECT 'sessions' AS metric, '' AS facet, 'day' AS window, {midnight("day", zone)} AS start, toInt64(count()) AS total{each}
FROM (SELECT {day("opened", zone)} AS day, who FROM sessions)
GROUP BY day{each}
UNION ALL
SELECT 'usage_ms' AS metric, '' AS facet, 'day' AS window, {midnight("day", zone)} AS start,
    toInt64(sum(least(closed, {midnight("day + 1", zone)}) - greatest(opened, {midnight("day", zone)}))) AS total{each}
FROM sessions ARRAY JOIN range({day("opened", zone)}, {day("closed", zone)} + 1) AS day
GROUP BY day{each}"""

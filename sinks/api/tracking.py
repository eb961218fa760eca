"""The API's queries on how events keep to the tracking plan, and how late they come. From raw events, by receipt."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.contract.plan import Plan
from ingest.contract.zones import HOUR_MS
from sinks.api.sql import Query

_ACTIVE = "type IN ('track', 'page', 'screen')"
_MOST = 500


def violations_query(apps: Sequence[str], since: int) -> Query:
    """Violations by app, event and version, the most frequent first; of events received since (ms)."""
    return Query(
        "SELECT app, event, version, splitByChar(':', violation)[1] AS rule, substring(violation, length(rule) + 2) AS property,"
        " found, total, last FROM ("
        "SELECT app, event, version, violation, found, last, max(found) OVER (PARTITION BY app, event, version) AS total FROM ("
        "SELECT app, event, version, arrayJoin(arrayConcat([''], violations)) AS violation, count() AS found,"
        " max(received) AS last"
        f" FROM events FINAL WHERE app IN {{apps:Array(String)}} AND received >= {{since:Int64}} AND {_ACTIVE}"
        " GROUP BY app, event, version, violation)"
        ") WHERE violation != '' ORDER BY found DESC, app, event, version, rule, property LIMIT {most:UInt32}",
        {"apps": list(apps), "since": since, "most": _MOST},
    )


def delay_query(plan: Plan, apps: Sequence[str], since: int) -> Query:
    """How late events came, by app and version, and how many of them too late to count; of events received since (ms)."""
    ids = [app.id for app in plan.apps]
    return Query(
        "WITH greatest(0, received - events.time) AS delay,"
        " transform(app, {ids:Array(String)}, {zones:Array(String)}, 'UTC') AS zone,"
        " toDate(substring(toString(received_at, zone), 1, 10)) - toDate(substring(toString(events.at, zone), 1, 10)) AS days"
        f" SELECT app, version, count() AS found, countIf(delay > {HOUR_MS}), countIf(delay > {{late_ms:Int64}}),"
        f" countIf(delay > {24 * HOUR_MS} AND days > {{late_days:Int64}}), toInt64(quantileExact(0.5)(delay)),"
        " toInt64(quantileExact(0.95)(delay))"
        f" FROM events FINAL WHERE app IN {{apps:Array(String)}} AND received >= {{since:Int64}} AND {_ACTIVE}"
        " GROUP BY app, version ORDER BY found DESC, app, version LIMIT {most:UInt32}",
        {
            "ids": ids,
            "zones": [plan.zone_name(one) for one in ids],
            "late_ms": plan.horizons.late_hours * HOUR_MS,
            "late_days": plan.horizons.late_days,
            "apps": list(apps),
            "since": since,
            "most": _MOST,
        },
    )

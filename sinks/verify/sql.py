"""SQL that works out every published number from the raw events, from their definitions in the catalogue. Pure.

Nothing here is shared with the stream. All of it is set-like, so raw duplicates make no difference and no FINAL is needed.

Every statement gives rows (metric, facet, window, start, total) of one app or group. Numbers are sums over persons, so the
statements of all parts of a source (`Source.part`) add up.
"""

from __future__ import annotations

from typing import NamedTuple

from ingest.contract.plan import Plan
from sinks.verify.expressions import name as name
from sinks.verify.expressions import text as text
from sinks.verify.funnel_sql import funnel_statement
from sinks.verify.life_sql import lives, overlap
from sinks.verify.source import Source, activity, app_facets, group_facets
from sinks.verify.use_sql import active, launches, spans

#: What there is SQL for.
METRICS = frozenset(
    {
        "active_users",
        "launches",
        "usage_ms",
        "sessions",
        "new_users",
        "returning_users",
        "resurrected_users",
        "dormant_users",
        "retained_users",
        "overlap_users",
        "funnel_users",
        "funnel_conversions",
    }
)


class Check(NamedTuple):
    """A statement for one scope (app or group), and what it is about."""

    scope: str
    what: str
    sql: str


def checks(plan: Plan, source: Source, now: int, by_person: bool = False) -> list[Check]:
    """The statements for all apps and groups. now: ms; windows that end after that day are left out where time makes them.

    by_person: rows (metric, facet, window, start, total, who), what each person is in a number.
    """
    found: list[Check] = []
    each = ", who" if by_person else ""
    plain = {app.id: activity(plan, source, [app], "[''] AS facets") for app in plan.apps}
    for app in plan.apps:
        zone = plan.zone_name(app.id)
        events = activity(plan, source, [app], f"{app_facets(plan, app)} AS facets")
        found += [Check(app.id, what, sql) for what, sql in active(plan, zone, events, now, each)]
        use = activity(plan, source, [app], "duration AS reported, event AS named")
        found.append(Check(app.id, "launches", launches(plan, app, zone, use, each)))
        found.append(Check(app.id, "usage and sessions", spans(plan, zone, use, each)))
        found.append(Check(app.id, "lives", lives(plan, zone, plain[app.id], now, each)))
        if len(plan.apps) > 1:
            found.append(Check(app.id, "overlap", overlap(plan, app.id, plain, each)))
    for group in plan.groups:
        apps = [app for app in plan.apps if app.id in group.apps]
        zone = plan.zone_name(group.id)
        events = activity(plan, source, apps, f"{group_facets(plan, apps)} AS facets")
        found += [Check(group.id, what, sql) for what, sql in active(plan, zone, events, now, each)]
        found.append(Check(group.id, "lives", lives(plan, zone, activity(plan, source, apps, "[''] AS facets"), now, each)))
    found += [Check(one.app, f"funnel {one.id}", funnel_statement(plan, source, one, each)) for one in plan.funnels]
    return found


def minutes_sql(plan: Plan, source: Source, scope: str, partitions: int, since: int) -> str:
    """For "active now": rows (partition, facet, minute, persons): how many persons were last active in which minute.

    since: ms; persons whose last activity is before are left out. The partition is the one that Kafka's clients choose.
    """
    apps = [app for app in plan.apps if app.id == scope]
    if apps:
        facets = app_facets(plan, apps[0])
    else:
        members = next(group.apps for group in plan.groups if group.id == scope)
        apps = [app for app in plan.apps if app.id in members]
        facets = group_facets(plan, apps)
    return f"""
SELECT kafkaMurmurHash(who) % {partitions} AS events_partition, facet, minute, count() AS persons
FROM (
    SELECT who, facet, max(intDiv(t, 60000)) AS minute
    FROM ({activity(plan, source, apps, f"{facets} AS facets")}) ARRAY JOIN facets AS facet
    WHERE t >= {since} AND r - t <= {plan.horizons.late_hours * 3_600_000}
    GROUP BY who, facet
)
GROUP BY events_partition, facet, minute"""

"""A funnel of today, from the raw events, for the live table.

Times are made unique within a person first, by the order of ids: windowFunnel leaves the order of equal times open, and the
plan's funnels are in strictly increasing order of (time, id).
"""

from __future__ import annotations

from typing import Any

from ingest.contract.plan import Funnel, FunnelStep, Plan
from ingest.contract.zones import Zone

#: Events that one person can have in one millisecond and still be told apart.
_ROOM = 4096


def text_of(value: str | int | float | bool) -> str:
    """A property's value as ClickHouse's toString has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _condition(step: FunnelStep, number: int, parameters: dict[str, Any]) -> str:
    parameters[f"event{number}"] = step.event
    parts = [f"event = {{event{number}:String}}"]
    for place, (name, value) in enumerate(step.where.items()):
        parameters[f"path{number}_{place}"] = name
        parameters[f"value{number}_{place}"] = text_of(value)
        # A sub-column's name cannot be a parameter; of a JSON text it can.
        parts.append(
            f"JSONExtractString(toJSONString(props), {{path{number}_{place}:String}}) = {{value{number}_{place}:String}}"
            if isinstance(value, str)
            else f"JSONExtractRaw(toJSONString(props), {{path{number}_{place}:String}}) = {{value{number}_{place}:String}}"
        )
    return "(" + " AND ".join(parts) + ")"


def funnel_query(plan: Plan, funnel: Funnel, now_ms: int) -> tuple[str, dict[str, Any]]:
    """The query and its parameters; its rows are (highest step reached, persons)."""
    zone = Zone(plan.zone_name(funnel.app))
    apps = next((group.apps for group in plan.groups if group.id == funnel.app), [funnel.app])
    parameters: dict[str, Any] = {
        "apps": apps,
        "events": sorted({step.event for step in funnel.steps}),
        "from": zone.day_start(zone.day(now_ms)),
    }
    span = funnel.window_hours * 3_600_000 * _ROOM + _ROOM - 1
    conditions = ", ".join(_condition(step, number, parameters) for number, step in enumerate(funnel.steps))
    ordered = f"""
        SELECT person, event, props, toUInt64(time * {_ROOM}
            + least(row_number() OVER (PARTITION BY person, time ORDER BY id), {_ROOM})) AS moment
        FROM (SELECT person, event, time, id, props FROM events FINAL
              WHERE app IN {{apps:Array(String)}} AND event IN {{events:Array(String)}} AND time >= {{from:Int64}})
    """
    return (
        f"""
        SELECT level, count() FROM (
            SELECT person, windowFunnel({span}, 'strict_increase')(moment, {conditions}) AS level
            FROM ({ordered}) GROUP BY person
        ) WHERE level > 0 GROUP BY level ORDER BY level
        """,
        parameters,
    )

"""SQL that writes raw events as the lines that they came as, as far as numbers are made of them; and how to cut them up. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ingest.contract.plan import Plan
from sinks.verify.expressions import is_scalar, prop, text

MINUTE_MS = 60_000

_STRINGS = ("id", "app", "person", "event", "type", "platform", "version", "channel")
_NUMBERS = ("time", "received", "duration")


def properties(plan: Plan) -> list[str]:
    """The properties that the plan's segments and funnels look at."""
    names = [one.source.removeprefix("props.") for one in plan.segments if one.source.startswith("props.")]
    for funnel in plan.funnels:
        for step in (*funnel.steps, *funnel.exclude):
            names += step.where
    return list(dict.fromkeys(names))


def _property(path: str) -> str:
    """`"name":value`, or nothing where the event has it not. What is neither text, whole number nor yes/no is in no list."""
    key = json.dumps(path, ensure_ascii=False) + ":"
    column = prop(path)
    return (
        f"multiIf(dynamicType({column}) = 'None', '', "
        f"{is_scalar(path)}, concat({text(key)}, toJSONString({column})), {text(key + '[]')})"
    )


def lines_sql(plan: Plan, table: str) -> str:
    """A query of event lines received from {from:Int64} until {until:Int64} (ms, not included), in order of receipt.

    One column without a name of its own to be read as TSVRaw: JSON has no line end in it.
    """
    parts: list[str] = []
    for field in _STRINGS:
        parts += [text(f'{"," if parts else "{"}"{field}":'), f"toJSONString(toString({field}))"]
    for field in _NUMBERS:
        parts += [text(f',"{field}":'), f"toString({field})"]
    wanted = [_property(path) for path in properties(plan)]
    if wanted:
        found = f"arrayStringConcat(arrayFilter(one -> one != '', [{', '.join(wanted)}]), ',')"
        parts += [text(',"props":{'), found, "'}'"]
    parts += ["if(merge.source = '', '', concat(',\"merge\":', toJSONString(merge)))", "'}'"]
    return (
        f"SELECT concat({', '.join(parts)}) AS line FROM {table} "
        "WHERE received >= {from:Int64} AND received < {until:Int64} ORDER BY received, kafka_partition, kafka_offset"
    )


def cut(minutes: Iterable[tuple[int, int]], most: int, longest: int) -> list[tuple[int, int]]:
    """Slices (from, until) in ms for minutes of receipt with their number of events, in rising order.

    A slice has at most `most` events, unless a single minute has more, and is at most `longest` minutes long.
    """
    slices: list[tuple[int, int]] = []
    first = last = gathered = 0
    for minute, events in minutes:
        if gathered and (gathered + events > most or minute - first >= longest):
            slices.append((first * MINUTE_MS, (last + 1) * MINUTE_MS))
            gathered = 0
        if not gathered:
            first = minute
        last = minute
        gathered += events
    if gathered:
        slices.append((first * MINUTE_MS, (last + 1) * MINUTE_MS))
    return slices

"""SQL for funnels. Pure.

ClickHouse's windowFunnel is of no use here: with strict_increase it undercounts, without it equal timestamps count as an order,
and it knows no exclusions. So a person's events of the funnel are folded one after the other over the list of all chains that
have begun: each chain takes the event as its next step, ends by it, or lets it pass.
"""

from __future__ import annotations

from ingest.contract.plan import Funnel, Plan, applies
from sinks.verify.expressions import day, is_step, midnight, text, texts
from sinks.verify.source import Source, activity, segment_facet

_HOUR_MS = 3_600_000
_MAX_EVENTS_A_DAY = 500
_EXCLUDED = 12
_CHAINS = "Array(Tuple(depth UInt8, begun Int64, reached Int64, value UInt16, over UInt8))"


def funnel_statement(plan: Plan, source: Source, funnel: Funnel, each: str = "") -> str:
    """funnel_users (total and breakdown) and funnel_conversions. each: as in `sinks.verify.sql.checks`."""
    members = next((group.apps for group in plan.groups if group.id == funnel.app), [funnel.app])
    apps = [app for app in plan.apps if app.id in members]
    zone = plan.zone_name(funnel.app)
    steps = len(funnel.steps)
    bits = [f"bitShiftLeft(toUInt16({is_step(step)}), {number})" for number, step in enumerate(funnel.steps)]
    bits += [f"bitShiftLeft(toUInt16({is_step(step)}), {_EXCLUDED})" for step in funnel.exclude]
    names = dict.fromkeys(step.event for step in (*funnel.steps, *funnel.exclude))
    values, value = _breakdown(plan, funnel)
    columns = f"CRC32(id) AS tie, {_either(bits)} AS one_bits, {value} AS one_value"
    events = f"""
        SELECT who, t, tie, groupBitOr(one_bits) AS bits, max(one_value) AS value
        FROM ({activity(plan, source, apps, columns)} AND event IN ({texts(names)}))
        WHERE one_bits != 0 AND r - t <= {plan.horizons.late_hours * _HOUR_MS}
        GROUP BY who, t, tie"""
    earliest = f"""
        SELECT who, groupArraySorted({_MAX_EVENTS_A_DAY})((t, tie, bits, value)) AS of_day
        FROM ({events}) GROUP BY who, {day("t", zone)}"""
    # one event: .1 time, .3 bits, .4 value; one chain: .1 depth, .2 begun, .3 reached, .4 value, .5 over
    step_on = f"""arrayMap(
        chain -> multiIf(
            chain.5 OR chain.1 = {steps}, chain,
            one.1 > chain.2 + {funnel.window_hours * _HOUR_MS}, (chain.1, chain.2, chain.3, chain.4, toUInt8(1)),
            bitTest(one.3, chain.1), (toUInt8(chain.1 + 1), chain.2, one.1, chain.4, toUInt8(0)),
            bitTest(one.3, {_EXCLUDED}), (chain.1, chain.2, chain.3, chain.4, toUInt8(1)),
            chain
        ), chains)"""
    chains = f"""
    SELECT who, arrayFold(
        (chains, one) -> CAST(arrayConcat({step_on}, if(
            bitTest(one.3, 0), [(toUInt8(1), one.1, one.1, one.4, toUInt8(0))], []
        )), '{_CHAINS}'),
        arraySort(arrayFlatten(groupArray(of_day))), CAST([], '{_CHAINS}')
    ) AS chains
    FROM ({earliest}) GROUP BY who"""
    best = f"""
    SELECT who, {day("chain.2", zone)} AS day, value, max((chain.1, if(chain.1 = {steps}, chain.2 - chain.3, 0))) AS best
    FROM (SELECT who, arrayJoin(chains) AS chain FROM ({chains}))
    ARRAY JOIN arrayDistinct([toUInt16(0), chain.4]) AS value
    GROUP BY who, day, value"""
    label = text(funnel.id + ":")
    ending = f"if(value = 0, '', concat(':', {values}[value]))"
    doublings = "arrayMap(power -> toInt64(exp2(power)), range(48))"
    return f"""
SELECT said.1 AS metric, said.2 AS facet, 'day' AS window, {midnight("day", zone)} AS start, toInt64(count()) AS total{each}
FROM (SELECT who, day, value, best.1 AS depth, intDiv(-best.2, 1000) AS seconds FROM ({best}))
ARRAY JOIN arrayConcat(
    arrayMap(step -> ('funnel_users', concat({label}, toString(step), {ending})), range(1, depth + 1)),
    arrayMap(
        width -> ('funnel_conversions', concat({label}, toString(intDiv(seconds, width) * width))),
        if(depth = {steps} AND value = 0, [arrayFirst(width -> intDiv(seconds, width) < 64, {doublings})], [])
    )
) AS said
GROUP BY metric, facet, day{each}"""


def _either(bits: list[str]) -> str:
    found = bits[0]
    for one in bits[1:]:
        found = f"bitOr({found}, {one})"
    return found


def _breakdown(plan: Plan, funnel: Funnel) -> tuple[str, str]:
    """(an array of the facets that the funnel is broken down by, the number of an event's own: 0 for none)."""
    segment = next((one for one in plan.segments if one.id == funnel.by), None)
    if segment is None:
        return "['']", "toUInt16(0)"
    facets = f"[{texts(f'{segment.id}:{value}' for value in dict.fromkeys([*segment.values, 'other']))}]"
    found = f"indexOf({facets}, ifNull({segment_facet(segment)}, ''))"
    own = [app.id for app in plan.apps if applies(segment.apps, app.id)]
    return facets, f"toUInt16(if(app IN ({texts(own)}), {found}, 0))"

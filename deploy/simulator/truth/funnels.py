"""Funnels: every chain of a person's events, tried one by one. Pure."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from zoneinfo import ZoneInfo

from deploy.simulator.truth.clock import local_date, midnight
from deploy.simulator.truth.facets import facets_of, is_step
from deploy.simulator.truth.happened import HOUR_MS, Happened, time_of
from ingest.contract.plan import Funnel, Plan
from streams.contract.total import TotalKey

MAX_EVENTS_A_DAY = 500
#: (time, CRC-32 of the id): what comes first.
Order = tuple[int, int]


def events_of(funnel: Funnel, events: Iterable[Happened], zone: ZoneInfo) -> dict[Order, Happened]:
    """The events of one person that matter to a funnel, in order. Those of other apps, and late ones, must not be among them."""
    days: dict[date, dict[Order, Happened]] = defaultdict(dict)
    for one in events:
        if any(is_step(step, one) for step in (*funnel.steps, *funnel.exclude)):
            time = time_of(one)
            days[local_date(time, zone)][time, zlib.crc32(one.id.encode())] = one
    kept: dict[Order, Happened] = {}
    for _, of_day in sorted(days.items()):
        for order in sorted(of_day)[:MAX_EVENTS_A_DAY]:
            kept[order] = of_day[order]
    return kept


def conversions(plan: Plan, funnel: Funnel, events: dict[Order, Happened], zone: ZoneInfo) -> Iterator[TotalKey]:
    """The numbers in which a person with these events counts once."""
    best: dict[tuple[date, str], tuple[int, int]] = {}
    for begin, one in events.items():
        if not is_step(funnel.steps[0], one):
            continue
        depth, end = _follow(funnel, events, begin)
        duration = end - begin[0] if depth == len(funnel.steps) else 0
        day = local_date(begin[0], zone)
        for value in {"", segment_of(plan, funnel, one)}:
            best[day, value] = max(best.get((day, value), (0, 0)), (depth, -duration))
    for (day, value), (depth, negative) in best.items():
        for step in range(1, depth + 1):
            yield step_key(funnel, step, value, day, zone)
        if depth == len(funnel.steps) and value == "":
            yield time_key(funnel, -negative, day, zone)


def _follow(funnel: Funnel, events: dict[Order, Happened], begin: Order) -> tuple[int, int]:
    """How many steps the chain that begins there comes, and when it reaches the last of them."""
    depth, end = 1, begin[0]
    for order, one in events.items():
        if order <= begin:
            continue
        if depth == len(funnel.steps) or order[0] > begin[0] + funnel.window_hours * HOUR_MS:
            break
        if is_step(funnel.steps[depth], one):
            depth, end = depth + 1, order[0]
        elif any(is_step(step, one) for step in funnel.exclude):
            break
    return depth, end


def possible_conversions(plan: Plan, funnel: Funnel, events: dict[Order, Happened], zone: ZoneInfo) -> Iterator[TotalKey]:
    """Every number in which a person can count who had any of these events."""
    for begin, one in events.items():
        if is_step(funnel.steps[0], one):
            day = local_date(begin[0], zone)
            for step in range(1, len(funnel.steps) + 1):
                for value in {"", segment_of(plan, funnel, one)}:
                    yield step_key(funnel, step, value, day, zone)
            for end, last in events.items():
                if begin < end and end[0] <= begin[0] + funnel.window_hours * HOUR_MS and is_step(funnel.steps[-1], last):
                    yield time_key(funnel, end[0] - begin[0], day, zone)


def segment_of(plan: Plan, funnel: Funnel, one: Happened) -> str:
    """The facet of the funnel's segment that an event has, or ""."""
    return next((facet for facet in facets_of(plan, one) if funnel.by and facet.startswith(f"{funnel.by}:")), "")


def step_key(funnel: Funnel, step: int, value: str, day: date, zone: ZoneInfo) -> TotalKey:
    """Persons who came to a step."""
    facet = f"{funnel.id}:{step}" + (f":{value}" if value else "")
    return TotalKey("funnel_users", funnel.app, facet, "day", midnight(day, zone))


def time_key(funnel: Funnel, duration_ms: int, day: date, zone: ZoneInfo) -> TotalKey:
    """Persons who took about so long: whole seconds below 64, then buckets that are twice as wide with every doubling."""
    seconds, width = duration_ms // 1000, 1
    while seconds // width >= 64:
        width *= 2
    return TotalKey("funnel_conversions", funnel.app, f"{funnel.id}:{seconds // width * width}", "day", midnight(day, zone))

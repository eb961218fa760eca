"""Event lines for the worker's benchmark: the simulator's persons, in frames as a collector cuts them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from deploy.simulator.population import make_persons
from deploy.simulator.traffic import SimEvent, day_visits, in_order, line, make_scripts
from ingest.contract.partition import partition_of
from ingest.contract.plan import Plan

#: A frame's place: its partition, and its bytes.
Frame = tuple[int, bytes]
_DELAY_MS = 300


def past_days(plan: Plan, persons: int, days: int) -> list[SimEvent]:
    """All events of the last whole days, in order: what a worker sees that catches up. A visit is soon over."""
    population, scripts = make_persons(plan, 1, persons), make_scripts(plan)
    today = datetime.now(UTC).date()
    found: list[SimEvent] = []
    for back in range(days, 0, -1):
        found += in_order(day_visits(scripts, population, 1, today - timedelta(days=back)))
    return found


def full_rate(plan: Plan, persons: int) -> list[SimEvent]:
    """The visits of a morning, all at once: what a worker sees live when it is loaded to the full.

    Between two events of a person all others have theirs, so that hardly any two meet in one checkpoint.
    """
    visits = day_visits(make_scripts(plan), make_persons(plan, 1, persons), 1, datetime.now(UTC).date() - timedelta(days=1))
    starts = sorted(one[0].time for one in visits)
    begin = starts[len(starts) // 3]
    rounds = [
        (number, index, event)
        for number, visit in enumerate(one for one in visits if begin <= one[0].time < begin + 7_200_000)
        for index, event in enumerate(visit)
    ]
    return [event for _, _, event in sorted(rounds, key=lambda one: (one[1], one[0]))]


def frames(events: Iterable[SimEvent], partitions: int, size: int) -> Iterator[Frame]:
    """The events' lines cut into frames of `size`, partition by partition, as they arrive."""
    waiting: dict[int, list[bytes]] = {number: [] for number in range(partitions)}
    for event in events:
        number = partition_of(event.person, partitions)
        lines = waiting[number]
        lines.append(line(event, event.time + _DELAY_MS))
        if len(lines) == size:
            yield number, b"\n".join(lines)
            lines.clear()
    for number, lines in waiting.items():
        if lines:
            yield number, b"\n".join(lines)

"""When events of past days arrive, where the simulator itself decides that (straight into Kafka). Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from deploy.simulator.traffic import SimEvent

HOUR_MS = 3_600_000
#: How far the events that are given may be out of order: visits run into the next day, and apps have days of their own.
_DISORDER_MS = 30 * HOUR_MS
#: How late a late event is, in hours (at least, below), and how often: within the hour, within two days, beyond the horizon
#: of hours but not of days, and beyond all.
_DELAYS = (((0.02, 1.0), 0.60), ((1.0, 47.9), 0.25), ((48.1, 120.0), 0.12), ((33 * 24.0, 40 * 24.0), 0.03))
#: When a copy comes that comes very late, in hours: mostly beyond a horizon, where it must neither count nor take anything away.
_COPY_HOURS = (24.0, 24.0 * 35)
_SPANS = [span for span, _ in _DELAYS]
_WEIGHTS = [weight for _, weight in _DELAYS]


def arrivals(events: Iterable[SimEvent], seed: int, late: float, duplicates: float) -> Iterator[tuple[int, SimEvent]]:
    """(received, event) in order of receipt, for events that are in order of time but for some hours.

    Copies of an event arrive up to a minute later, and some of them days later.
    """
    rng = random.Random(f"arrivals/{seed}")
    waiting: list[tuple[int, int, SimEvent]] = []
    count = 0
    for event in events:
        while waiting and waiting[0][0] <= event.time - _DISORDER_MS:
            received, _, one = heappop(waiting)
            yield received, one
        delay = 20 + int(rng.expovariate(1 / 300))
        # who is who is told in time: hours that have closed are not told again when two of their persons turn out to be one
        if rng.random() < late and event.type != "identify":
            low, high = rng.choices(_SPANS, _WEIGHTS)[0]
            delay = int(rng.uniform(low, high) * HOUR_MS)
        count += 1
        heappush(waiting, (event.time + delay, count, event))
        if rng.random() < duplicates:
            count += 1
            again = rng.random() * 60_000 if rng.random() < 0.9 else rng.uniform(*_COPY_HOURS) * HOUR_MS
            heappush(waiting, (event.time + delay + 1 + int(again), count, event))
    while waiting:
        received, _, one = heappop(waiting)
        yield received, one


def doubled(events: Iterable[SimEvent], seed: int, duplicates: float) -> Iterator[SimEvent]:
    """The events in order, and now and then a copy of an earlier one, as an SDK sends it that never saw the answer."""
    rng = random.Random(f"doubled/{seed}")
    kept: list[SimEvent] = []
    for event in events:
        yield event
        if rng.random() < duplicates:
            kept.append(event)
        if kept and rng.random() < 0.01:
            yield from kept
            kept.clear()
    yield from kept

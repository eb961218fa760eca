"""Live traffic: visits that begin now, at a rate that follows the hours of the day. Pure: the clock is an argument."""

from __future__ import annotations

import random
from bisect import bisect
from collections import deque
from heapq import heappop, heappush
from itertools import accumulate
from zoneinfo import ZoneInfo

from deploy.simulator.population import Persona
from deploy.simulator.traffic import Script, SimEvent, curve, push, visit

#: Events of a visit, on average: turns a rate of events into one of visits.
EVENTS_PER_VISIT = 5.0
#: Part of the visits that are by somebody who was there a little while ago.
_RETURNING = 0.15
_PUSH = 0.02
_LATE_MS = 600_000


class LiveTraffic:
    """Asked again and again what has happened until now, it makes up visits and gives the events that are due, in order.

    rate: events a second in the busiest hour; floor: the part of it that traffic never falls below; late: part of the events
    that come up to ten minutes after they happened.
    """

    def __init__(
        self,
        scripts: dict[str, Script],
        persons: list[Persona],
        zone: ZoneInfo,
        *,
        seed: int,
        start: int,
        rate: float,
        floor: float,
        late: float,
    ) -> None:
        self._rng = random.Random(f"live/{seed}/{start}")
        self._zone = zone
        self._rate = rate
        self._floor = floor
        self._late = late
        self._pairs = [(person, scripts[one.app]) for person in persons for one in person.apps]
        self._ends = list(accumulate(one.daily * one.launches for person in persons for one in person.apps))
        self._recent: deque[tuple[Persona, Script]] = deque(maxlen=200)
        self._pending: list[tuple[int, int, SimEvent]] = []
        self._count = 0
        self._next = float(start)

    def due(self, now: int) -> list[SimEvent]:
        """The events since the last call: none of them is later than `now` (ms)."""
        while self._next <= now:
            self._begin(int(self._next))
            busy = max(self._floor, curve(self._zone, int(self._next)))
            self._next += self._rng.expovariate(self._rate * busy / EVENTS_PER_VISIT) * 1000
        found: list[SimEvent] = []
        while self._pending and self._pending[0][0] <= now:
            found.append(heappop(self._pending)[2])
        return found

    def _begin(self, start: int) -> None:
        rng = self._rng
        if self._recent and rng.random() < _RETURNING:
            person, script = rng.choice(self._recent)
        else:
            person, script = self._pairs[min(bisect(self._ends, rng.random() * self._ends[-1]), len(self._pairs) - 1)]
        self._recent.append((person, script))
        for event in visit(rng, script, person, start):
            self._add(event)
        if script.passive and rng.random() < _PUSH:
            self._add(push(script, person, start + 1))

    def _add(self, event: SimEvent) -> None:
        self._count += 1
        held = int(self._rng.random() * _LATE_MS) if self._rng.random() < self._late else 0
        heappush(self._pending, (event.time + held, self._count, event))

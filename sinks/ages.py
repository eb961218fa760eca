"""How old things were when they could be seen: a histogram of ages. Pure."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

#: Upper bounds in seconds, close where it matters: the aim is 2 s to the gauges and 5 s to the views.
BOUNDS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)


class Distribution(NamedTuple):
    """counts: at or below each bound and not at the one before, then above all of them; total: sum of the ages (s)."""

    counts: tuple[int, ...]
    total: float


class Ages:
    """Counts ages."""

    __slots__ = ("_counts", "_total")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._total = 0.0

    def add(self, age_ms: int, times: int = 1) -> None:
        """An age, that many times; clocks that disagree make none below 0."""
        seconds = max(0, age_ms) / 1000
        self._counts[bisect_left(BOUNDS, seconds)] += times
        self._total += seconds * times

    def distribution(self) -> Distribution:
        """As it stands."""
        return Distribution(tuple(self._counts), self._total)

"""What the numbers are made of. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ingest.contract.event import Merge
from ingest.contract.plan import Plan
from streams.contract.total import TotalKey

HOUR_MS = 3_600_000
#: Number by its name; those that are 0 are not in it.
Numbers = dict[TotalKey, int]


class Happened(Protocol):
    """What the numbers depend on; an event of ingest.contract.event.Event has it, and so has a journal's entry."""

    @property
    def id(self) -> str: ...
    @property
    def app(self) -> str: ...
    @property
    def person(self) -> str: ...
    @property
    def event(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def time(self) -> int: ...
    @property
    def received(self) -> int: ...
    @property
    def platform(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def channel(self) -> str: ...
    @property
    def duration(self) -> int: ...
    @property
    def props(self) -> Mapping[str, Any]: ...
    @property
    def merge(self) -> Merge | None: ...


def time_of(one: Happened) -> int:
    """When it happened, which is never after it was received."""
    return min(one.time, one.received)


def in_hours(plan: Plan, one: Happened) -> bool:
    """Whether it came in time for hours, launches, usage time and funnels."""
    return one.received - time_of(one) <= plan.horizons.late_hours * HOUR_MS

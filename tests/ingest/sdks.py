"""What a tests' run of an SDK is, whichever it is: a visitor clicks, logs in, and does fifty things; and what must come of it."""

from __future__ import annotations

import time

from ingest.contract.event import Event
from tests.ingest.running import RunningCollector

BATCH = "批量事件"


def arrived(collector: RunningCollector, person: str, count: int, seconds: float = 60.0) -> list[Event]:
    """The person's events once there are so many different ones; each must have come at last."""
    until = time.monotonic() + seconds
    while True:
        found = [event for event in collector.events() if event.person == person]
        if len({event.id for event in found}) >= count:
            return found
        assert time.monotonic() < until, (
            f"{len(found)} events of {person} after {seconds} s: {sorted({one.event for one in found})}"
        )
        time.sleep(0.5)


def visitor_of(found: list[Event]) -> str:
    """The visitor that the user's events say was the same."""
    merges = {event.merge for event in found if event.merge is not None}
    assert len({merge.source for merge in merges}) == 1, merges
    return next(iter(merges)).source


def check_batch(found: list[Event]) -> None:
    """Fifty different events of the batch, whatever was sent again."""
    batch = {event.id: event.props["i"] for event in found if event.event == BATCH}
    assert sorted(batch.values()) == list(range(50))

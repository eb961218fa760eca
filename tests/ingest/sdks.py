"""What a tests' run of an SDK is, whichever it is: a visitor clicks, logs in, and does fifty things; and what must come of it."""

from __future__ import annotations

import re
import time
from pathlib import Path

from ingest.contract.event import Event
from tests.ingest.running import RunningCollector

README = Path(__file__).parents[2] / "README.md"
BATCH = "批量事件"


def told(sdk: str, address: str, key: str) -> str:
    """How the README says that an SDK is made to send here; with another address and key."""
    table = README.read_text(encoding="utf-8").partition("| SDK | how it is told |")[2].partition("\n\n")[0]
    (found,) = re.findall(rf"^\| {re.escape(sdk)} \| `(.*)` \|$", table, re.MULTILINE)
    assert "http://127.0.0.1:8090" in found
    assert "demo-harbor-key" in found
    return str(found).replace("http://127.0.0.1:8090", address).replace("demo-harbor-key", key)


def arrived(
    collector: RunningCollector, person: str, count: int, also: tuple[str, ...] = (), seconds: float = 120.0
) -> list[Event]:
    """The person's events once there are so many different ones (of the events named in `also`, if any is)."""
    until = time.monotonic() + seconds
    while True:
        found = [event for event in collector.events() if event.person == person]
        if len({event.id for event in found if not also or event.event in also}) >= count:
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


def check_batch(found: list[Event], name: str = BATCH) -> None:
    """Fifty different events of the batch, whatever was sent again; `name`: of an SDK that takes no Chinese one."""
    batch = {event.id: event.props["i"] for event in found if event.event == name}
    assert sorted(batch.values()) == list(range(50))

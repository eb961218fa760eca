"""The stream against the plain truth where something changes: midnight, the end of a month, clocks forward and back, a zone for
each app, events that are late by just as much as may be, launches and sessions across all of these."""

from __future__ import annotations

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.simulator import truth
from ingest.contract.event import Event
from tests.sinks.verify_events import DAY, chains, event_lists, lifetimes, make_settings
from tests.streams.streamed import streamed


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.one_of(event_lists(), lifetimes(), chains()),
    project=st.sampled_from(["Asia/Shanghai", "America/New_York"]),
    days_later=st.integers(0, 3),
)
def test_the_stream_and_plain_recomputation_agree_on_any_events(rows: list[Event], project: str, days_later: int) -> None:
    plan = make_settings(zone=project)
    known = [row for row in rows if row.app in {app.id for app in plan.apps}]
    now = max((row.received for row in rows), default=0) + days_later * DAY
    lines = map(msgspec.json.encode, sorted([*known, *known[::2]], key=lambda row: row.received))
    assert streamed(plan, [b"\n".join(lines)], now) == truth.numbers(plan, known, now)

"""Where it is not known what arrived, the bounds hold whatever did."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.simulator.journal import Sent
from deploy.simulator.truth import bounds, numbers
from ingest.contract.event import Merge
from ingest.contract.plan import App, Funnel, FunnelStep, Group, Horizons, Plan

HOUR = 3_600_000
NOON = 1_795_262_400_000
PLAN = Plan(
    horizons=Horizons(late_days=2, late_hours=24),
    apps=[App(id="one"), App(id="two", time_zone="America/New_York")],
    groups=[Group(id="both", apps=["one", "two"])],
    funnels=[
        Funnel(
            id="way",
            app="both",
            steps=[FunnelStep(event="app_launch"), FunnelStep(event="look"), FunnelStep(event="pay")],
            exclude=[FunnelStep(event="leave")],
        )
    ],
)


@st.composite
def sent(draw: st.DrawFn) -> Sent:
    """Events of one user, one device of theirs, and somebody else; some say that user and device are one."""
    time = NOON + draw(st.sampled_from([0, 1, 20 * 60_000, HOUR, 9 * HOUR, 30 * HOUR, 40 * 24 * HOUR]))
    fields: dict[str, Any] = {"person": draw(st.sampled_from(["u:1", "a:1", "u:2"])), "event": "look"}
    fields["event"] = draw(st.sampled_from(["app_launch", "look", "pay", "leave"]))
    if draw(st.integers(0, 5)) == 0:
        fields |= {"person": "u:1", "event": "identify", "type": "identify"}
        fields["merge"] = Merge(source="a:1", target="u:1", how="identify")
    received = time + draw(st.sampled_from([0, 0, 24 * HOUR, 24 * HOUR + 1, 80 * HOUR]))
    return Sent(id="", app=draw(st.sampled_from(["one", "two"])), time=time, received=received, **fields)


@settings(max_examples=150, deadline=None)
@given(
    found=st.lists(sent(), max_size=12),
    fates=st.lists(st.sampled_from(["arrived", "lost", "early", "late"]), min_size=12, max_size=12),
    unsure=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_the_bounds_hold_whatever_arrived(found: list[Sent], fates: list[str], unsure: list[bool]) -> None:
    events = [msgspec.structs.replace(one, id=str(index)) for index, one in enumerate(found)]
    certain: list[Sent] = []
    uncertain: list[tuple[Sent, Sent | None]] = []
    arrived: list[Sent] = []
    for one, fate, is_unsure in zip(events, fates, unsure, strict=False):
        later = msgspec.structs.replace(one, received=one.received + 30 * HOUR)
        if not is_unsure:
            certain.append(one)
            arrived.append(one)
        elif fate in ("arrived", "lost"):
            uncertain.append((one, None))
            arrived += [one] if fate == "arrived" else []
        else:
            uncertain.append((one, later))
            arrived.append(one if fate == "early" else later)
    now = NOON + 45 * 24 * HOUR
    limits = bounds(PLAN, certain, uncertain, now)
    actual = numbers(PLAN, arrived, now)
    wrong = {key: (value, limits.get(key)) for key, value in actual.items() if key not in limits or value > limits[key].high}
    wrong |= {key: (actual.get(key, 0), one) for key, one in limits.items() if actual.get(key, 0) < one.low}
    assert not wrong

"""Numbers that a person can check with a pencil: a table of what happened, and what comes of it, worked out in words.

All times are Shanghai's, 2 and 3 March 2026. A session ends after a gap of more than 30 minutes.
"""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import msgspec

from ingest.contract.event import Event, Merge
from ingest.contract.plan import App, Funnel, FunnelStep, Project
from ingest.contract.settings import Settings
from streams.contract.total import TotalKey
from tests.streams.streamed import streamed

HAPPENED = """
day time   who      event
2   09:00  u:ann    app_launch
2   09:10  u:ann    transfer
2   09:50  u:ann    look
2   09:30  a:phone  app_launch
2   09:40  u:bob    identify     a:phone is bob
2   09:45  u:bob    transfer
2   10:05  u:bob    pay
2   23:50  u:cat    app_launch
3   00:10  u:cat    pay
3   00:20  u:cat    transfer
3   00:25  u:cat    pay
3   12:00  u:ann    pay
"""

PLAN = Settings(
    project=Project(time_zone="Asia/Shanghai", session_gap_minutes=30),
    apps=[App(id="bank", write_keys=["key"])],
    funnels=[
        Funnel(
            id="paid",
            app="bank",
            window_hours=24,
            steps=[FunnelStep(event="app_launch"), FunnelStep(event="transfer"), FunnelStep(event="pay")],
        )
    ],
)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def ms(day: int, clock: str = "00:00") -> int:
    hour, minute = clock.split(":")
    return int(datetime(2026, 3, day, int(hour), int(minute), tzinfo=SHANGHAI).timestamp() * 1000)


def numbers() -> dict[TotalKey, int]:
    lines = []
    for number, row in enumerate(HAPPENED.strip().splitlines()[1:]):
        day, clock, who, event, *told = row.split()
        at = ms(int(day), clock)
        merge = Merge(source=told[0], target=who, how="identify") if told else None
        kind = "identify" if told else "track"
        one = Event(id=str(number), app="bank", person=who, event=event, type=kind, time=at, received=at, merge=merge)  # type: ignore[arg-type]
        lines.append(msgspec.json.encode(one))
    return streamed(PLAN, [b"\n".join(lines)], ms(3, "18:00"))


def of(metric: str, facet: str = "", window: str = "day") -> dict[int, int]:
    """start (day of March, or hour of the day for hours of the 2nd) -> value."""
    found = {}
    for key, value in numbers().items():
        at = datetime.fromtimestamp(key.start / 1000, SHANGHAI)
        if (key.metric, key.facet, key.window) == (metric, facet, window):
            if window != "hour":
                found[at.day] = value
            elif at.date() == date(2026, 3, 2):
                found[at.hour] = value
    return found


def test_active_users() -> None:
    # the 2nd: ann, bob (the phone is his, he told so at 09:40) and cat: 3. the 3rd: cat and ann: 2
    assert of("active_users") == {2: 3, 3: 2}
    # on the 2nd, from 9: ann and bob; from 10: bob, who pays; from 23: cat
    assert of("active_users", window="hour") == {9: 2, 10: 1, 23: 1}
    # in March: three persons, not four
    assert of("active_users", window="month") == {1: 3}


def test_sessions_and_usage() -> None:
    # ann: 09:00 to 09:10, 40 minutes nothing, 09:50: two sessions, 10 minutes and a moment
    # bob: 09:30 (still as the phone), 09:45, 10:05: gaps of 15 and 20 minutes, so one session, of 35 minutes
    # cat: 23:50 to 00:25: one session; it starts on the 2nd, where 10 minutes of it lie, and 25 minutes on the 3rd
    # ann on the 3rd: a moment, a session of its own
    assert of("sessions") == {2: 2 + 1 + 1, 3: 1}
    assert of("usage_ms") == {2: (10 + 35 + 10) * 60_000, 3: 25 * 60_000}
    # ann, bob (his phone), and cat launched once each
    assert of("launches") == {2: 3}


def test_the_funnel() -> None:
    # everybody launched on the 2nd, so that is the day on which they entered; all three made a transfer after it.
    # ann pays at 12:00 on the 3rd: 27 hours after her launch, too late for a window of 24.
    # bob pays 35 minutes after his launch. cat pays twice: at 00:10, before the transfer, which is no step then, and at 00:25
    assert of("funnel_users", "paid:1") == {2: 3}
    assert of("funnel_users", "paid:2") == {2: 3}
    assert of("funnel_users", "paid:3") == {2: 2}
    # bob needs 35 minutes = 2,100 s, cat 35 minutes too; buckets of that length begin at multiples of 64 s: 32 x 64 = 2,048
    assert of("funnel_conversions", "paid:2048") == {2: 2}


def test_lives() -> None:
    # all three are new on the 2nd; on the 3rd, two of them come back, which is retention after one day
    assert of("new_users") == {2: 3}
    assert of("returning_users") == {3: 2}
    assert of("retained_users", "d0") == {2: 3}
    assert of("retained_users", "d1") == {2: 2}

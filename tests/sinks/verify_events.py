"""The plan that verification is tested with, and random events that meet its edges."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import strategies as st

from ingest.contract.event import Event
from ingest.contract.plan import Activity, App, Funnel, FunnelStep, Group, Horizons, Project, Scene, Segment
from ingest.contract.settings import ClickHouseSettings, Settings

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def make_settings(directory: str = "var", zone: str = "Asia/Shanghai") -> Settings:
    """Three apps in zones with and without clock changes and with half hours, two of them a group; short horizons."""
    return Settings(
        data_dir=directory,
        clickhouse=ClickHouseSettings(database="verified"),
        project=Project(time_zone=zone, layout="v1", session_gap_minutes=30),
        horizons=Horizons(late_days=4, late_hours=48),
        apps=[
            App(id="york", write_keys=["york-key"], time_zone="America/New_York", passive_events=["push", "it's"]),
            App(id="delhi", write_keys=["delhi-key"], time_zone="Asia/Kolkata", launch_events=["open", "app_launch"]),
            App(id="chile", write_keys=["chile-key"], time_zone="America/Santiago"),
            App(id="home", write_keys=["home-key"]),
        ],
        activities=[
            Activity(id="paying", events=["pay", "buy'em"], login=True),
            Activity(id="looking", events=["look"], apps=["york", "delhi"]),
        ],
        scenes=[Scene(id="dining", events=["look", "pay"], apps=["delhi"])],
        segments=[
            Segment(id="platform", source="platform", values=["ios", "an'droid"]),
            Segment(id="version", source="version", values=["1.0", "other"], apps=["york"]),
            Segment(id="age", source="props.age band", values=["18-25", "5", "true", "1.5"]),
        ],
        groups=[Group(id="both", apps=["york", "delhi"]), Group(id="one", apps=["home"])],
        funnels=[
            Funnel(
                id="buying",
                app="home",
                steps=[step("look"), step("look"), step("pay", **{"age band": 5}), step("buy'em")],
                window_hours=1,
                exclude=[step("open"), step("pay")],
                by="age",
            ),
            Funnel(
                id="across.apps",
                app="both",
                steps=[step("app_launch"), step("look", **{"a`b\\c.d": "true"})],
                window_hours=25,
                exclude=[step("look", **{"a`b\\c.d": False})],
                by="version",
            ),
            Funnel(id="same", app="chile", steps=[step("look"), step("look"), step("look")], by="platform"),
        ],
    )


def step(event: str, **where: str | int | bool) -> FunnelStep:
    return FunnelStep(event=event, where=where)


def at(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


#: Where something changes: midnight, the end of a month and of a year, clocks forward and back (in Chile at midnight), noon.
EDGES = [
    at("2026-03-08T03:00", "America/New_York"),
    at("2026-11-01T01:00", "America/New_York"),
    at("2026-11-01T00:00", "America/New_York") + 25 * HOUR,
    at("2026-09-06T01:00", "America/Santiago"),
    at("2026-04-05T00:00", "America/Santiago"),
    at("2026-03-01T00:00", "Asia/Kolkata"),
    at("2026-03-01T00:00", "Asia/Shanghai"),
    at("2027-01-01T00:00", "America/New_York"),
    at("2026-05-14T12:30", "Asia/Kolkata"),
]
NEAR = st.one_of(
    st.sampled_from([0, -1, 1, -1000, 30 * MINUTE, 30 * MINUTE + 1, -30 * MINUTE, -30 * MINUTE - 1, HOUR, -HOUR, HOUR - 1]),
    st.integers(-2 * HOUR, 2 * HOUR),
    st.integers(-9 * DAY, 3 * DAY),
)
LATE = st.sampled_from(
    [0, 1, -MINUTE, MINUTE, DAY, 48 * HOUR - 1, 48 * HOUR, 48 * HOUR + 1, 4 * DAY, 5 * DAY - 1, 5 * DAY, 5 * DAY + 1, 9 * DAY]
)
PROPS = st.sampled_from(
    [{}, *({"age band": value} for value in ("18-25", "", "60", "5", 5, 6, 1.5, 5.0, True, False, None, [], ["5"], {"a": 1}, -3))]
)


@st.composite
def event_lists(draw: st.DrawFn) -> list[Event]:
    """Events near one edge; a copy has the same id and content, as all SDKs that were looked at have it."""
    edge = draw(st.sampled_from(EDGES))
    found = draw(st.lists(events(edge), min_size=1, max_size=25))
    return [msgspec.structs.replace(one, id=str(index)) for index, one in enumerate(found)]


#: Distances between steps: at once, about a second, about a window, and what falls into one bucket of times or the next.
GAPS = st.sampled_from(
    [0, 0, 0, 1, 999, 1000, 63_999, 64_000, 65_999, 66_000, HOUR - 1, HOUR, HOUR + 1, 3 * HOUR, 25 * HOUR, 25 * HOUR + 1]
)
KINDS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"age band": 5},
        {"age band": "5"},
        {"age band": "18-25"},
        {"a`b\\c.d": True},
        {"a`b\\c.d": False},
        {"a`b\\c.d": "true"},
        {"a`b\\c.d": [True]},
    ]
)


@st.composite
def chains(draw: st.DrawFn) -> list[Event]:
    """What funnels look at, one after the other, by few persons; ids whose CRC-32 goes up and down."""
    apps = draw(st.sampled_from([["home"], ["york", "delhi"], ["chile"]]))
    time = draw(st.sampled_from(EDGES)) - draw(st.sampled_from([0, 30 * MINUTE, DAY]))
    found = []
    for index in range(draw(st.integers(1, 25))):
        time += draw(GAPS)
        found.append(
            Event(
                id=f"{index}",
                app=draw(st.sampled_from(apps)),
                person=draw(st.sampled_from(["u:1", "u:1", "a:1"])),
                event=draw(st.sampled_from(["look", "look", "pay", "buy'em", "open", "app_launch"])),
                time=time,
                received=time + draw(st.sampled_from([0, 0, 0, 0, 48 * HOUR, 48 * HOUR + 1])),
                platform=draw(st.sampled_from(["", "ios", "web"])),
                version=draw(st.sampled_from(["", "1.0", "2.0"])),
                props=draw(KINDS),
            )
        )
    return draw(st.permutations(found))


@st.composite
def lifetimes(draw: st.DrawFn) -> list[Event]:
    """Few persons over two months and more, in all apps."""
    edge = draw(st.sampled_from(EDGES))
    found = []
    for index in range(draw(st.integers(1, 20))):
        time = edge + draw(st.integers(-65, 0)) * DAY + draw(st.sampled_from([0, -1, 12 * HOUR, DAY - 1]))
        app = draw(st.sampled_from(["york", "delhi", "chile", "home"]))
        person = draw(st.sampled_from(["u:1", "u:2", "a:1"]))
        found.append(Event(id=str(index), app=app, person=person, event="look", time=time, received=time))
    return found


#: Chains of ids that are one person, up to four long.
IDS = ["u:1", "u:2", "u:é'x", "a:1", "a:2", "a:3"]


@st.composite
def merges(draw: st.DrawFn) -> dict[str, str]:
    found = {}
    for place, person in enumerate(IDS[1:], start=1):
        if draw(st.booleans()):
            found[person] = draw(st.sampled_from(IDS[:place]))
    return found


@st.composite
def events(draw: st.DrawFn, edge: int) -> Event:
    time = edge + draw(NEAR)
    return Event(
        id="",
        app=draw(st.sampled_from(["york", "delhi", "chile", "home", "gone"])),
        person=draw(st.sampled_from(IDS)),
        event=draw(st.sampled_from(["app_launch", "open", "look", "pay", "buy'em", "push", "it's", "漢字"])),
        type=draw(st.sampled_from(["track", "track", "page", "screen", "identify"])),
        time=time,
        received=time + draw(LATE),
        platform=draw(st.sampled_from(["", "ios", "an'droid", "web"])),
        version=draw(st.sampled_from(["", "1.0", "other", "2.0"])),
        duration=draw(st.sampled_from([0, 0, 0, 1, 5 * MINUTE, 3 * HOUR, DAY, DAY + 1])),
        props=draw(PROPS),
    )

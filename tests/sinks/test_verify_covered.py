"""What `verify` compares where one side lacks the beginning: raw events that are gone, and what is new in the plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from deploy.simulator import truth
from ingest.contract.plan import Activity, Funnel, FunnelStep, Group, Segment
from ingest.contract.settings import ClickHouseSettings, Settings
from sinks.verify.main import verify_tables
from sinks.verify.report import Report
from streams.contract.total import TotalKey
from tests.sinks.verify_events import DAY, HOUR, MINUTE
from tests.sinks.verify_rig import MIDNIGHT, PLAIN, activity, day_key, engine, insert, put_all, put_totals, total

pytestmark = pytest.mark.clickhouse

NOW = MIDNIGHT + 2 * DAY


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with engine(tmp_path_factory.mktemp("covered")) as one:
        yield one


def look(client: Any, plan: Settings = PLAIN, now: int = NOW) -> Report:
    return verify_tables(client, plan, None, "", now)


def test_windows_that_raw_events_no_longer_cover_are_left_out_and_no_others(client: Any) -> None:
    plan = msgspec.structs.replace(PLAIN, clickhouse=ClickHouseSettings(database="verified", events_ttl_days=60))
    days = {"u:1": [-100, -58, -20, 0], "u:2": [-90, -61, -59, 0], "u:3": [-10, 0], "u:4": [-57, -56, -2]}
    rows = [activity(MIDNIGHT + day * DAY, person=person) for person, active in days.items() for day in active]
    insert(client, rows)
    numbers = truth.numbers(plan, rows, NOW)
    put_all(client, numbers)
    whole = look(client)
    assert whole.ok, str(whole)
    assert not whole.notes
    left = NOW - 60 * DAY
    client.command(f"ALTER TABLE events DELETE WHERE received < {left} SETTINGS mutations_sync = 2")
    assert not look(client).ok, "without a time to live these events are lost"
    report = look(client, plan)
    assert report.ok, str(report)
    assert "raw events received before 2026-03-16 16:00 UTC are gone" in str(report)
    assert report.compared["new+resurrected", "day"] == 4, "u:1 at -20, u:2 at 0, u:3 at -10, u:4 at -2"
    assert ("retained_users", "day") not in report.compared
    assert report.compared["active_users", "day"] == len({day for active in days.values() for day in active if day >= -57})
    put_totals(client, [total(day_key("new_users", MIDNIGHT - 10 * DAY), 2, version=2)])
    put_totals(client, [total(day_key("active_users", MIDNIGHT - 57 * DAY), 2, version=2)])
    assert {one.key.metric for one in look(client, plan).differences} == {"new+resurrected", "active_users"}


CHANGE = MIDNIGHT - 3 * DAY + 7 * HOUR + 20 * MINUTE


def of_family(numbers: dict[TotalKey, int], app: str = "home", facet: str = "") -> dict[TotalKey, int]:
    return {key: value for key, value in numbers.items() if key.app == app and key.facet.startswith(facet)}


def counted_by_two_plans(client: Any, old: Settings, new: Settings, app: str, facet: str) -> None:
    """The stream's numbers: what is new counts from a change on, in the midst of an hour."""
    times = [MIDNIGHT - 40 * DAY, MIDNIGHT - 20 * DAY, CHANGE - 10 * MINUTE, CHANGE + MINUTE, CHANGE + 2 * HOUR, MIDNIGHT]
    rows = [activity(time, platform="ios" if time % 2 else "web", person=f"u:{n % 2}") for n, time in enumerate(times)]
    insert(client, rows)
    put_all(client, truth.numbers(old, rows, NOW))
    began = of_family(truth.numbers(new, [row for row in rows if row.time >= CHANGE], NOW), app, facet)
    put_totals(client, [total(key, value, made=CHANGE + 5 * MINUTE) for key, value in began.items()])


def test_a_new_segment_is_compared_from_when_on_it_is_counted(client: Any) -> None:
    new = msgspec.structs.replace(PLAIN, segments=[Segment(id="platform", source="platform", values=["ios"])])
    counted_by_two_plans(client, PLAIN, new, "home", "platform:")
    report = look(client, new)
    assert report.ok, str(report)
    assert "the stream counts only lately: segment platform of home (since 2026-05-10 23:25 UTC)" in str(report)
    key = day_key("active_users", facet="platform:other")
    put_totals(client, [total(key, 5, version=2)])
    assert [one.key for one in look(client, new).differences] == [key]


def test_a_new_group_is_compared_from_when_on_it_is_counted(client: Any) -> None:
    new = msgspec.structs.replace(PLAIN, groups=[Group(id="all", apps=["home"])])
    counted_by_two_plans(client, PLAIN, new, "all", "")
    report = look(client, new)
    assert report.ok, str(report)
    assert "counts only lately: all (since" in str(report)
    assert report.compared["active_users", "day"] == 5, "four days of the app, the last one of the group"


def test_a_new_funnel_that_nothing_has_come_of_yet_is_told_and_does_not_differ(client: Any) -> None:
    steps = [FunnelStep(event="look"), FunnelStep(event="look")]
    new = msgspec.structs.replace(PLAIN, funnels=[Funnel(id="twice", app="home", steps=steps)])
    rows = [activity(MIDNIGHT - 10 * DAY), activity(MIDNIGHT)]
    insert(client, rows)
    put_all(client, truth.numbers(PLAIN, rows, NOW))
    report = look(client, new)
    assert report.ok, str(report)
    assert "the stream counts only lately: funnel twice of home (not yet)" in str(report)
    assert "`footfall replay`" in str(report)


def test_a_loss_in_the_app_is_not_taken_for_a_change_of_the_plan(client: Any) -> None:
    plan = msgspec.structs.replace(PLAIN, segments=[Segment(id="platform", source="platform", values=["ios"])])
    rows = [activity(MIDNIGHT - day * DAY, platform="ios") for day in (3, 2, 0)]
    insert(client, rows)
    put_all(client, truth.numbers(plan, [row for row in rows if row.time != MIDNIGHT - 2 * DAY], NOW))
    report = look(client, plan)
    assert {one.key.facet for one in report.differences} == {"", "d1", "platform:ios"}
    assert "footfall replay" not in str(report)


def test_what_an_app_itself_lacks_is_a_difference_as_before(client: Any) -> None:
    rows = [activity(MIDNIGHT - DAY), activity(MIDNIGHT)]
    insert(client, rows)
    put_all(client, {key: value for key, value in truth.numbers(PLAIN, rows, NOW).items() if key.start >= MIDNIGHT})
    assert look(client).different


def test_an_activity_with_other_events_than_before_is_told_to_be_no_loss(client: Any) -> None:
    old, new = (
        msgspec.structs.replace(PLAIN, activities=[Activity(id="paying", events=events)]) for events in (["pay"], ["pay", "buy"])
    )
    rows = [activity(MIDNIGHT - 3 * DAY, event="pay"), activity(MIDNIGHT - 3 * DAY + 1, event="buy", person="u:2")]
    rows += [activity(MIDNIGHT, event="pay"), activity(MIDNIGHT + 1, event="buy", person="u:2")]
    insert(client, rows)
    before, after = truth.numbers(old, rows, NOW), truth.numbers(new, rows, NOW)
    put_all(client, before | {key: value for key, value in after.items() if key.start >= MIDNIGHT - 2 * DAY})
    report = look(client, new)
    assert report.different
    assert "these differ in older windows only: activity:paying of home" in str(report)
    assert "`footfall replay`" in str(report)

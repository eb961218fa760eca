"""Names of properties with dots, quotes, blanks, backslashes and Chinese; flat and nested. The stream, SQL, the truth, and a
replay from ClickHouse read them alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from deploy.simulator import truth
from ingest.contract.event import Event
from ingest.contract.plan import App, Funnel, FunnelStep, Project, Segment
from ingest.contract.settings import ClickHouseSettings, Settings
from sinks.clickhouse.history import ClickHouseHistory
from sinks.clickhouse.inserter import INSERT_OPTIONS
from sinks.verify.main import sql_numbers
from tests.sinks.embedded import embedded
from tests.streams.streamed import streamed

NAMES = ["gift.kind", "礼物.种类 名", 'a"b.c\\d', "it's.`x`.y", "%2E", "a..b", "gift", " ", "tail."]
NOW = 1_790_000_000_000


def make_settings(directory: str, names: list[str]) -> Settings:
    return Settings(
        data_dir=directory,
        clickhouse=ClickHouseSettings(database="named"),
        project=Project(time_zone="Asia/Shanghai", layout="1"),
        apps=[App(id="one", write_keys=["key"])],
        segments=[
            Segment(id=f"s{index}", source=f"props.{name}", values=["tea", "1", "true"]) for index, name in enumerate(names)
        ],
        funnels=[
            Funnel(
                id=f"f{index}",
                app="one",
                window_hours=1,
                steps=[FunnelStep(event="look"), FunnelStep(event="pay", where={name: "tea"})],
            )
            for index, name in enumerate(names)
        ],
    )


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Settings]]:
    found = make_settings(str(tmp_path_factory.mktemp("names")), NAMES)
    with embedded(found) as (_, client):
        yield client, found


def spread(name: str, value: Any, cuts: list[bool]) -> dict[str, Any]:
    """The property as an object in an object wherever a dot is cut, and flat where it is not."""
    parts = name.split(".")
    for cut, part in zip(cuts, reversed(parts[1:]), strict=False):
        if cut:
            value = {part: value}
            parts.pop()
        else:
            break
    return {".".join(parts): value}


VALUES = st.sampled_from(["tea", "coffee", "", 1, 1.0, 2**70, True, None, [], ["tea"], {}, {"deep": None}, {"deep": "tea"}])


@st.composite
def properties(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(draw(st.integers(0, 4))):
        found |= spread(draw(st.sampled_from(NAMES)), draw(VALUES), draw(st.lists(st.booleans(), min_size=3, max_size=3)))
    return found


@pytest.mark.clickhouse
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(found=st.lists(properties(), min_size=1, max_size=20))
@example(found=[{"gift.kind": "tea"}, {"gift": {"kind": "tea"}}, {"gift": {"kind": "tea"}, "gift.kind": 1}])
@example(found=[{"gift.kind": 1, "gift": {"kind": "tea"}}, {"gift.kind": None, "gift": {"kind": "tea"}}, {"gift": {}}])
@example(found=[{"a": {"": {"b": "tea"}}}, {"a.": {"b": "tea"}}, {"a": {".b": "tea"}}, {"a..b": "tea"}])
def test_the_stream_sql_truth_and_a_replay_see_the_same_properties(
    opened: tuple[Any, Settings], found: list[dict[str, Any]]
) -> None:
    client, plan = opened
    rows = [
        Event(id=f"{name}{index}", app="one", person=f"u:{index}", event=name, time=at, received=at, props=props)
        for index, props in enumerate(found)
        for name, at in (("look", NOW - 60_000), ("pay", NOW - 30_000 + index))
    ]
    client.command("TRUNCATE TABLE events")
    lines = b"\n".join(map(msgspec.json.encode, rows))
    client.raw_insert("events", None, lines, settings=dict(INSERT_OPTIONS), fmt="JSONEachRow")
    expected = truth.numbers(plan, rows, NOW)
    assert {key: value for key, value in sql_numbers(client, plan, "named", NOW).items() if value} == expected
    assert streamed(plan, [lines], NOW) == expected
    assert streamed(plan, ClickHouseHistory(client, plan).slices(), NOW) == expected


@pytest.mark.clickhouse
def test_a_plan_without_dots_in_names_takes_no_object_for_a_property(opened: tuple[Any, Settings], tmp_path: Path) -> None:
    """Such a plan reads properties in another way, which is quicker."""
    plan = make_settings(str(tmp_path), ["gift", "名"])
    objects: list[dict[str, Any]] = [
        {"gift": {"a": 1}},
        {"gift": {}},
        {"gift.a": "tea"},
        {"gift": "tea", "名": {"x": [1]}},
        {"名": 1},
    ]
    rows = [
        Event(id=str(index), app="one", person=f"u:{index}", event="look", time=NOW - 1, received=NOW - 1, props=props)
        for index, props in enumerate(objects)
    ]
    lines = b"\n".join(map(msgspec.json.encode, rows))
    expected = truth.numbers(plan, rows, NOW)
    assert streamed(plan, [lines], NOW) == expected
    client, _ = opened
    client.command("TRUNCATE TABLE events")
    client.raw_insert("events", None, lines, settings=dict(INSERT_OPTIONS), fmt="JSONEachRow")
    assert {key: value for key, value in sql_numbers(client, plan, "named", NOW).items() if value} == expected
    shares = {key.facet: value for key, value in expected.items() if key.window == "day" and key.metric == "active_users"}
    assert shares == {"": 5, "s0:tea": 1, "s1:1": 1}, json.dumps(shares)

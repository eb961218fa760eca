"""The API over HTTP, on a real ClickHouse: right numbers, whole pages, honest errors, and nothing that a caller can break."""

from __future__ import annotations

import csv
import io
import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode

import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from ingest.contract.errors import UnavailableError
from ingest.contract.settings import Settings, read_settings
from sinks.api.errors import Problem
from sinks.api.places import catalogue
from sinks.api.readers import Readers
from sinks.api.routes import Route, routes
from sinks.clickhouse.store import Store
from streams.contract.catalogue import CATALOGUE
from tests.conftest import DEMO
from tests.sinks.console_rig import Rig, fill
from tests.sinks.embedded import embedded

pytestmark = pytest.mark.clickhouse

PLAN = read_settings(DEMO.read_text(), {})
ROUTES = routes(PLAN)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Store, Client]]:
    plan = msgspec.structs.replace(PLAN, data_dir=str(tmp_path_factory.mktemp("api") / "var"))
    with embedded(plan) as (store, client):
        yield plan, store, client


@pytest.fixture(scope="module")
def rig(engine: tuple[Settings, Store, Client]) -> Iterator[Rig]:
    made = Rig(*engine)
    fill(made, PLAN)
    yield made
    made.close()


def rows(rig: Rig, **asked: str | int) -> list[dict[str, Any]]:
    reply = rig.get("/api/v1/metrics?" + urlencode(asked))
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json()["rows"]
    return found


# --- numbers ------------------------------------------------------------------------------------------------------------


def test_partitions_are_added_up_and_the_last_version_counts(rig: Rig) -> None:
    rig.put("dormant_users", 10, "all", partition=1)
    rig.put("dormant_users", 11, "all", partition=1)
    rig.put("dormant_users", 5, "all", partition=0)
    rig.land()
    assert [row["value"] for row in rows(rig, metric="dormant_users", app="all", to="2026-11-21", **{"from": "2026-11-21"})] == [
        16
    ]


def test_a_facet_is_exact_empty_or_a_beginning(rig: Rig) -> None:
    day: dict[str, Any] = {"metric": "active_users", "app": "harbor", "from": "2026-11-20", "to": "2026-11-20"}
    assert {row["facet"] for row in rows(rig, **day)} == {"", "platform:ios", "activity:transacting"}
    assert [row["facet"] for row in rows(rig, **day, facet="")] == [""]
    assert [row["facet"] for row in rows(rig, **day, facet="platform:*")] == ["platform:ios"]
    assert rows(rig, **day, facet="plat") == []


def test_hours_have_their_clock_and_days_have_none(rig: Rig) -> None:
    day: dict[str, Any] = {"metric": "active_users", "app": "harbor", "facet": "", "from": "2026-11-20", "to": "2026-11-20"}
    assert [row["hour"] for row in rows(rig, **day, window="hour")] == list(range(24))
    assert [row["hour"] for row in rows(rig, **day)] == [None]
    assert [row["day"] for row in rows(rig, **day, window="7d")] == ["2026-11-20"]


def test_what_is_now_has_no_day(rig: Rig) -> None:
    asked = {"metric": "active_users", "app": "harbor", "facet": "", "window": "5m"}
    (row,) = rows(rig, **asked)
    assert (row["start"], row["day"], row["hour"]) == (0, None, None)
    (line,) = csv.DictReader(io.StringIO(rig.get("/api/v1/metrics?" + urlencode(asked | {"export": "csv"})).body.decode()))
    assert (line["day"], line["hour"]) == ("", "")


def test_a_month_is_found_by_any_of_its_days(rig: Rig) -> None:
    found = rows(rig, metric="active_users", app="harbor", facet="", window="month", **{"from": "2026-11-15", "to": "2026-11-16"})
    assert [row["day"] for row in found] == ["2026-11-01"]


@pytest.mark.parametrize("limit", [1, 7, 59, 60, 61, 1000])
def test_pages_give_every_row_once_and_in_order(rig: Rig, limit: int) -> None:
    asked: dict[str, Any] = {"metric": "active_users", "from": "2026-11-15", "to": "2026-11-21"}
    whole = rows(rig, **asked)
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = rig.get("/api/v1/metrics?" + urlencode(asked | {"limit": limit} | ({"cursor": cursor} if cursor else {}))).json()
        assert len(page["rows"]) <= limit
        found += page["rows"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == whole
    assert [(row["start"], row["app"], row["facet"]) for row in whole] == sorted(
        {(r["start"], r["app"], r["facet"]) for r in whole}
    )


def test_csv_and_parquet_are_the_same_rows(rig: Rig, engine: tuple[Settings, Store, Client], tmp_path: Path) -> None:
    asked = "/api/v1/metrics?metric=active_users&window=hour&from=2026-11-20&to=2026-11-21"
    expected = [(row["app"], row["facet"], row["day"], row["hour"], row["value"]) for row in rig.get(asked).json()["rows"]]
    table = rig.get(asked + "&export=csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert table.headers["content-disposition"] == 'attachment; filename="active_users-hour.csv"'
    read = list(csv.DictReader(io.StringIO(table.body.decode())))
    assert list(read[0]) == ["metric", "app", "facet", "window", "day", "hour", "start", "value", "at"]
    assert [(row["app"], row["facet"], row["day"], int(row["hour"]), int(row["value"])) for row in read] == expected
    file = tmp_path / "numbers.parquet"
    file.write_bytes(rig.get(asked + "&export=parquet").body)
    parquet = engine[2].query(f"SELECT app, facet, day, hour, value FROM file('{file}', Parquet)").result_rows

    def texts(row: Any) -> tuple[Any, ...]:
        return tuple(one.decode() if isinstance(one, bytes) else one for one in row)

    assert [texts(row) for row in parquet] == expected


def test_live_numbers_are_the_exporters(rig: Rig) -> None:
    found = {row["app"]: row for row in rig.get("/api/v1/now").json()["rows"]}
    assert list(found) == ["harbor", "pioneer", "rural", "all"]
    (day,) = rows(rig, metric="active_users", app="harbor", facet="", **{"from": "2026-11-21", "to": "2026-11-21"})
    assert found["harbor"]["active_day"] == day["value"]
    assert (found["harbor"]["today"], found["harbor"]["hour"], found["harbor"]["peak_hour"]) == ("2026-11-21", 15, 10)
    assert found["all"]["launches"] is None, "launches are of apps"
    (ios,) = rig.get("/api/v1/now?app=harbor&facet=platform:ios").json()["rows"]
    assert 0 < ios["active_day"] < day["value"]
    assert ios["launches"] is None


def test_before_the_exporter_has_caught_up_there_are_no_numbers_rather_than_half_ones(rig: Rig) -> None:
    rig.caught_up = False
    try:
        now = rig.get("/api/v1/now?facet=&app=harbor,rural").json()
    finally:
        rig.caught_up = True
    assert (now["caught_up"], now["rows"]) == (False, [])


def test_recent_events_and_rejections_tell_nothing_of_persons(rig: Rig) -> None:
    recent, rejected = rig.get("/api/v1/events/recent"), rig.get("/api/v1/rejected")
    assert b"secret" not in recent.body + rejected.body + rig.get("/api/v1/tracking").body
    assert recent.json()["top"][0] == {"event": "app_launch", "app": "harbor", "count": 120, "last": rig.now - 20_000}
    assert recent.json()["total"] == 355
    assert len(recent.json()["sample"]) == 10
    assert [(one["reason"], one["count"]) for one in rejected.json()["rejected"]] == [("bad_time", 12), ("unknown_key", 3)]
    group = rig.get("/api/v1/events/recent?app=all").json()
    assert group["total"] == 355, "a group's events are those of its apps"


# --- the description ----------------------------------------------------------------------------------------------------


def call(route: Route) -> str:
    needed = {param.name: param.choices[0] for param in route.params if param.required}
    return route.path + ("?" + urlencode(needed) if needed else "")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_answer_is_of_the_type_that_is_described(rig: Rig, route: Route) -> None:
    if route.stream:
        message = read_events(rig, 1)[0]
        assert msgspec.json.decode(json.dumps(message), type=route.answer)
        return
    reply = rig.get(call(route))
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    assert msgspec.json.encode(msgspec.json.decode(reply.body, type=route.answer)) == reply.body


def test_openapi_describes_every_path_with_all_parameters(rig: Rig) -> None:
    document = rig.get("/api/v1/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {route.path for route in ROUTES} | {"/api/v1/openapi.json"}
    for route in ROUTES:
        operation = document["paths"][route.path]["get"]
        assert [one["name"] for one in operation["parameters"]] == [param.name for param in route.params]
        assert set(operation["responses"]) >= {"200", "400", "503"}
    text = json.dumps(document)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]
    (metric,) = [one for one in document["paths"]["/api/v1/metrics"]["get"]["parameters"] if one["name"] == "metric"]
    assert metric["schema"]["enum"] == [one.name for one in CATALOGUE]


def test_the_catalogue_is_the_streams_and_names_funnel_steps(rig: Rig) -> None:
    found = rig.get("/api/v1/catalogue").json()
    assert [one["name"] for one in found["metrics"]] == [one.name for one in CATALOGUE]
    (funnel,) = found["funnels"]
    step = funnel["steps"][1]
    assert [row["value"] for row in rows(rig, metric="funnel_users", app=funnel["app"], facet=step["facet"])] == [347]
    assert (funnel["by"], funnel["by_title"], funnel["breakdowns"]) == ("", "", [])


def test_a_funnel_is_broken_down_by_the_values_of_a_segment() -> None:
    (funnel,) = PLAN.funnels
    plan = msgspec.structs.replace(PLAN, funnels=[msgspec.structs.replace(funnel, by="platform", app="all")])
    (found,) = catalogue(plan).funnels
    assert (found.by, found.by_title) == ("platform", "Platform")
    assert (found.breakdowns[0].id, found.breakdowns[0].title) == ("platform:ios", "ios")
    assert found.breakdowns[-1].id == "platform:other"


def test_apps_have_names_zones_and_only_facets_that_are_counted(rig: Rig) -> None:
    found = {one["id"]: one for one in rig.get("/api/v1/apps").json()["apps"]}
    assert (found["harbor"]["name"], found["harbor"]["time_zone"], found["harbor"]["today"]) == (
        "Harbor Bank",
        "Asia/Shanghai",
        "2026-11-21",
    )
    assert {"id": "platform:other", "title": "Platform: other"} in found["harbor"]["facets"]
    assert [one["id"] for one in found["all"]["facets"]] == ["", "activity:transacting", "activity:paying"]


# --- refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "metric is required"),
        ("metric=nothing", "metric must be one of"),
        ("metric=active_users&app=unknown", "app must be some of"),
        ("metric=active_users&colour=red", "unknown parameter 'colour'"),
        ("metric=launches&window=hour", "launches has the windows day"),
        ("metric=launches&metric=launches", "given twice"),
        ("metric=launches&from=2026-02-30", "from must be a date"),
        ("metric=launches&from=20261121", "from must be a date"),
        ("metric=launches&from=2026-11-22&to=2026-11-21", "from is after to"),
        ("metric=launches&from=1999-01-01&to=2026-11-21", "at most 1100 days"),
        ("metric=active_users&window=hour&from=2026-01-01&to=2026-11-21", "at most 100 days"),
        ("metric=active_users&window=5m&from=2026-11-21", "it has no days"),
        ("metric=launches&limit=0", "limit must be a whole number"),
        ("metric=launches&limit=-1", "limit must be a whole number"),
        ("metric=launches&limit=10001", "limit is at most 10000"),
        ("metric=launches&limit=1e3", "limit must be a whole number"),
        ("metric=launches&cursor=zzzz", "cursor is not one"),
        ("metric=launches&facet=%00", "facet must be a text"),
        ("metric=launches&export=xlsx", "export must be one of"),
        ("metric=launches&facet=" + "x" * 300, "facet must be a text"),
        ("metric=launches&facet=" + "x" * 5000, "longer than 4096"),
    ],
)
def test_what_cannot_be_answered_is_a_400_that_says_why(rig: Rig, query: str, words: str) -> None:
    reply = rig.get("/api/v1/metrics?" + query)
    problem = msgspec.json.decode(reply.body, type=Problem)
    assert (reply.status, problem.code) == (400, "bad_parameter")
    assert words in problem.message


def test_a_path_that_is_none_is_a_404_in_json(rig: Rig) -> None:
    reply = rig.get("/api/v1/secrets")
    assert (reply.status, reply.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(rig: Rig, method: str) -> None:
    reply = rig.get("/api/v1/apps", method=method)
    assert (reply.status, reply.json()["code"], reply.headers["allow"]) == (405, "method", "GET, HEAD")


def test_while_clickhouse_is_away_the_api_says_so_and_live_numbers_go_on(engine: tuple[Settings, Store, Client]) -> None:
    def away() -> Client:
        raise UnavailableError("no ClickHouse answers at http://user:secret@nowhere")

    rig = Rig(*engine)
    rig.readers._make = away
    try:
        reply = rig.get("/api/v1/metrics?metric=launches")
        assert (reply.status, reply.json()["code"]) == (503, "unavailable")
        assert b"secret" not in reply.body
        assert rig.get("/api/v1/now").status == 200
        rig.readers._make = engine[1].client
        assert rig.get("/api/v1/metrics?metric=launches&limit=5").status == 200, "it goes on by itself"
    finally:
        rig.close()


def test_a_fault_of_ours_is_answered_as_it_is_described(engine: tuple[Settings, Store, Client]) -> None:
    def broken(_facet: str) -> NoReturn:
        raise ZeroDivisionError

    rig = Rig(*engine)
    rig.console.service._numbers = broken
    try:
        reply = rig.get("/api/v1/now")
        document = rig.get("/api/v1/openapi.json").json()
        assert reply.status == 500
        assert str(reply.status) in document["paths"]["/api/v1/now"]["get"]["responses"]
        assert msgspec.json.decode(reply.body, type=Problem).code == "unforeseen"
        assert "unforeseen" in document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    finally:
        rig.close()


def test_more_queries_than_clients_wait_and_are_all_answered(rig: Rig) -> None:
    found: list[int] = []
    asked = [f"/api/v1/metrics?metric=active_users&window=hour&limit={9000 + number}" for number in range(12)]
    threads = [threading.Thread(target=lambda path=path: found.append(rig.get(path).status)) for path in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [200] * 12


def test_clients_are_closed_even_when_none_was_made(engine: tuple[Settings, Store, Client]) -> None:
    Readers(engine[1].client).close()


# --- live ---------------------------------------------------------------------------------------------------------------


def read_events(rig: Rig, count: int) -> list[dict[str, Any]]:
    found = []
    with urllib.request.urlopen(rig.url + "/api/v1/live", timeout=10) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        for line in stream:
            if line.startswith(b"data: "):
                found.append(json.loads(line[6:]))
                if len(found) == count:
                    break
    return found


def test_the_stream_has_new_numbers_within_a_second_or_two(rig: Rig) -> None:
    with urllib.request.urlopen(rig.url + "/api/v1/live", timeout=10) as stream:
        seen: list[int] = []
        for line in stream:
            if line.startswith(b"data: "):
                row = next(row for row in json.loads(line[6:])["now"]["rows"] if row["app"] == "rural")
                seen.append(row["active_5m"])
                if len(seen) == 1:
                    rig.put("active_users", 777, "rural", window="5m")
                if len(seen) == 3:
                    break
    assert seen[0] != 777
    assert seen[2] == 777


def test_an_event_sent_twice_is_counted_once(rig: Rig) -> None:
    before = rig.get("/api/v1/events/recent?app=rural").json()["total"]
    offset = rig._offset
    rig.events("twice", 5, "rural")
    rig._offset = offset
    rig.events("twice", 5, "rural")
    recent = rig.get("/api/v1/events/recent?app=rural&minutes=6").json()
    assert recent["total"] == before + 5
    assert [one["event"] for one in recent["sample"]].count("twice") == 5


def test_streams_are_bounded(rig: Rig) -> None:
    before, rig.console.streams = rig.console.streams, threading.BoundedSemaphore(1)
    try:
        with urllib.request.urlopen(rig.url + "/api/v1/live", timeout=10) as first:
            assert first.readline() == b"retry: 2000\n"
            reply = rig.get("/api/v1/live")
            assert (reply.status, reply.json()["code"]) == (503, "busy")
    finally:
        rig.console.streams = before


def test_stopping_ends_the_streams_too(engine: tuple[Settings, Store, Client]) -> None:
    rig = Rig(*engine)
    with urllib.request.urlopen(rig.url + "/api/v1/live", timeout=10) as stream:
        assert stream.readline()
        rig.close()
        stream.read()

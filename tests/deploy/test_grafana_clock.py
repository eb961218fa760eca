"""Dashboards and the clock: whose zone axes are in, and the days on which an hour is left out or comes twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from deploy.grafana.build import files
from ingest.contract.zones import Zone, day_of_date
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import open_store
from tests.deploy.grafana_demo import demo_plan
from tests.deploy.grafana_macros import Range, expand_sql

ROOT = Path(__file__).parents[2]
ZONE = Zone("America/New_York")
VARIABLES = {"app": "rural", "facet": "any"}
#: Sundays on which New York's clock goes back and forward.
AUTUMN, SPRING = date(2026, 11, 1), date(2026, 3, 8)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The demo with an app in New York: ten users in each hour of three Sundays, thirty in the first 01:00 of the autumn one."""
    settings = msgspec.structs.replace(demo_plan(), data_dir=str(tmp_path_factory.mktemp("clock") / "var"))
    store = open_store(settings)
    client = store.client()
    migrate(client, settings)
    rows: list[dict[str, Any]] = []
    for day in (AUTUMN, SPRING, SPRING - timedelta(days=7)):
        start, end = (ZONE.day_start(day_of_date(one)) for one in (day, day + timedelta(days=1)))
        rows.append({"window": "day", "start": start, "day": day.isoformat(), "hour": -1, "value": 40})
        for at in range(start, end, 3_600_000):
            clock = ZONE.clock_hour(ZONE.hour(at))
            value = 30 if (day, at - start) == (AUTUMN, 3_600_000) else 10
            rows.append({"window": "hour", "start": at, "day": day.isoformat(), "hour": clock, "value": value})
    same = {"metric": "active_users", "app": "rural", "facet": "", "layout": "1", "partition": 0, "at": 0, "version": 1}
    client.raw_insert("metrics", None, b"\n".join(json.dumps(row | same).encode() for row in rows), fmt="JSONEachRow")
    yield client
    client.close()
    store.close()


def ask(client: Client, title: str, first: date, last: date) -> list[dict[str, Any]]:
    """The rows of a panel of the hourly peaks, for a range from one day to the day after another."""
    board = json.loads(files()["peaks.json"])
    (sql,) = [panel["targets"][0]["rawSql"] for panel in board["panels"] if panel["title"] == title]
    start, end = (ZONE.day_start(day_of_date(one)) for one in (first, last + timedelta(days=1)))
    found = client.query(expand_sql(sql, Range(start, end + 3_600_000), VARIABLES))
    return [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]


@pytest.mark.clickhouse
def test_an_hour_that_comes_twice_is_not_counted_twice_in_the_heat_map(client: Client) -> None:
    (sunday,) = ask(client, "Hour by weekday", AUTUMN, AUTUMN)
    assert sunday["Weekday"] == "Sunday"
    assert [sunday[f"{hour:02}"] for hour in range(24)] == [10, 30, *[10] * 22]


@pytest.mark.clickhouse
def test_an_hour_that_is_left_out_makes_no_mean_smaller(client: Client) -> None:
    (sunday,) = ask(client, "Hour by weekday", SPRING - timedelta(days=7), SPRING)
    assert [sunday[f"{hour:02}"] for hour in range(24)] == [10] * 24
    (sunday,) = ask(client, "Hour by weekday", SPRING, SPRING)
    assert sunday["02"] is None


@pytest.mark.clickhouse
def test_an_hour_that_comes_twice_is_two_on_the_time_axis_and_for_the_peak(client: Client) -> None:
    hours = ask(client, "Active users of each hour", AUTUMN, AUTUMN)
    assert [row["Active users"] for row in hours] == [10, 30, *[10] * 23]
    assert len({row["time"] for row in hours}) == 25
    (peak,) = ask(client, "Peaks", AUTUMN, AUTUMN)
    assert (peak["Peak hour"], peak["Users in it"], peak["Share of DAU"]) == (1, 30, 0.75)


def test_axes_go_by_the_browser_or_by_the_plans_zone(tmp_path: Path) -> None:
    assert {json.loads(text)["timezone"] for text in files().values()} == {"browser"}
    plan = tmp_path / "footfall.toml"
    plan.write_text((ROOT / "deploy" / "demo.toml").read_text().replace("Asia/Shanghai", "Asia/Tokyo"))
    command = [sys.executable, "-m", "deploy.grafana", "--plan", str(plan), str(tmp_path / "boards")]
    subprocess.run(command, cwd=ROOT, check=True)
    written = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "boards").iterdir()}
    assert {name: board["timezone"] for name, board in written.items()} == dict.fromkeys(files(), "Asia/Tokyo")
    for name, board in written.items():
        assert board | {"timezone": "browser"} == json.loads(files()[name])
    missing = subprocess.run([*command[:-2], "nowhere.toml"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert missing.returncode == 1
    assert "nowhere.toml does not exist" in missing.stderr

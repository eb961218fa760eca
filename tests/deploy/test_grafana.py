"""Every dashboard, looked at with a machine's eyes: its queries run on a real ClickHouse over sixty days of traffic."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from deploy.grafana.build import files
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.reader import connect
from sinks.clickhouse.store import open_store
from sinks.front.opening import open_front
from streams.contract.catalogue import CATALOGUE
from tests.deploy.grafana_demo import Demo, fill, last_day, make_demo
from tests.deploy.grafana_macros import Range, expand_sql
from tests.deploy.grafana_units import unit_of, units_of_column, units_of_promql
from tests.ports import free_port

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
TEXTS = files()
BOARDS: dict[str, dict[str, Any]] = {name: json.loads(text) for name, text in TEXTS.items()}
#: Grafana's names of the units that make sense here.
UNITS = {
    "short",
    "none",
    "percentunit",
    "s",
    "m",
    "bytes",
    "Bps",
    "cps",
    "reqps",
    "string",
    "bool_yes_no",
    "dateTimeAsIso",
    "suffix:h",
}
#: What each view shows, for those that are not of all metrics.
VIEWS = {
    "active_users": "active_users", "active_now": "active_users", "dau": "active_users", "wau": "active_users",
    "mau": "active_users", "mau_30d": "active_users", "hourly_active_users": "active_users", "hourly_peak": "active_users",
    "stickiness": "active_users", "launches_per_user": "launches active_users", "usage_per_user": "usage_ms active_users",
    "sessions_per_user": "sessions usage_ms active_users", "typical_hour_curve": "active_users",
    "retention": "retained_users new_users", "overlap": "overlap_users", "penetration": "active_users",
    "facet_share": "active_users", "funnel": "funnel_users", "funnel_time": "funnel_conversions",
}  # fmt: skip
METRICS = {metric.name: metric for metric in CATALOGUE}
VARIABLES = {"app": "harbor", "facet": "any", "funnel": "transfer", "dimension": "platform"}


class Case(NamedTuple):
    """A query of a panel."""

    board: str
    panel: dict[str, Any]
    target: dict[str, Any]

    @property
    def is_sql(self) -> bool:
        return "rawSql" in self.target

    def __str__(self) -> str:
        return f"{self.board.removesuffix('.json')}: {self.panel['title']} {self.target['refId']}"


def panels() -> list[tuple[str, dict[str, Any]]]:
    return [(name, panel) for name, board in BOARDS.items() for panel in board["panels"] if panel["type"] != "row"]


CASES = [Case(name, panel, target) for name, panel in panels() for target in panel["targets"]]
SQL = [case for case in CASES if case.is_sql]
PANELS = pytest.mark.parametrize(("board", "panel"), panels(), ids=[f"{name}: {panel['title']}" for name, panel in panels()])


class Answer(NamedTuple):
    """What ClickHouse said: names and types of columns, and rows."""

    names: list[str]
    types: list[str]
    rows: list[list[Any]]

    def column(self, name: str) -> list[Any]:
        return [row[self.names.index(name)] for row in self.rows]


class Engine:
    """A filled ClickHouse, asked as Grafana would: over HTTP, as the reader, who may not do all that the engine can."""

    def __init__(self, client: Client, demo: Demo) -> None:
        self._client = client
        self.demo = demo
        self.time = Range(demo.now - 45 * 86_400_000, demo.now)
        self._known: dict[str, Answer] = {}

    def ask(self, sql: str, variables: dict[str, str] | None = None) -> Answer:
        text = expand_sql(sql, self.time, VARIABLES | (variables or {}))
        if text in self._known:
            return self._known[text]
        raw: bytes = self._client.raw_query(text, fmt="JSONCompactEachRowWithNamesAndTypes")
        names, types, *rows = (json.loads(row) for row in raw.splitlines())
        answer = self._known[text] = Answer(names, types, rows)
        return answer


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Sixty days of traffic behind the reader's door."""
    demo = make_demo(last_day(datetime.now(UTC).date()))
    sinks = msgspec.structs.replace(demo.settings.sinks, clickhouse_port=free_port())
    folder = tmp_path_factory.mktemp("grafana")
    settings = msgspec.structs.replace(demo.settings, data_dir=str(folder / "var"), sinks=sinks)
    store = open_store(settings)
    client = store.client()
    migrate(client, settings)
    fill(client, demo)
    client.close()
    front = open_front(settings, store)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    with connect(settings, running_only=True) as reader:
        yield Engine(reader, demo)
    front.shutdown()
    front.server_close()
    store.close()


def kind(type_name: str) -> str:
    """time, number, text or other."""
    inner = re.sub(r"^(?:Nullable|LowCardinality)\((.*)\)$", r"\1", re.sub(r"^LowCardinality\((.*)\)$", r"\1", type_name))
    if inner.startswith("DateTime"):
        return "time"
    if re.match(r"U?Int\d+$|Float\d+$", inner):
        return "number"
    return "text" if inner == "String" or inner.startswith("Enum") else "other"


@pytest.mark.clickhouse
@pytest.mark.parametrize("case", SQL, ids=str)
def test_a_panel_has_what_its_kind_wants(engine: Engine, case: Case) -> None:
    answer = engine.ask(case.target["rawSql"])
    kinds = [kind(one) for one in answer.types]
    assert answer.rows, "nothing to show"
    assert "other" not in kinds, (
        f"dates are shown as instants, so they go as text: {dict(zip(answer.names, answer.types, strict=True))}"
    )
    numbers = [
        value for row in answer.rows for value, one in zip(row, kinds, strict=True) if one == "number" and value is not None
    ]
    assert numbers or case.panel["title"] == "Its day"
    assert all(value == value for value in numbers), "not a number"
    match case.panel["type"]:
        case "timeseries":
            _check_series(case, answer, kinds)
        case "stat":
            assert len(answer.rows) == 1
            assert len(answer.names) == 1
            assert answer.rows[0][0] is not None
        case "trend":
            x = answer.column(case.panel["options"]["xField"])
            assert x == sorted(set(x))
        case "barchart":
            assert kinds[answer.names.index(case.panel["options"]["xField"])] == "text"
            assert "number" in kinds
        case "table":
            assert answer.names
        case other:
            raise AssertionError(f"no test knows panels of type {other}")


def _check_series(case: Case, answer: Answer, kinds: list[str]) -> None:
    assert answer.names[0] == "time"
    assert kinds[0] == "time"
    assert not answer.types[0].startswith("Nullable"), "a time that may be missing cannot be widened"
    times = answer.column("time")
    assert times == sorted(times), "Grafana widens series only in the order of time"
    labels = [name for name, one in zip(answer.names, kinds, strict=True) if one == "text"]
    shown = case.panel["fieldConfig"]["defaults"].get("displayName")
    assert ([shown] if shown else []) == [f"${{__field.labels.{name}}}" for name in labels]
    places = [tuple(answer.column(name)[index] for name in ("time", *labels)) for index in range(len(times))]
    assert len(set(places)) == len(places), "two values at one time"
    assert "number" in kinds


@pytest.mark.clickhouse
@pytest.mark.parametrize("case", SQL, ids=str)
def test_what_a_panel_names_is_in_its_answer(engine: Engine, case: Case) -> None:
    names = engine.ask(case.target["rawSql"]).names
    for one in case.panel.get("transformations", []):
        assert {one["options"][key] for key in ("rowField", "columnField", "valueField")} <= set(names)
    if case.panel.get("transformations"):
        return
    for one in case.panel["fieldConfig"]["overrides"]:
        pattern = one["matcher"]["options"].strip("/")
        assert any(re.search(pattern, name) for name in names), f"no column is called {pattern}"


@pytest.mark.clickhouse
@pytest.mark.parametrize("name", BOARDS)
def test_variables_have_values_and_the_ones_that_are_tried_are_among_them(engine: Engine, name: str) -> None:
    for one in BOARDS[name]["templating"]["list"]:
        answer = engine.ask(one["query"])
        values = [row[0] for row in answer.rows]
        assert VARIABLES[one["name"]] in values
        assert len(set(values)) == len(values)
        assert "" not in values


@pytest.mark.clickhouse
@pytest.mark.parametrize("app", ["harbor", "rural", "all"])
def test_days_begin_at_the_apps_own_midnight(engine: Engine, app: str) -> None:
    zone = ZoneInfo("America/New_York" if app == "rural" else "Asia/Shanghai")
    (panel,) = [panel for name, panel in panels() if name == "overview.json" and panel["title"] == "DAU, WAU, MAU"]
    sql = panel["targets"][0]["rawSql"]
    days = engine.ask(
        sql.replace("toDateTime(day, zone) AS time", "toUnixTimestamp(toDateTime(day, zone)) AS time"), {"app": app}
    )
    found = [datetime.fromtimestamp(int(at), zone) for at in days.column("time")]
    assert {(one.hour, one.minute) for one in found} == {(0, 0)}
    assert found[-1].date() == datetime.fromtimestamp(engine.demo.now / 1000, zone).date()
    assert len(found) == 46, "both ends of 45 times 24 hours"


@pytest.mark.clickhouse
def test_the_retention_curve_is_that_of_the_table(engine: Engine) -> None:
    curve, triangle = (_sql("retention.json", title) for title in ("Retention curve", "Retention triangle"))
    answer, cohorts = engine.ask(curve), engine.ask(triangle)
    assert answer.rows[0] == [0, 1]
    seen = [
        (new, share) for new, share in zip(map(int, cohorts.column("New")), cohorts.column("1"), strict=True) if share is not None
    ]
    expected = sum(new * share for new, share in seen) / sum(new for new, _ in seen)
    assert answer.rows[1][1] == pytest.approx(expected)


@pytest.mark.clickhouse
def test_lifecycles_add_up_to_the_active_users(engine: Engine) -> None:
    life = engine.ask(_sql("retention.json", "Users of each day by lifecycle"))
    active = engine.ask(_sql("overview.json", "DAU, WAU, MAU"))
    users = dict(zip(active.column("time"), map(int, active.column("DAU")), strict=True))
    parts = zip(*(map(int, life.column(name)) for name in ("New", "Returning", "Resurrected")), strict=True)
    assert [sum(one) for one in parts] == [users.get(at, 0) for at in life.column("time")]


@pytest.mark.clickhouse
def test_a_year_before_is_compared(engine: Engine) -> None:
    answer = engine.ask(_sql("overview.json", "Compared with a month and a year before"))
    assert answer.column("Number") == ["DAU", "WAU", "MAU, 30 days", "MAU, calendar month"]
    assert answer.column("Year on year") == [-0.5] * 4, "a year ago there were twice as many"
    assert all(change is not None for change in answer.column("Month on month"))


@pytest.mark.clickhouse
def test_an_app_overlaps_with_itself_wholly(engine: Engine) -> None:
    answer = engine.ask(_sql("apps.json", "Overlap matrix"))
    shares = {(one, other): share for one, other, share in answer.rows}
    names = {"Harbor Bank", "Pioneer Bank", "Rural Credit"}
    assert set(shares) == {(one, other) for one in names for other in names}
    assert all(shares[one, one] == 1 for one in names)
    assert all(0 < share < 1 for (one, other), share in shares.items() if one != other)


@pytest.mark.clickhouse
def test_a_facet_narrows_the_numbers(engine: Engine) -> None:
    sql = _sql("overview.json", "MAU, 30 days")
    everybody, some = (int(engine.ask(sql, {"facet": facet}).rows[0][0]) for facet in ("any", "platform:ios"))
    assert 0 < some < everybody


def _sql(board: str, title: str) -> str:
    (text,) = [
        case.target["rawSql"]
        for case in SQL
        if case.board == board and case.panel["title"] == title and case.target["refId"] == "A"
    ]
    return str(text)


def test_the_committed_files_are_what_build_makes() -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in (FOLDER / "dashboards").glob("*.json")}
    assert there == TEXTS, "run python -m deploy.grafana"


def test_the_command_writes_them_where_it_is_told(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "deploy.grafana", str(tmp_path / "new")], cwd=FOLDER.parents[1], check=True)
    assert {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "new").iterdir()} == TEXTS


@PANELS
def test_a_panel_says_what_it_shows(board: str, panel: dict[str, Any]) -> None:
    text = panel["description"]
    assert len(text) > 30
    assert panel["title"]
    sql = "\n".join(target.get("rawSql", "") for target in panel["targets"])
    shown = set(re.findall(r"\w+", re.sub(r"FROM \w+", "", sql))) & set(METRICS)
    shown |= {name for view in re.findall(r"FROM (\w+)", sql) for name in VIEWS.get(view, "").split()}
    for name in shown:
        assert METRICS[name].title_zh in text, f"{name} is not explained"
        assert METRICS[name].definition in text
    for name in {one for target in panel["targets"] for one in re.findall(r"footfall_\w+", target.get("expr", ""))}:
        assert re.sub(r"_(bucket|count)$", "", name) in text, f"{name} is not explained"
    assert "TODO" not in text


@PANELS
def test_a_panel_has_units(board: str, panel: dict[str, Any]) -> None:
    units = {panel["fieldConfig"]["defaults"].get("unit", "none at all")}
    for one in panel["fieldConfig"]["overrides"]:
        units |= {found["value"] for found in one["properties"] if found["id"] == "unit"}
    assert units <= UNITS, f"{board}, {panel['title']}: Grafana has no unit {units - UNITS} that makes sense here"


@pytest.mark.clickhouse
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_unit_is_that_of_the_numbers(engine: Engine, case: Case) -> None:
    if not case.is_sql:
        unit, allowed = unit_of(case.panel, ""), units_of_promql(case.target["expr"])
        assert unit in allowed, f"{case}: {unit!r} instead of {allowed} for {case.target['expr']}"
        return
    answer = engine.ask(case.target["rawSql"])
    x = case.panel["options"].get("xField")
    for name, type_name in zip(answer.names, answer.types, strict=True):
        if kind(type_name) != "number" or name == x:
            continue
        values = [float(value) for value in answer.column(name) if value is not None]
        unit = unit_of(case.panel, name)
        allowed = units_of_column(name, values, means=case.panel["title"] == "Hour by weekday")
        assert unit in allowed, f"{case}, {name}: {unit!r} instead of {allowed} for {sorted(values)[:3]} ... {max(values)}"


@PANELS
def test_a_panel_asks_the_provisioned_data_sources(board: str, panel: dict[str, Any]) -> None:
    provisioned = (FOLDER / "provisioning" / "datasources" / "footfall.yml").read_text()
    for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
        assert f"uid: {source['uid']}\n    type: {source['type']}\n" in provisioned


@pytest.mark.parametrize("case", SQL, ids=str)
def test_no_panel_uses_intervals_of_the_data_source(case: Case) -> None:
    """Those of a day begin at midnight UTC, and filters of dates are of UTC days."""
    assert not re.search(r"\$__(timeInterval|timeGroup|dateFilter|dateTimeFilter|dt\b)", case.target["rawSql"])


@pytest.mark.parametrize("name", BOARDS)
def test_panels_lie_side_by_side(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in BOARDS[name]["panels"]]
    assert len(set(ids)) == len(ids)


def test_dashboards_link_to_each_other() -> None:
    paths = {f"/d/{board['uid']}" for board in BOARDS.values()}
    assert len(paths) == len(BOARDS) == 7
    for board in BOARDS.values():
        assert {link["url"] for link in board["links"]} == paths - {f"/d/{board['uid']}"}


def test_the_readme_names_what_provisioning_takes_from_the_environment() -> None:
    texts = [path.read_text() for path in (FOLDER / "provisioning").rglob("*.yml")]
    wanted = {name for text in texts for name in re.findall(r"\$\{(\w+)\}", text)} - {"NAME"}
    readme = (FOLDER.parents[1] / "README.md").read_text(encoding="utf-8")
    assert wanted == set(re.findall(r"`(FOOTFALL_[A-Z_]+)`", readme.partition("### Grafana")[2].partition("## ")[0]))

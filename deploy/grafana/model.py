"""Dashboards as Grafana's JSON: panels, queries and variables as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

Json = dict[str, Any]

CLICKHOUSE: Json = {"type": "grafana-clickhouse-datasource", "uid": "footfall-clickhouse"}
PROMETHEUS: Json = {"type": "prometheus", "uid": "footfall-prometheus"}
#: Grafana 10.4; newer ones bring it up to date by themselves.
_SCHEMA = 39
_COLUMNS = 24

BLUE, GREEN, AMBER, RED = "blue", "green", "orange", "red"
#: (from value, colour), the first from minus infinity.
Steps = Sequence[tuple[float | None, str]]


class Query(NamedTuple):
    """One query of a panel. legend: PromQL only."""

    datasource: Json
    text: str
    series: bool
    legend: str = ""
    instant: bool = False

    def target(self, ref: str) -> Json:
        """The JSON of it."""
        if self.datasource == PROMETHEUS:
            return {
                "datasource": PROMETHEUS,
                "editorMode": "code",
                "expr": self.text,
                "instant": self.instant,
                "range": not self.instant,
                "legendFormat": self.legend or "__auto",
                "refId": ref,
            }
        return {
            "datasource": CLICKHOUSE,
            "editorType": "sql",
            "format": 0 if self.series else 1,
            "queryType": "timeseries" if self.series else "table",
            "rawSql": self.text,
            "refId": ref,
        }


class Panel(NamedTuple):
    """A panel, not placed yet: its size in Grafana's grid (24 columns wide)."""

    body: Json
    width: int
    height: int


class Dashboard(NamedTuple):
    """A dashboard: rows are a heading and its panels, laid out from left to right."""

    uid: str
    title: str
    description: str
    variables: Sequence[Json]
    rows: Sequence[tuple[str, Sequence[Panel]]]
    since: str = "now-30d"
    refresh: str = "1m"


def series(text: str) -> Query:
    """A ClickHouse query for a time series: a column of times first, rows in its order."""
    return Query(CLICKHOUSE, text.strip(), series=True)


def table(text: str) -> Query:
    """A ClickHouse query for a table."""
    return Query(CLICKHOUSE, text.strip(), series=False)


def promql(text: str, legend: str = "", instant: bool = False) -> Query:
    """A Prometheus query."""
    return Query(PROMETHEUS, text, series=True, legend=legend, instant=instant)


def unit(name: str, pattern: str) -> Json:
    """An override: the unit of the columns whose names a regular expression matches."""
    return override(pattern, unit=name)


def override(pattern: str, custom: Mapping[str, Any] | None = None, **properties: Any) -> Json:
    """An override of properties for the columns whose names a regular expression matches."""
    found = [{"id": key, "value": value} for key, value in properties.items()]
    found += [{"id": f"custom.{key}", "value": value} for key, value in (custom or {}).items()]
    return {"matcher": {"id": "byRegexp", "options": f"/^(?:{pattern})$/"}, "properties": found}


def thresholds(steps: Steps) -> Json:
    """Colours by value."""
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for value, color in steps]}


def _panel(
    kind: str,
    title: str,
    description: str,
    queries: Sequence[Query],
    size: tuple[int, int],
    defaults: Json,
    options: Json,
    overrides: Sequence[Json] = (),
    transformations: Sequence[Json] = (),
) -> Panel:
    body: Json = {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": queries[0].datasource,
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options,
        "targets": [query.target("ABCDEFGH"[index]) for index, query in enumerate(queries)],
    }
    if transformations:
        body["transformations"] = list(transformations)
    return Panel(body, *size)


def stat(title: str, description: str, query: Query, unit: str, decimals: int = 0, steps: Steps = ((None, BLUE),)) -> Panel:
    """One number, as large as it can be."""
    defaults: Json = {"unit": unit, "decimals": decimals, "thresholds": thresholds(steps), "color": {"mode": "thresholds"}}
    options: Json = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "textMode": "value",
    }
    return _panel("stat", title, description, [query], (4, 4), defaults, options)


def lines(
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    *,
    decimals: int | None = None,
    size: tuple[int, int] = (12, 8),
    style: Literal["line", "bars", "points"] = "line",
    stacked: bool = False,
    label: str = "",
    steps: Steps = (),
    overrides: Sequence[Json] = (),
    from_zero: bool = True,
) -> Panel:
    """Values over time. label: the column that tells series apart, and names them; steps: lines drawn at these values."""
    custom: Json = {
        "drawStyle": style,
        "lineWidth": 1 if style == "bars" else 2,
        "fillOpacity": 60 if style == "bars" else 8,
        "pointSize": 6 if style == "points" else 4,
        "showPoints": "always" if style == "points" else "never",
        "spanNulls": True,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    defaults: Json = {"unit": unit, "custom": custom, "color": {"mode": "palette-classic"}}
    if decimals is not None:
        defaults["decimals"] = decimals
    if from_zero:
        defaults["min"] = 0
    if label:
        defaults["displayName"] = f"${{__field.labels.{label}}}"
    if steps:
        defaults["thresholds"] = thresholds(steps)
        custom["thresholdsStyle"] = {"mode": "line"}
    options: Json = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _panel("timeseries", title, description, queries, size, defaults, options, overrides)


def trend(
    title: str, description: str, query: Query, x: str, unit: str, *, decimals: int = 0, size: tuple[int, int] = (12, 8)
) -> Panel:
    """Values over a number that is no time (clock hours, days since the first): a column x in rising order."""
    custom: Json = {"drawStyle": "line", "lineWidth": 2, "fillOpacity": 8, "showPoints": "auto", "spanNulls": False}
    defaults: Json = {"unit": unit, "decimals": decimals, "min": 0, "custom": custom, "color": {"mode": "palette-classic"}}
    options: Json = {
        "xField": x,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "none"},
    }
    overrides = [override(x, unit="none", decimals=0)]
    return _panel("trend", title, description, [query], size, defaults, options, overrides)


def grid(
    title: str,
    description: str,
    query: Query,
    unit: str,
    *,
    decimals: int = 0,
    size: tuple[int, int] = (12, 8),
    overrides: Sequence[Json] = (),
    heat: str = "",
    transformations: Sequence[Json] = (),
) -> Panel:
    """A table. heat: the columns (a regular expression) whose cells are coloured by value, all on one scale."""
    defaults: Json = {"unit": unit, "decimals": decimals, "custom": {"align": "auto", "filterable": False}}
    coloured = [override(heat, {"cellOptions": {"type": "color-background", "mode": "basic"}, "width": 58})] if heat else []
    if heat:
        defaults["color"] = {"mode": "continuous-blues"}
    options: Json = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "fields": ""}}
    return _panel("table", title, description, [query], size, defaults, options, [*coloured, *overrides], transformations)


def bars(
    title: str,
    description: str,
    query: Query,
    x: str,
    unit: str,
    *,
    decimals: int = 0,
    size: tuple[int, int] = (12, 8),
    horizontal: bool = False,
    overrides: Sequence[Json] = (),
) -> Panel:
    """A bar for each row, named by column x (a text)."""
    defaults: Json = {
        "unit": unit,
        "decimals": decimals,
        "min": 0,
        "custom": {"fillOpacity": 70, "lineWidth": 1},
        "color": {"mode": "palette-classic"},
    }
    options: Json = {
        "xField": x,
        "orientation": "horizontal" if horizontal else "vertical",
        "showValue": "auto",
        "stacking": "none",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "none"},
    }
    return _panel("barchart", title, description, [query], size, defaults, options, overrides)


def variable(name: str, label: str, description: str, query: str) -> Json:
    """A variable with the values of a query: its first column is the value, a second one the text."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "description": description,
        "datasource": CLICKHOUSE,
        "definition": query,
        "query": query,
        "refresh": 2,
        "sort": 0,
        "regex": "",
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "options": [],
        "current": {},
    }


def encode(dashboard: Dashboard, titles: Mapping[str, str], time_zone: str) -> Json:
    """The dashboard's JSON. titles: uid -> title of all dashboards, to link them; time_zone: "browser" or an IANA one."""
    links = [
        {"type": "link", "title": title, "url": f"/d/{uid}", "keepTime": True, "includeVars": True, "icon": "", "tags": []}
        for uid, title in titles.items()
        if uid != dashboard.uid
    ]
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["footfall"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": dashboard.refresh,
        "time": {"from": dashboard.since, "to": "now"},
        "timezone": time_zone,
        "weekStart": "monday",
        "annotations": {"list": []},
        "links": links,
        "templating": {"list": list(dashboard.variables)},
        "panels": _placed(dashboard.rows),
    }


def _placed(rows: Sequence[tuple[str, Sequence[Panel]]]) -> list[Json]:
    found: list[Json] = []
    y = 0
    for heading, panels in rows:
        place = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
        found.append({"id": len(found) + 1, "type": "row", "title": heading, "collapsed": False, "gridPos": place, "panels": []})
        y += 1
        x = height = 0
        for panel in panels:
            if x + panel.width > _COLUMNS:
                x, y, height = 0, y + height, 0
            place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            found.append({"id": len(found) + 1, **panel.body, "gridPos": place})
            x += panel.width
            height = max(height, panel.height)
        y += height
    return found

"""Shell: answers the API's paths: the clock, the process's own numbers, and ClickHouse."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec

from ingest.contract.settings import Settings
from ingest.contract.tracking import events_of
from ingest.contract.zones import HOUR_MS, date_of_day
from sinks.api import places, sql
from sinks.api.errors import ApiError
from sinks.api.live import now_rows, pipeline
from sinks.api.openapi import document
from sinks.api.parameters import parse
from sinks.api.readers import Readers
from sinks.api.routes import EXPORTS, PREFIX, Route, routes
from sinks.api.shapes import (
    Delay,
    EventCount,
    EventSample,
    Live,
    Now,
    RecentEvents,
    RejectedCount,
    Rejections,
    Tracking,
    Violation,
)
from sinks.api.tracking import delay_query, violations_query
from sinks.prometheus.gauges import Gauge, scopes
from sinks.snapshot import Snapshot

_JSON = "application/json"
_FORMATS = {"csv": "CSVWithNames", "parquet": "Parquet"}
#: The same question within that time has the same answer: many open pages cost what one does.
_KEPT_S = 1.0
_KEPT_ANSWERS = 64
_KEPT_BYTES = 256 * 1024


class Answer(NamedTuple):
    """A body with its media type; filename: to be saved under; next_page: where an export that was cut goes on."""

    media: str
    body: bytes
    filename: str = ""
    next_page: str = ""


class Service:
    """Every method may be called from any thread.

    numbers   the exporter's gauges of a facet, None while it catches up; counters: the process's own; clock: ms UTC
    """

    def __init__(
        self,
        settings: Settings,
        readers: Readers,
        numbers: Callable[[str], list[Gauge] | None],
        counters: Callable[[], Snapshot],
        clock: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._plan = settings
        self._readers = readers
        self._numbers = numbers
        self._counters = counters
        self._clock = clock
        self._scopes = scopes(settings)
        self._groups = {group.id for group in settings.groups}
        self._ids = [scope.id for scope in self._scopes]
        self._routes = {route.path: route for route in routes(settings)}
        self._openapi = msgspec.json.encode(document(list(self._routes.values()), _version(), bool(settings.sinks.console_token)))
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], tuple[float, Answer]] = {}
        self._live_lock = threading.Lock()
        self._live: tuple[float, bytes] = (float("-inf"), b"")

    def route(self, path: str) -> Route | None:
        """The route of a path; None also for the document itself."""
        return self._routes.get(path)

    def answer(self, path: str, query: str) -> Answer:
        """The answer to a GET. Raises ApiError."""
        if path == PREFIX + "/openapi.json":
            return Answer(_JSON, self._openapi)
        route = self._routes.get(path)
        if route is None:
            raise ApiError(404, "not_found", f"there is no such path; {PREFIX}/openapi.json lists them")
        asked = parse(query, route.params)
        if route.stream:
            return Answer(_JSON, self.live())
        with self._lock:
            kept = self._kept.get((path, query))
        if kept is not None and time.monotonic() - kept[0] < _KEPT_S:
            return kept[1]
        found = (
            self._metrics(asked, path, query)
            if route.name == "metrics"
            else Answer(_JSON, msgspec.json.encode(self._made(route.name, asked)))
        )
        if not found.filename and len(found.body) <= _KEPT_BYTES:
            with self._lock:
                if len(self._kept) >= _KEPT_ANSWERS:
                    self._kept.clear()
                self._kept[path, query] = (time.monotonic(), found)
        return found

    def live(self) -> bytes:
        """The data of a server-sent event, made once a second for all who listen."""
        with self._live_lock:
            made, data = self._live
            if time.monotonic() - made >= _KEPT_S / 2:
                at = self._clock()
                data = msgspec.json.encode(Live(self._now({"facet": ""}, at), pipeline(self._counters(), at)))
                self._live = (time.monotonic(), data)
            return data

    def _made(self, name: str, asked: dict[str, Any]) -> msgspec.Struct:
        at = self._clock()
        if name == "catalogue":
            return places.catalogue(self._plan)
        if name == "apps":
            return places.apps(self._plan, at)
        if name == "now":
            return self._now(asked, at)
        if name == "recent":
            return self._recent(asked, at)
        if name == "rejected":
            return self._rejected(asked["hours"], at)
        if name == "tracking":
            return self._tracking(asked, at)
        return pipeline(self._counters(), at)

    def _metrics(self, asked: dict[str, Any], path: str, text: str) -> Answer:
        query = sql.metrics_query(asked, date_of_day(places.latest_day(self._plan, self._clock())))
        export = asked.get("export", "")
        if export:
            name = f"{query.parameters['metric']}-{query.parameters['window']}.{export}"
            cursor = sql.next_of(self._readers.rows(sql.beyond(query)))
            rest = [pair for pair in parse_qsl(text, keep_blank_values=True) if pair[0] != "cursor"]
            following = f"{path}?{urlencode([*rest, ('cursor', cursor)])}" if cursor else ""
            return Answer(EXPORTS[export], self._readers.file(query, _FORMATS[export]), name, following)
        return Answer(_JSON, msgspec.json.encode(sql.page_of(self._readers.rows(query), query.limit)))

    def _now(self, asked: dict[str, Any], at: int) -> Now:
        return now_rows(
            self._numbers(asked["facet"]), self._scopes, at, asked.get("app", self._ids), asked["facet"], self._groups
        )

    def _recent(self, asked: dict[str, Any], at: int) -> RecentEvents:
        top, sample = sql.recent_queries(self._apps(asked), at, asked["minutes"], asked["limit"])
        names = self._readers.rows(top)
        return RecentEvents(
            at=at,
            minutes=asked["minutes"],
            total=int(names[0][4]) if names else 0,
            top=[EventCount(*row[:4]) for row in names],
            sample=[EventSample(*row) for row in self._readers.rows(sample)],
        )

    def _apps(self, asked: dict[str, Any]) -> list[str]:
        """The apps that are asked for, those of groups too."""
        members = {group.id: group.apps for group in self._plan.groups}
        return sorted({app for one in asked.get("app", self._ids) for app in members.get(one, [one])})

    def _tracking(self, asked: dict[str, Any], at: int) -> Tracking:
        apps, since = self._apps(asked), at - asked["hours"] * HOUR_MS
        return Tracking(
            at=at,
            hours=asked["hours"],
            checked=[app for app in apps if events_of(self._plan.events, app)],
            violations=[Violation(*row) for row in self._readers.rows(violations_query(apps, since))],
            delays=[Delay(*row) for row in self._readers.rows(delay_query(self._plan, apps, since))],
        )

    def _rejected(self, hours: int, at: int) -> Rejections:
        rejected, accepted = sql.rejected_queries([app.id for app in self._plan.apps], at, hours)
        return Rejections(
            at=at,
            hours=hours,
            accepted=int(self._readers.rows(accepted)[0][0]),
            rejected=[RejectedCount(*row) for row in self._readers.rows(rejected)],
        )


def _version() -> str:
    try:
        return version("footfall")
    except PackageNotFoundError:
        return "0"

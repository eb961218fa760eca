"""The console's server on a real embedded ClickHouse, with totals made up by rule, and a clock of its own."""

from __future__ import annotations

import json
import math
import threading
import urllib.error
import urllib.request
from collections import Counter
from datetime import date, timedelta
from typing import Any, NamedTuple

import msgspec
from clickhouse_connect.driver.client import Client

from ingest.contract.plan import Plan
from ingest.contract.settings import Settings
from ingest.contract.zones import Zone, day_of_date
from sinks.api.places import breakdowns
from sinks.api.readers import Readers
from sinks.api.service import Service
from sinks.clickhouse.rows import MetricsBatch
from sinks.clickhouse.store import Store
from sinks.console.server import Console
from sinks.prometheus.fold import Fold
from sinks.prometheus.gauges import Gauge, gauges, scopes
from sinks.stats import Stats
from streams.contract.total import Total, Window, encode_total

SHANGHAI = Zone("Asia/Shanghai")
TODAY = date(2026, 11, 21)
#: 2026-11-21 15:20:30 in Shanghai
NOW = SHANGHAI.day_start(day_of_date(TODAY)) + 15 * 3_600_000 + 20 * 60_000 + 30_000


class Reply(NamedTuple):
    """An answer of the server."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Rig:
    """Store, totals, counters and server. `now` is its clock (ms); change it at will."""

    def __init__(self, settings: Settings, store: Store, client: Client) -> None:
        self.settings = settings
        self.now = NOW
        self.caught_up = True
        self.stats = Stats(frozenset(app.id for app in settings.apps))
        self.readers = Readers(store.client)
        self._client = client
        self._fold = Fold(settings.project.layout)
        self._scopes = scopes(settings)
        self._offset = 0
        self._waiting: list[bytes] = []
        self._lock = threading.Lock()
        service = Service(settings, self.readers, self._numbers, self.stats.snapshot, lambda: self.now)
        self.console = Console("127.0.0.1", 0, service, settings.sinks.console_token)
        self.url = f"http://127.0.0.1:{self.console.port}"
        self._thread = threading.Thread(target=self.console.serve_forever, daemon=True)
        self._thread.start()

    def _numbers(self, facet: str) -> list[Gauge] | None:
        known = [scope._replace(facets=(facet,)) for scope in self._scopes if facet in scope.facets]
        with self._lock:
            return gauges(self._fold, known, self.now) if self.caught_up else None

    def put(
        self,
        metric: str,
        value: int,
        app: str = "harbor",
        *,
        facet: str = "",
        window: Window = "day",
        day: date = TODAY,
        hour: int = -1,
        partition: int = 0,
    ) -> None:
        """A total, as the worker would publish it: to the exporter's fold now, to ClickHouse with the next `land`."""
        start = 0 if window in ("5m", "30m") else SHANGHAI.day_start(day_of_date(day)) + max(hour, 0) * 3_600_000
        total = Total(
            metric=metric,
            app=app,
            facet=facet,
            window=window,
            start=start,
            day=day.isoformat(),
            hour=hour,
            layout="1",
            partition=partition,
            value=value,
            at=self.now - 800,
        )
        self._offset += 1
        with self._lock:
            self._fold.apply(total, self._offset, self.now)
        batch = MetricsBatch(partition)
        batch.add(self._offset, encode_total(total))
        self._waiting += [row.line for row in batch.inserts()[0].rows]
        self.stats.total_seen(total.at)

    def land(self) -> None:
        """Inserts what was put."""
        if self._waiting:
            self._client.raw_insert("metrics", None, b"\n".join(self._waiting), fmt="JSONEachRow")
            self._waiting.clear()

    def events(self, name: str, count: int, app: str = "harbor", seconds_ago: int = 20, violation: str = "") -> None:
        """Raw events of persons with names that must never be seen, received a while ago; every third with a violation."""
        lines = [
            {
                "id": f"{name}-{self._offset}-{number}",
                "app": app,
                "person": f"u:secret-{number}",
                "event": name,
                "time": self.now - seconds_ago * 1000 - number,
                "received": self.now - seconds_ago * 1000 - number,
                "platform": "ios",
                "version": "9.2.0",
                "props": {"card": "secret-card"},
                "violations": [violation] if violation and not number % 3 else [],
            }
            for number in range(count)
        ]
        self._offset += 1
        self._client.raw_insert("events", None, b"\n".join(msgspec.json.encode(line) for line in lines), fmt="JSONEachRow")
        self.stats.events(Counter({app: count}), {app: self.now - seconds_ago * 1000})

    def rejected(self, reason: str, count: int, app: str = "harbor") -> None:
        """Rejections of the last hour."""
        lines = [
            {
                "at": self.now - 60_000 - number,
                "stage": "collector",
                "reason": reason,
                "detail": "secret",
                "app": app,
                "offset": number,
            }
            | {"kafka_offset": self._offset * 1000 + number, "topic": reason, "payload": "secret"}
            for number in range(count)
        ]
        self._client.raw_insert("rejected", None, b"\n".join(msgspec.json.encode(line) for line in lines), fmt="JSONEachRow")

    def get(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Reply:
        """An answer, whatever its status."""
        request = urllib.request.Request(self.url + path, headers=headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return Reply(answer.status, {key.lower(): value for key, value in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, {key.lower(): value for key, value in error.headers.items()}, error.read())

    def close(self) -> None:
        self.console.shutdown()
        self.console.server_close()
        self._thread.join(10)
        self.readers.close()


def curve(hour: int) -> float:
    """The share of a day's users who are there in that hour: bank-like, with its peak at 10:00."""
    return 0.02 + 0.16 * math.exp(-((hour - 10) ** 2) / 10) + 0.11 * math.exp(-((hour - 20) ** 2) / 12)


def fill(rig: Rig, plan: Plan, days: int = 60) -> None:
    """Two months of all metrics for all apps and groups, today as far as it has come."""
    this_hour = SHANGHAI.clock_hour(SHANGHAI.hour(rig.now))
    for number, app in enumerate([app.id for app in plan.apps] + [group.id for group in plan.groups]):
        base = (800, 520, 300, 1350)[number % 4]
        for ago in range(days, -1, -1):
            day = TODAY - timedelta(days=ago)
            users = int(base * (0.72 if day.weekday() > 4 else 1.0) * (1 + 0.06 * math.sin(ago * 1.7 + number)))
            for hour in range(this_hour + 1 if ago == 0 else 24):
                part = 0.6 if ago == 0 and hour == this_hour else 1.0
                rig.put("active_users", int(users * curve(hour) * part), app, window="hour", day=day, hour=hour)
            part = 0.7 if ago == 0 else 1.0
            rig.put("active_users", int(users * part), app, day=day)
            rig.put("active_users", int(users * 3.1), app, window="7d", day=day)
            rig.put("active_users", int(users * 5.6), app, window="30d", day=day)
            rig.put("active_users", int(users * 0.4 * part), app, facet="activity:transacting", day=day)
            new = int(users * 0.05)
            for name, share in (
                ("new_users", 0.05),
                ("returning_users", 0.9),
                ("resurrected_users", 0.05),
                ("dormant_users", 0.04),
            ):
                rig.put(name, int(users * share * part), app, day=day)
            if number < len(plan.apps):
                rig.put("active_users", int(users * 0.45 * part), app, facet="platform:ios", day=day)
                rig.put("launches", int(users * 2.3 * part), app, day=day)
                rig.put("sessions", int(users * 2.1 * part), app, day=day)
                rig.put("usage_ms", int(users * 4.2 * 60_000 * part), app, day=day)
            for after in range(min(30, ago) + 1 if ago <= 31 else 0):
                kept = new if after == 0 else int(new * 0.62 / (1 + 0.35 * after))
                rig.put("retained_users", kept, app, facet=f"d{after}", day=day)
        for month in (TODAY.replace(day=1), (TODAY.replace(day=1) - timedelta(days=1)).replace(day=1)):
            rig.put("active_users", int(base * 6.2), app, window="month", day=month)
        rig.put("active_users", int(base * 0.021), app, window="5m")
        rig.put("active_users", int(base * 0.064), app, window="30m")
    for one in plan.apps:
        for other in plan.apps:
            if one.id != other.id:
                shared = 420 + 40 * len(set(one.id + other.id))
                rig.put("overlap_users", shared, one.id, facet=f"app:{other.id}", window="month", day=TODAY.replace(day=1))
    for funnel in plan.funnels:
        for step in range(1, len(funnel.steps) + 1):
            rig.put("funnel_users", int(560 * 0.62 ** (step - 1)), funnel.app, facet=f"{funnel.id}:{step}")
            for entered, broken in zip((300, 200, 60), breakdowns(plan, funnel), strict=False):
                rig.put("funnel_users", int(entered * 0.6 ** (step - 1)), funnel.app, facet=f"{funnel.id}:{step}:{broken.id}")
    rig.land()
    for name, count in (("app_launch", 120), ("login", 80), ("view_accounts", 66), ("pay_bill", 18)):
        rig.events(name, count)
    rig.events("complete_transfer", 31, violation="type:amount")
    rig.events("app_launch", 40, "pioneer")
    rig.rejected("bad_time", 12)
    rig.rejected("unknown_key", 3, "")
    rig.stats.inserted("events", 355, rig.now - 2000)
    rig.stats.inserted("metrics", 12_000, rig.now - 1000)
    rig.stats.lag("footfall.events", {0: 0, 1: 3})
    rig.stats.lag("footfall.metrics", {0: 0})
    rig.stats.caught_up()

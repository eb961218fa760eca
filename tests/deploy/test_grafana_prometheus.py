"""The dashboards' PromQL, run on a real Prometheus that scrapes what collector, worker and sinks expose."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry, start_http_server

from ingest.answers import SEGMENT_OK
from ingest.collector.stats import Stats as CollectorStats
from ingest.intake import Intake
from ingest.protocols import Accepted
from ingest.reasons import Reason, Refusal
from ingest.tracking import Label
from sinks.contract.tracked import tracked_events
from sinks.prometheus.exposition import Exposition
from sinks.prometheus.fold import Fold
from sinks.prometheus.gauges import gauges, scopes
from sinks.stats import Stats as SinkStats
from streams.contract.total import decode_total
from streams.partition import Taken
from streams.worker.stats import Stats as WorkerStats
from tests.deploy.grafana_demo import Demo, last_day, make_demo
from tests.deploy.grafana_macros import Range, expand_promql
from tests.deploy.test_grafana import CASES, VARIABLES, Case
from tests.ports import free_port

_PROMETHEUS = shutil.which("prometheus")
pytestmark = pytest.mark.skipif(_PROMETHEUS is None, reason="no prometheus here: `apt-get install prometheus` has it")
PROMQL = [case for case in CASES if not case.is_sql]
#: Seconds between scrapes, and how many there are before anything is asked.
_STEP, _SCRAPES = 1, 8


class Exposed:
    """The registries of the three stages, with the demo's numbers in them, and something happening all the time."""

    def __init__(self, demo: Demo) -> None:
        self.collector = CollectorStats()
        self._worker = WorkerStats()
        self._worker.watch(lambda: demo.partitions)
        tracked = tracked_events(demo.settings)
        self._sinks = SinkStats(frozenset(tracked), tracked)
        fold = Fold(demo.settings.project.layout)
        for totals in demo.totals.values():
            for offset, text in enumerate(totals):
                fold.apply(decode_total(text), offset, demo.now)
        known = scopes(demo.settings)
        self._sinks.caught_up()
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Exposition(lambda: gauges(fold, known, demo.now), self._sinks.snapshot))
        self.registries = (self.collector.registry, self._worker.registry, registry)
        self._demo = demo
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_on)
        self.happen()
        self._thread.start()

    def _go_on(self) -> None:
        while not self._stop.wait(0.2):
            self.happen()

    def happen(self) -> None:
        """A moment's traffic, and one of everything that goes wrong."""
        now = time.time()
        ms = int(now * 1000)
        accepted = [Accepted(app=app, person="u:1", line=b"{}") for app in ("harbor", "pioneer", "rural")]
        refused = [Refusal(0, Reason.BAD_JSON, "no JSON", b"", "harbor")]
        self.collector.safe("native", Intake(accepted, [], refused, SEGMENT_OK, [Label("harbor", "pay_bill", "amount", "type")]))
        self.collector.request("/v1/events", 200)
        self.collector.request_bytes.inc(700)
        self.collector.ack_seconds.observe(0.012)
        self.collector.frame_bytes.observe(3000)
        self.collector.in_flight_bytes.set(900)
        self.collector.kafka_up.set(1)
        self.collector.frames_failed.inc(0)
        self.collector.spool_fsync_seconds.observe(0.004)
        for number, partition in self._demo.partitions.items():
            partition.counters.events["harbor"] += 3
            partition.counters.rejected["bad_line"] = partition.counters.rejected.get("bad_line", 0) + 1
            partition.clock = ms
            self._worker.checkpoint(number, Taken([(b"k", b"v")], [(b"k", b"v")], [], []), 0.03, now)
        self._sinks.events(Counter({"harbor": 5, "rural": 2}), {"harbor": ms, "rural": ms})
        self._sinks.names(Counter({("harbor", "login"): 5}))
        self._sinks.total_seen(ms)
        for table in ("events", "metrics", "rejected"):
            self._sinks.inserted(table, 10, ms)
            self._sinks.lag(table, {0: 3})
        self._sinks.counted([ms - 800], ms)
        self._sinks.readable("events", {ms - 1100: 5}, ms)
        self._sinks.readable("metrics", {ms - 1600: 1}, ms)
        self._sinks.failed("events", "retry")
        self._sinks.refused("events")
        self._sinks.skipped("events", 1)
        self._sinks.lost("events", 1)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


class Prometheus:
    """A real one, that has scraped for a while."""

    def __init__(self, folder: Path, ports: list[int]) -> None:
        assert _PROMETHEUS is not None
        self.port = free_port()
        jobs = [{"job_name": f"j{port}", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for port in ports]
        config = {"global": {"scrape_interval": f"{_STEP}s"}, "scrape_configs": jobs}
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                _PROMETHEUS,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + 180
        while self._scrapes() < _SCRAPES:
            assert self._process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.3)

    def _scrapes(self) -> int:
        try:
            found = self.ask("query", query="min(count_over_time(up[1h])) and count(up == 1) == 3")
        except (urllib.error.URLError, ConnectionError):
            return 0
        return int(float(found[0]["value"][1])) if found else 0

    def ask(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        """The result of a query."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus, before the three stages' expositions."""
    demo = make_demo(last_day(datetime.now(UTC).date()), days=3)
    apps = [msgspec.structs.replace(app, peak_capacity=50) for app in demo.settings.apps]
    exposed = Exposed(demo._replace(settings=msgspec.structs.replace(demo.settings, apps=apps)))
    servers = [(port := free_port(), *start_http_server(port, "127.0.0.1", registry)) for registry in exposed.registries]
    try:
        made = Prometheus(tmp_path_factory.mktemp("prometheus"), [port for port, _, _ in servers])
        yield made
        made.close()
    finally:
        exposed.close()
        for _, server, thread in servers:
            server.shutdown()
            server.server_close()
            thread.join()


@pytest.mark.parametrize("case", PROMQL, ids=str)
def test_a_query_finds_numbers(prometheus: Prometheus, case: Case) -> None:
    now = time.time()
    query = expand_promql(case.target["expr"], Range(int(now * 1000) - 6000, int(now * 1000), _STEP), VARIABLES)
    if case.target["instant"]:
        found = prometheus.ask("query", query=query)
        values = [one["value"][1] for one in found]
    else:
        found = prometheus.ask("query_range", query=query, start=str(now - 6), end=str(now), step=str(_STEP))
        values = [value for one in found for _, value in one["values"]]
    assert values, "nothing to show"
    assert any(value != "NaN" for value in values)
    assert case.panel["type"] != "stat" or len(found) == 1
    for label in _labels(case.target["legendFormat"]):
        assert all(label in one["metric"] for one in found), f"the legend names {label}"
    names = [tuple(sorted(one["metric"].items())) for one in found]
    assert len(set(names)) == len(names)


def _labels(legend: str) -> list[str]:
    return [part.split("}}")[0].strip() for part in legend.split("{{")[1:]]

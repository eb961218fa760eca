"""How fresh the numbers are: from an SDK's call until the gauge, the ClickHouse view and the console's page show it.

    python -m tests.bench.bench_freshness [--seconds 60] [--rate 2000]

Starts a broker, collector, worker and sinks with their default settings, sends live traffic of the demo's apps beside them, and
tracks one new person after another in an app of its own, so that each call is one more user of today. Gauge and view are asked
five times a second, the page's text has an observer (in a real Chromium); a Prometheus adds its own scrape interval. What the
pipeline says of itself (its histograms of all traffic) is printed beside it. Visits unfold over minutes, so a short run has
fewer events than the rate: the rate that is printed is what came.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec
import psutil
import segment.analytics as analytics

from deploy.simulator.main import simulate
from deploy.simulator.options import Options
from ingest.contract.settings import Settings
from ingest.contract.zones import Zone, date_of_day
from sinks.clickhouse.reader import connect
from tests.sinks.chromium import Chromium, program
from tests.whole.pipeline import DEMO, Pipeline, Stage

APP = "probe"
PLAN = f'\n[[apps]]\nid = "{APP}"\nname = "Probe"\nwrite_keys = ["probe-bench-key"]\nlaunch_events = ["probe"]\n'
_LOOK_S = 0.2
_WAIT_S = 60.0
_OBSERVER = """(() => {
  const tile = document.querySelector('[data-number=active_day]');
  window.seen = [[Date.now(), tile.textContent]];
  new MutationObserver(() => window.seen.push([Date.now(), tile.textContent]))
    .observe(tile, { childList: true, characterData: true, subtree: true });
})()"""


class Watch:
    """Asks again and again for a number that only rises, and notes when each value was first there."""

    def __init__(self, name: str, ask: Callable[[], int]) -> None:
        self.name = name
        self.seen: list[tuple[float, int]] = []
        self._ask = ask
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            value = self._ask()
            if not self.seen or value > self.seen[-1][1]:
                self.seen.append((time.time(), value))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)


class Page:
    """The console in a browser; its observer notes when the tile's text changed."""

    name = "console page"

    def __init__(self, browser: Chromium, address: str) -> None:
        self._browser = browser
        browser.screen(1280)
        browser.open(address)
        browser.wait("document.body.dataset.ready", 60)
        browser.value(_OBSERVER)

    @property
    def seen(self) -> list[tuple[float, int]]:
        found = self._browser.value("window.seen")
        return [(at / 1000, int(text)) for at, text in found if text.strip().isdigit()]


def fetch(url: str) -> str:
    """A body."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        text: str = answer.read().decode()
    return text


def waits(calls: list[float], seen: list[tuple[float, int]]) -> list[float]:
    """Seconds from each call until a value was there that counts it."""
    found = []
    for number, called in enumerate(calls, 1):
        at = next((at for at, value in seen if value >= number), None)
        if at is None:
            raise SystemExit(f"call {number} of {len(calls)} never showed: {seen[-1:]}")
        found.append(at - called)
    return found


def row(name: str, seconds: list[float]) -> str:
    """A line of the report."""
    cuts = statistics.quantiles(seconds, n=100)
    return f"{name:<34}{cuts[49]:8.2f} s{cuts[94]:8.2f} s{max(seconds):8.2f} s"


def quantile(exposition: str, histogram: str, share: float) -> float:
    """As Prometheus' histogram_quantile, of all that was ever observed."""
    name, _, label = histogram.rstrip("}").partition("{")
    found = re.findall(rf"^{name}_bucket\{{(.*)\}} (\S+)$", exposition, re.M)
    buckets = [(float(re.findall(r'le="([^"]+)"', labels)[0]), float(count)) for labels, count in found if label in labels]
    rank, low, below = share * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= rank and bound != float("inf"):
            return low + (bound - low) * (rank - below) / max(count - below, 1e-9)
        low, below = bound, count
    return low


def track(calls: int, seconds: float, url: str) -> list[float]:
    """That many calls of Segment's SDK over the time, at random moments; returns when each was made."""
    client = analytics.Client("probe-bench-key", host=url, sync_mode=True)
    made = []
    for number in range(1, calls + 1):
        time.sleep(seconds / calls * (0.5 + random.random()))
        made.append(time.time())
        client.track(f"probe-{number}", "probe")
    return made


def background(settings: Settings, rate: int) -> None:
    """Live traffic of the demo's apps at an even rate, in requests of up to 100 events, until it is stopped."""
    settings = msgspec.structs.replace(settings, apps=[app for app in settings.apps if app.id != APP])
    simulate(settings, Options(live=True, rate=rate, floor=1, batch=100, persons=20_000))


def run(folder: Path, seconds: float, rate: int) -> None:
    """The whole measurement."""
    pipeline = Pipeline(folder, "", DEMO.read_text().replace('data_dir = "var"', "") + PLAN, quick=False)
    chromium = program()
    browser = Chromium(chromium, folder) if chromium else None
    traffic: BaseProcess | None = None
    try:
        for stage in [pipeline.collector(), pipeline.worker(), pipeline.sinks()]:
            stage.wait_ready()
        settings = pipeline.settings
        sinks, console = (f"http://127.0.0.1:{port}" for port in (settings.sinks.port, settings.sinks.console_port))
        traffic = multiprocessing.get_context("spawn").Process(target=background, args=(settings, rate), daemon=True)
        traffic.start()
        client = connect(settings)
        zone = Zone(settings.zone_name(APP))
        today = date_of_day(zone.day(int(time.time() * 1000))).isoformat()
        sample = re.compile(rf'^footfall_active_users{{app="{APP}",facet="",window="day"}} (\S+)$', re.M)
        sql = f"SELECT dau FROM footfall.dau WHERE app = '{APP}' AND facet = '' AND day = '{today}'"

        def gauge() -> int:
            found = sample.search(fetch(sinks + "/metrics"))
            return int(float(found[1])) if found else 0

        def view() -> int:
            rows = client.query(sql).result_rows
            return int(rows[0][0]) if rows else 0

        page = Page(browser, f"{console}/?app={APP}") if browser else None
        time.sleep(10)
        before = json.loads(fetch(console + "/api/v1/pipeline"))
        busy = {stage.name: _cpu_s(stage) for stage in pipeline.stages}
        started = time.monotonic()
        watches = [Watch("gauge (/metrics)", gauge), Watch("ClickHouse view", view)]
        calls = track(max(20, int(seconds / 1.3)), seconds, f"http://127.0.0.1:{settings.collector.port}")
        deadline = time.monotonic() + _WAIT_S
        looked_at: list[Watch | Page] = [*watches, *([page] if page else [])]
        while time.monotonic() < deadline and any(not one.seen or one.seen[-1][1] < len(calls) for one in looked_at):
            time.sleep(0.5)
        for watch in watches:
            watch.stop()
        after = json.loads(fetch(console + "/api/v1/pipeline"))
        stored = sum(after["events"].values()) - sum(before["events"].values())
        print(f"{len(calls)} calls beside {stored / (time.monotonic() - started):,.0f} events/s")
        took = time.monotonic() - started
        shares = {stage.name: (_cpu_s(stage) - busy[stage.name]) / took for stage in pipeline.stages}
        print("busy: " + ", ".join(f"{name} {share:.0%} of a core" for name, share in shares.items()), end="; ")
        print(f"machine's load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print(f"{'from the SDK call to':<34}{'p50':>10}{'p95':>10}{'most':>10}")
        for one in looked_at:
            print(row(one.name, waits(calls, one.seen)))
        if page is None:
            print("console page: no Chromium here")
        said = fetch(sinks + "/metrics")
        worker = fetch(f"http://127.0.0.1:{_port(pipeline)}/metrics")
        collector = fetch(f"http://127.0.0.1:{settings.collector.metrics_port}/metrics")
        print("as the pipeline itself has it, of all traffic since its start")
        for text, histogram in (
            (said, "footfall_gauge_freshness_seconds"),
            (said, 'footfall_row_freshness_seconds{table="metrics"}'),
            (said, 'footfall_row_freshness_seconds{table="events"}'),
            (collector, "footfall_collector_ack_seconds"),
            (worker, "footfall_worker_checkpoint_seconds"),
        ):
            print(f"{histogram:<48}{quantile(text, histogram, 0.5):6.2f} s{quantile(text, histogram, 0.95):8.2f} s")
        client.close()
    finally:
        if traffic is not None:
            traffic.terminate()
            traffic.join(30)
        if browser is not None:
            browser.close()
        pipeline.close()


def _cpu_s(stage: Stage) -> float:
    times = psutil.Process(stage.process.pid).cpu_times()
    return float(times.user + times.system)


def _port(pipeline: Pipeline) -> int:
    return next(stage.health_port for stage in pipeline.stages if stage.name == "worker")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=int, default=2000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), arguments.seconds, arguments.rate)


if __name__ == "__main__":
    main()

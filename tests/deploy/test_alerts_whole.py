"""From traffic to a pager: the real pipeline, Prometheus and Alertmanager with the examples' own files, their clocks sped up."""

from __future__ import annotations

import json
import math
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ingest.contract.settings import Settings, read_settings
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import open_store
from tests.ports import free_port
from tests.whole.pipeline import Pipeline, pipeline_in

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "prometheus"
PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager")
MISSING = [program for program in PROGRAMS if shutil.which(program) is None]
pytestmark = [
    pytest.mark.broker,
    pytest.mark.clickhouse,
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} not here (Debian: apt-get install prometheus prometheus-alertmanager)"),
]

#: Two minutes become a second. What is longer than three hours looks back into the history, and stays.
SPEED = 120
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
#: Events a second that past weeks had.
USUAL = 8


def faster(text: str) -> str:
    """Rules with short windows; counts over a window are over the short one."""

    def shorter(match: re.Match[str]) -> str:
        seconds = int(match[2]) * UNITS[match[3]]
        return match[1] + (f"{math.ceil(seconds / SPEED)}s" if seconds <= 10_800 else match[2] + match[3])

    text = re.sub(r"(\[|offset |for: |interval: )(\d+)([smhdw])(?![\d])", shorter, text)
    return re.sub(r"\b(900|3600)\b", lambda match: str(math.ceil(int(match[1]) / SPEED)), text)


class Pager(ThreadingHTTPServer):
    """What a webhook was told: (path, alert), each with its own status."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Webhook)
        self.told: list[tuple[str, dict[str, Any]]] = []

    def last(self, alert: str, **labels: str) -> str:
        """The last status that was told of such an alert, "" if there was none."""
        wanted = {"alertname": alert, **labels}.items()
        return next((one["status"] for _, one in reversed(self.told) if wanted <= one["labels"].items()), "")


class _Webhook(BaseHTTPRequestHandler):
    server: Pager

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told += [(self.path, alert) for alert in body["alerts"]]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def program(folder: Path, *command: str) -> Iterator[None]:
    """A program in that folder until the end of the block; its log is `<name>.log` there."""
    with (folder / f"{command[0]}.log").open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def traffic(pipeline: Pipeline) -> Iterator[None]:
    """Live traffic of the simulator during the block."""
    process = pipeline.begin("simulate", "--live", "--rate", "120", "--persons", "300")
    try:
        yield
    finally:
        died = process.poll()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[0]
        assert died is None, said


@contextmanager
def trickle(url: str) -> Iterator[None]:
    """Events of another app throughout: where no app at all sends anything, that is what is told, and nothing of single apps."""
    over = threading.Event()
    headers = {"Authorization": "Bearer demo-pioneer-key", "Content-Type": "application/json"}

    def send() -> None:
        while not over.wait(0.5):
            body = b'[{"event": "login", "user_id": "1"}, {"event": "view_accounts", "user_id": "1"}]'
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10):
                pass

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Prometheus:
    """Its questions."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, query: str) -> dict[str, float]:
        """Values by app ("" without that label); empty while it does not answer."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            return {}
        return {one["metric"].get("app", ""): float(one["value"][1]) for one in result}


def until(holds: Callable[[], bool], seconds: float, what: Callable[[], object]) -> None:
    """Waits; fails with what it saw instead."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)


def put_history(settings: Settings) -> None:
    """The same two hours of one, two and three weeks ago, straight into ClickHouse, which nobody else has open yet."""
    now = time.time_ns() // 1_000_000
    store = open_store(settings)
    client = store.client()
    migrate(client, settings)
    for week in (1, 2, 3):
        start = now - week * 7 * 86_400_000 - 3_600_000
        client.command(
            "INSERT INTO events (id, app, person, event, time, received) "
            f"SELECT concat('h{week}-', toString(number)), 'harbor', concat('u:', toString(number % 500)), "
            f"if(number % 4 = 0, 'login', 'view_accounts'), {start} + intDiv(number * 1000, {USUAL}) AS at, at "
            f"FROM numbers({USUAL * 7200})"
        )
    client.close()
    store.close()


def configured(folder: Path, settings: Settings, alertmanager: int, pager: int) -> None:
    """The examples' files with this test's ports and a quick clock."""
    for rules in CONFIGURATION.glob("*.rules.yml"):
        (folder / rules.name).write_text(faster(rules.read_text()))
    text = (CONFIGURATION / "prometheus.yml").read_text()
    worker = read_settings((folder / "worker1.toml").read_text(), {}).worker.port
    ports = {8093: settings.collector.metrics_port, 8092: worker, 8091: settings.sinks.port, 9093: alertmanager}
    for port, ours in ports.items():
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{ours}")
    (folder / "prometheus.yml").write_text(re.sub(r"_interval: 15s", "_interval: 1s", text))
    text = (CONFIGURATION / "alertmanager.yml").read_text().replace("127.0.0.1:9095", f"127.0.0.1:{pager}")
    text = text.replace("group_wait: 30s", "group_wait: 1s").replace("group_interval: 5m", "group_interval: 1s")
    (folder / "alertmanager.yml").write_text(text)


def test_a_drop_of_traffic_pages_somebody_on_the_first_day_and_resolves(tmp_path: Path) -> None:
    with pipeline_in(tmp_path) as pipeline, Pager() as pager, ExitStack() as running, ExitStack() as usual:
        threading.Thread(target=pager.serve_forever, daemon=True).start()
        running.callback(pager.shutdown)
        put_history(pipeline.settings)
        stages = [pipeline.collector(), pipeline.worker(), pipeline.sinks()]
        for stage in stages:
            stage.wait_ready()
        running.enter_context(trickle(pipeline.url("/v1/events")))
        usual.enter_context(traffic(pipeline))
        backfill = pipeline.run("backfill-baseline", "--tsdb", str(tmp_path / "tsdb"))
        assert backfill.returncode == 0, backfill.stderr
        prometheus = Prometheus(free_port())
        alertmanager = free_port(but=(prometheus.port,))
        configured(tmp_path, pipeline.settings, alertmanager, pager.server_address[1])
        for name, *options in (
            ("prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=am", "--cluster.listen-address="),
            ("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", "--storage.tsdb.retention.time=40d"),
        ):
            port = prometheus.port if name == "prometheus" else alertmanager
            running.enter_context(program(tmp_path, name, *options, f"--web.listen-address=127.0.0.1:{port}"))

        def seen() -> str:
            numbers = {name: prometheus.ask(f"app:footfall_events:{name}") for name in ("level", "expected", "baseline")}
            return f"{numbers}\n{pager.told}\n{(tmp_path / 'prometheus.log').read_text()[-2000:]}"

        well = "app:footfall_events:level > app:footfall_events:expected"
        until(lambda: "harbor" in prometheus.ask(well), 180, seen)
        assert prometheus.ask("app:footfall_events:baseline")["harbor"] == pytest.approx(USUAL, rel=0.1)
        until(lambda: not prometheus.ask('count by (app) (ALERTS{alertname="UserActivityDrop"})'), 180, seen)
        until(lambda: pager.last("UserActivityDrop", app="harbor") != "firing", 180, seen)  # a slow start may look like a drop
        usual.close()
        until(lambda: pager.last("UserActivityDrop", app="harbor") == "firing", 180, seen)
        assert ("/page", "UserActivityDrop") in {(path, one["labels"]["alertname"]) for path, one in pager.told}
        usual.enter_context(traffic(pipeline))
        # The history did not come through Kafka, so the stream has no numbers of it.
        assert pipeline.run("verify", "--wait", "0").returncode == 1
        until(lambda: pager.last("UserActivityDrop", app="harbor") == "resolved", 240, seen)
        until(lambda: pager.last("ReconciliationDifference") == "firing", 120, seen)
        assert not pager.last("PipelineDown")
        stages[2].kill()
        until(lambda: pager.last("PipelineDown", job="footfall-sinks") == "firing", 120, seen)


def test_without_events_there_is_no_history_and_that_is_said(tmp_path: Path) -> None:
    settings = tmp_path / "footfall.toml"
    settings.write_text(f'data_dir = "{tmp_path}/var"\n')
    command = [sys.executable, "-m", "deploy.cli", "--config", str(settings), "backfill-baseline"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "--tsdb" in done.stderr) == (2, True)

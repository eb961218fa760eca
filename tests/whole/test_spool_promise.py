"""The promise: whatever was answered 200 is in ClickHouse, once, and counted, though collector and broker are killed in turn."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

from sinks.clickhouse.reader import connect
from tests.whole.pipeline import Pipeline, pipeline_in

pytestmark = [pytest.mark.broker, pytest.mark.clickhouse, pytest.mark.slow]

#: Of a machine that does other things too.
PATIENCE_S = 150.0
PLAN = """
[[apps]]
id = "bank"
write_keys = ["key"]
"""


class Senders:
    """Clients that post batches of new events until stopped: most send again what was not answered 200, one never does."""

    def __init__(self, pipeline: Pipeline, count: int = 5) -> None:
        self._url = pipeline.url("/v1/events")
        self._stop = threading.Event()
        self.acked: list[str] = []
        self.failed = 0
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        rng = random.Random(number)
        while not self._stop.is_set():
            now = time.time_ns() // 1_000_000
            batch = [
                {"id": uuid.uuid4().hex, "event": "pay", "user_id": f"{number}-{rng.randrange(40)}", "time": now - index}
                for index in range(rng.choice((1, 1, 5, 20)))
            ]
            while not self._post(batch) and number and not self._stop.is_set():
                time.sleep(0.1)
            time.sleep(0.01)

    def _post(self, batch: list[dict[str, object]]) -> bool:
        request = urllib.request.Request(self._url, json.dumps(batch).encode(), {"Authorization": "Bearer key"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
        except (urllib.error.HTTPError, OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            self.failed += 1
            return False
        self.acked += [str(event["id"]) for event in batch]
        return True

    def wait_for_more(self, count: int = 300) -> None:
        """Returns when so many events more have been acknowledged."""
        goal, until = len(self.acked) + count, time.monotonic() + PATIENCE_S
        while len(self.acked) < goal:
            assert time.monotonic() < until, "nothing is acknowledged any more"
            time.sleep(0.02)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def metric(pipeline: Pipeline, name: str) -> float:
    """A metric of the collector, -1 while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{pipeline.settings.collector.metrics_port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return -1.0
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"footfall_collector_{name} "))


def wait_for(pipeline: Pipeline, name: str, least: float, most: float) -> None:
    until = time.monotonic() + PATIENCE_S
    while not least <= (found := metric(pipeline, name)) <= most:
        assert time.monotonic() < until, f"{name} is {found}\n{pipeline.stages[-1].said()}"
        time.sleep(0.05)


def test_every_acknowledged_event_is_there_once_whoever_was_killed(tmp_path: Path) -> None:
    with pipeline_in(tmp_path, plan=PLAN) as pipeline:
        starts = (pipeline.sinks, pipeline.worker)
        stages = [start() for start in starts]
        collector = pipeline.collector()
        for stage in (*stages, collector):
            stage.wait_ready(PATIENCE_S)
        wait_for(pipeline, "kafka_up", 1, 1)
        senders = Senders(pipeline)
        senders.wait_for_more()

        collector.kill()  # with frames on their way to Kafka
        collector = pipeline.collector().wait_ready(PATIENCE_S)
        senders.wait_for_more()

        pipeline.broker.kill()
        wait_for(pipeline, "kafka_up", 0, 0)
        senders.wait_for_more()
        assert metric(pipeline, "spool_frames") > 0

        collector.kill()  # in the middle of writing its spool
        collector = pipeline.collector().wait_ready(PATIENCE_S)  # without Kafka
        senders.wait_for_more()

        pipeline.broker.start()
        wait_for(pipeline, "spooled_frames_total", 1, 1e9)
        time.sleep(random.Random(uuid.uuid4().int).random())
        collector.kill()  # while it drains, or just before or after
        collector = pipeline.collector().wait_ready(PATIENCE_S)
        senders.wait_for_more()

        pipeline.broker.kill()
        senders.wait_for_more()
        collector.kill()
        pipeline.broker.start()
        collector = pipeline.collector().wait_ready(PATIENCE_S)
        senders.wait_for_more()

        senders.stop()
        # a stage that ended because Kafka was away too long for it is started again, as a supervisor does
        stages = [stage if stage.process.poll() is None else start() for stage, start in zip(stages, starts, strict=True)]
        for stage in stages:
            stage.wait_ready(PATIENCE_S)
        wait_for(pipeline, "spool_frames", 0, 0)
        wait_for(pipeline, "kafka_up", 1, 1)
        collector.stop()
        report = pipeline.run("verify", "--wait", "120")
        assert report.returncode == 0, report.stdout + report.stderr + "".join(stage.said()[-800:] for stage in stages)
        with connect(pipeline.settings) as client:
            database = pipeline.settings.clickhouse.database
            rows = client.query(f"SELECT id, count() FROM {database}.events FINAL GROUP BY id").result_rows
        stored = dict(rows)
        assert set(senders.acked) - set(stored) == set()
        assert {identity for identity, count in stored.items() if count != 1} == set()
        assert len(set(senders.acked)) == len(senders.acked) > 2000
        assert senders.failed > 0
        for stage in reversed(stages):
            stage.stop()

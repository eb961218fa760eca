"""SDK to number, with everything real: what the simulator sent over HTTP, what the stream counted, and what SQL over the raw
events counts must be the same, whoever is killed meanwhile."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from pathlib import Path

import pytest

from sinks.clickhouse.reader import connect
from tests.whole.pipeline import Pipeline, Stage, pipeline_in

#: Past days over HTTP are received now: horizons that take them in for every number.
LONG_HORIZONS = "\n[horizons]\nlate_days = 46\nlate_hours = 1056\n"

pytestmark = [pytest.mark.broker, pytest.mark.clickhouse, pytest.mark.slow]


def raw_rows(pipeline: Pipeline) -> tuple[int, int]:
    """(rows, distinct events) of the raw table as it lies there, before ClickHouse has removed what was sent twice."""
    client = connect(pipeline.settings)
    try:
        rows, distinct = client.query(
            f"SELECT count(), uniqExact(kafka_partition, id, time) FROM {pipeline.settings.clickhouse.database}.events FINAL"
        ).result_rows[0]
        return int(rows), int(distinct)
    finally:
        client.close()


def test_forty_days_of_three_apps_over_http_come_to_the_same_numbers_three_ways(tmp_path: Path) -> None:
    with pipeline_in(tmp_path, LONG_HORIZONS) as pipeline:
        stages = [pipeline.collector(), pipeline.worker(), pipeline.sinks()]
        for stage in stages:
            stage.wait_ready()
        truth = tmp_path / "truth.jsonl"
        sent = pipeline.run("simulate", "--days", "40", "--persons", "5000", "--events", "200000", "--truth", str(truth))
        assert sent.returncode == 0, sent.stdout + sent.stderr + stages[0].said()
        pipeline.assert_exact(truth, 60_000)
        fresh = _freshness(pipeline)
        assert min(fresh.values()) > 0, fresh
        # a bad line among good ones: the good count, the bad one is kept with its reason
        key = pipeline.settings.apps[0].write_keys[0]
        good = {"event": "login", "user_id": "a-new-person", "id": "good-1"}
        request = urllib.request.Request(
            pipeline.url("/v1/events"),
            json.dumps([good, {"event": 7}, {**good, "id": "good-2"}]).encode(),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
            assert json.load(answer)["accepted"] == 2
        pipeline.run("verify", "--wait", "300")
        client = connect(pipeline.settings)
        database = pipeline.settings.clickhouse.database
        try:
            rejected = client.query(f"SELECT reason, detail FROM {database}.rejected").result_rows
            known = client.query(f"SELECT count() FROM {database}.events WHERE person = 'u:a-new-person'").result_rows
        finally:
            client.close()
        assert len(rejected) == 1
        assert "event" in rejected[0][1]
        assert known == [(2,)]
        for stage in reversed(stages):
            stage.stop()


def test_kills_a_rebalance_a_dead_broker_and_a_frozen_worker_change_no_number(tmp_path: Path) -> None:
    # Without a spool: forty days go by in a minute, so what waits for seconds would come days after its windows had closed.
    with pipeline_in(tmp_path, LONG_HORIZONS, spools=False) as pipeline:
        collector, sinks, worker = pipeline.collector(), pipeline.sinks(), pipeline.worker()
        for stage in (collector, sinks, worker):
            stage.wait_ready()
        truth = tmp_path / "truth.jsonl"
        traffic = pipeline.begin(
            "simulate", "--days", "40", "--persons", "5000", "--events", "120000", "--rate", "2200", "--truth", str(truth)
        )

        for _ in range(3):
            time.sleep(3)
            worker.kill()
            sinks.kill()
            worker, sinks = pipeline.worker(), pipeline.sinks()
            time.sleep(1)

        second = pipeline.worker().wait_ready()
        time.sleep(4)
        second.stop()

        pipeline.broker.kill()
        time.sleep(3)
        pipeline.broker.start()
        _still_runs(worker, sinks, collector)

        worker.wait_ready()
        _wait_until_it_owns_all(worker)  # one that is frozen in the middle of taking over takes from the heir when it goes on
        worker.send(signal.SIGSTOP)
        heir = pipeline.worker().wait_ready()
        _wait_until_it_owns_all(heir)
        time.sleep(2)
        worker.send(signal.SIGCONT)

        said, _ = traffic.communicate(timeout=240)
        assert traffic.returncode == 0, said + collector.said()
        # it tried to write and was fenced, or it heard of its loss first and has joined again: either way it wrote nothing
        if worker.process.poll() is not None:
            assert worker.process.returncode == 70, worker.said()
            assert "taken over" in worker.said()
        pipeline.assert_exact(truth, 50_000)
        rows, distinct = raw_rows(pipeline)
        assert rows == distinct
        for stage in (collector, heir, sinks):
            stage.stop()


def _freshness(pipeline: Pipeline) -> dict[str, float]:
    """How often it was measured how long an event takes until it shows: in gauges, in raw events, in views."""
    with urllib.request.urlopen(f"http://127.0.0.1:{pipeline.settings.sinks.port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    counts = [line.rsplit(" ", 1) for line in lines if "_freshness_seconds_count" in line]
    assert len(counts) == 3, counts
    return {name: float(count) for name, count in counts}


def _still_runs(*stages: Stage) -> None:
    for stage in stages:
        assert stage.process.poll() is None, f"{stage.name} did not go on by itself:\n{stage.said()}"


def _wait_until_it_owns_all(worker: Stage, wait_s: float = 240.0) -> None:
    until = time.monotonic() + wait_s
    while not worker.log.read_text(errors="replace").rpartition("owns partitions ")[2].startswith("[0, 1, 2, 3]"):
        assert time.monotonic() < until, worker.said()
        time.sleep(0.2)

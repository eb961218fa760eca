"""A Kafka of three brokers of which any one is killed: what was answered 200 is there once and counted, all goes on by itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deploy.kafka.topics import check_topics
from ingest.contract.errors import LayoutError
from ingest.contract.settings import Settings
from sinks.clickhouse.reader import connect
from tests.whole.cluster import Cluster
from tests.whole.pipeline import pipeline_in
from tests.whole.test_spool_promise import PATIENCE_S, PLAN, Senders, metric, wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.clickhouse,
    pytest.mark.slow,
    # kafka-python leaves sockets of brokers that were killed to the garbage collector
    pytest.mark.filterwarnings(r"ignore:unclosed <socket\.socket:ResourceWarning"),
]


def warnings_of_topics(settings: Settings, wait_s: float = 60.0) -> list[str]:
    """What `check_topics` warns of, once all brokers have heard of the topics that one of them has just made."""
    until = time.monotonic() + wait_s
    while True:
        try:
            return check_topics(settings)
        except LayoutError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def test_whichever_broker_of_three_is_killed_all_goes_on_and_without_two_of_them_it_waits(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "cluster")
    with pipeline_in(tmp_path, plan=PLAN, cluster=cluster) as pipeline:
        assert warnings_of_topics(pipeline.settings) == []
        stages = [pipeline.sinks(), pipeline.worker(), pipeline.collector()]
        for stage in stages:
            stage.wait_ready(PATIENCE_S)
        wait_for(pipeline, "kafka_up", 1, 1)
        senders = Senders(pipeline, 3)
        senders.wait_for_more()

        first = cluster.controller()
        first.kill()
        senders.wait_for_more()
        cluster.wait_for(2)
        senders.wait_for_more()
        wait_for(pipeline, "kafka_up", 1, 1)  # two of three are a Kafka
        first.start()
        cluster.wait_in_sync()

        second = next(node for node in cluster.nodes if node not in (first, cluster.controller()))
        second.kill()
        second.start()  # at once: before anybody has counted it as gone
        senders.wait_for_more()
        cluster.wait_in_sync()

        third = cluster.controller()
        third.kill()
        cluster.wait_for(2)
        fourth = cluster.controller()
        fourth.kill()
        wait_for(pipeline, "kafka_up", 0, 0)  # one of three is none: nothing is acknowledged by it alone
        senders.wait_for_more()
        assert metric(pipeline, "spool_frames") > 0
        third.start()
        cluster.wait_for(2)
        senders.wait_for_more()

        senders.stop()
        wait_for(pipeline, "spool_frames", 0, 0)
        report = pipeline.run("verify", "--wait", "120")  # by two brokers
        for stage in stages:
            assert stage.process.poll() is None, f"{stage.name} did not go on by itself:\n{stage.said()}"
        assert report.returncode == 0, report.stdout + report.stderr + "".join(stage.said()[-800:] for stage in stages)
        with connect(pipeline.settings) as client:
            database = pipeline.settings.clickhouse.database
            stored = dict(client.query(f"SELECT id, count() FROM {database}.events FINAL GROUP BY id").result_rows)
        assert set(senders.acked) - set(stored) == set()
        assert {identity for identity, count in stored.items() if count != 1} == set()
        assert len(set(senders.acked)) == len(senders.acked) > 1500
        for stage in reversed(stages):
            stage.stop()

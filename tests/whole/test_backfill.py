"""Past days straight into Kafka, logins among them, while two workers share the partitions: the numbers are those of the
true persons, though one worker's partitions would run days ahead of the other's if they were let."""

from __future__ import annotations

from pathlib import Path

import pytest

from sinks.clickhouse.reader import connect
from tests.whole.pipeline import pipeline_in

pytestmark = [pytest.mark.broker, pytest.mark.clickhouse, pytest.mark.slow]


def test_logins_in_days_that_two_workers_catch_up_over_give_the_true_persons_numbers(tmp_path: Path) -> None:
    with pipeline_in(tmp_path) as pipeline:
        sinks = pipeline.sinks().wait_ready()
        truth = tmp_path / "truth.jsonl"
        arguments = ("simulate", "--via", "kafka", "--days", "10", "--persons", "3000", "--events", "20000")
        sent = pipeline.run(*arguments, "--truth", str(truth))
        assert sent.returncode == 0, sent.stdout + sent.stderr
        workers = [pipeline.worker(), pipeline.worker()]  # all of it lies there: they read as fast as they can
        for worker in workers:
            worker.wait_ready()
        report = pipeline.assert_exact(truth, 10_000)
        assert "had closed before a login" not in report, report
        client = connect(pipeline.settings)
        try:
            merges = client.query(f"SELECT count() FROM {pipeline.settings.clickhouse.database}.person_merges FINAL").result_rows
        finally:
            client.close()
        assert merges[0][0] > 300
        for stage in (*workers, sinks):
            stage.stop()

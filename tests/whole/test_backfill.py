"""Past days straight into Kafka, while two workers share the partitions and one of them is killed half-way. On many days persons
come under an anonymous id, and log in hours later: the numbers are those of the true persons, though one worker's partitions
would run days ahead of the other's if they were let."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

import pytest

from sinks.clickhouse.reader import connect
from tests.whole.pipeline import Stage, pipeline_in

pytestmark = [pytest.mark.broker, pytest.mark.clickhouse, pytest.mark.slow]

DAY_S = 86_400
#: Of a machine that does other things too.
PATIENCE_S = 900.0


@pytest.mark.parametrize(
    ("days", "persons", "merges", "numbers"),
    [(10, 600, 300, 10_000), pytest.param(40, 1000, 2000, 40_000, marks=[pytest.mark.soak, pytest.mark.timeout(3000)])],
)
def test_logins_in_days_that_two_workers_catch_up_over_give_the_true_persons_numbers(
    tmp_path: Path, days: int, persons: int, merges: int, numbers: int
) -> None:
    with pipeline_in(tmp_path) as pipeline:
        sinks = pipeline.sinks().wait_ready()
        truth = tmp_path / "truth.jsonl"
        arguments = ("simulate", "--via", "kafka", "--days", str(days), "--persons", str(persons), "--strangers", "0.2")
        sent = pipeline.run(*arguments, "--truth", str(truth))
        assert sent.returncode == 0, sent.stdout + sent.stderr
        workers = [pipeline.worker(), pipeline.worker()]  # all of it lies there: they read as fast as they can
        _wait_until_read(workers[0], time.time() - days / 2 * DAY_S)
        workers[0].kill()
        workers[0] = pipeline.worker()
        for worker in workers:
            worker.wait_ready()
        report = pipeline.assert_exact(truth, numbers, PATIENCE_S)
        assert "had closed before a login" not in report, report
        client = connect(pipeline.settings)
        try:
            found = client.query(f"SELECT count() FROM {pipeline.settings.clickhouse.database}.person_merges FINAL").result_rows
        finally:
            client.close()
        assert found[0][0] > merges
        for stage in (*workers, sinks):
            stage.stop()


def _wait_until_read(worker: Stage, received: float, wait_s: float = PATIENCE_S) -> None:
    """Until a worker has counted events that were received at an instant (s)."""
    until = time.monotonic() + wait_s
    newest = 0.0
    while newest < received:
        assert time.monotonic() < until, f"at {newest}, not yet at {received}:\n{worker.said()}"
        time.sleep(0.1)
        newest = _newest_receipt(worker)


def _newest_receipt(worker: Stage) -> float:
    """Of the events that a worker has counted (s); 0 before it has any."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{worker.health_port}/metrics", timeout=2) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0.0
    name = "footfall_worker_newest_receipt_timestamp_seconds{"
    return max((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)), default=0.0)

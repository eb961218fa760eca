"""`footfall forget` with everything real: nothing is left, all numbers are right, also those of windows long closed."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sinks.clickhouse.reader import connect
from sinks.forget.receipt import Receipt, subject_of
from tests.whole.pipeline import DEMO, Pipeline, pipeline_in

pytestmark = [pytest.mark.broker, pytest.mark.clickhouse, pytest.mark.slow]

#: Hours, launches and usage of most of the days are closed when the traffic has come.
PLAN = DEMO.read_text().replace('data_dir = "var"', "") + "\n[horizons]\nlate_days = 2\nlate_hours = 24\n"


def rows(pipeline: Pipeline, sql: str) -> list[tuple[Any, ...]]:
    client = connect(pipeline.settings)
    try:
        return [tuple(row) for row in client.query(sql.replace("@", pipeline.settings.clickhouse.database + ".")).result_rows]
    finally:
        client.close()


def post(pipeline: Pipeline, *events: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {pipeline.settings.apps[0].write_keys[0]}"}
    request = urllib.request.Request(pipeline.url("/v1/events"), json.dumps(list(events)).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def forget(pipeline: Pipeline, user: str) -> Receipt:
    path = pipeline.folder / "receipt.json"
    done = pipeline.run("forget", user, "--yes", "--receipt", str(path))
    assert done.returncode == 0, done.stdout + done.stderr + "".join(stage.said()[-1500:] for stage in pipeline.stages)
    text = path.read_text()
    assert user not in text + done.stdout + done.stderr
    return msgspec.json.decode(text, type=Receipt)


def left(pipeline: Pipeline, ids: list[str]) -> list[int]:
    listed = ", ".join(f"'{one}'" for one in ids)
    return [
        rows(pipeline, f"SELECT count() FROM @events WHERE person IN ({listed})")[0][0],
        rows(pipeline, f"SELECT count() FROM @person_merges WHERE person IN ({listed}) OR target IN ({listed})")[0][0],
        rows(pipeline, f"SELECT count() FROM @rejected WHERE position(payload, '\"{ids[-1][2:]}\"') > 0")[0][0],
    ]


def test_a_person_is_forgotten_everywhere_and_the_numbers_stay_right(tmp_path: Path) -> None:
    with pipeline_in(tmp_path, plan=PLAN) as pipeline:
        collector, worker, sinks = pipeline.collector(), pipeline.worker(), pipeline.sinks()
        for stage in (collector, worker, sinks):
            stage.wait_ready()
        sent = pipeline.run("simulate", "--days", "40", "--persons", "120", "--events", "7000", "--via", "kafka")
        assert sent.returncode == 0, sent.stdout + sent.stderr
        pipeline.run("verify", "--wait", "60")  # waits until all of it is counted
        # somebody with many events, and two devices
        ((person,),) = rows(
            pipeline, "SELECT person FROM @events WHERE person LIKE 'u:%' GROUP BY person ORDER BY count() DESC LIMIT 1"
        )
        user, devices = person[2:], ["a-phone-of-old", "tablet"]
        for one in devices:
            post(pipeline, {"event": "app_launch", "anonymous_id": one})
            post(pipeline, {"event": "login", "type": "identify", "anonymous_id": one, "user_id": user})
        post(pipeline, {"event": "view_accounts", "anonymous_id": "tablet"}, {"event": 7, "user_id": user})
        ids = [*(f"a:{one}" for one in devices), person]

        receipt = forget(pipeline, user)
        assert receipt.subject == subject_of(receipt.salt, person)
        assert receipt.ids == receipt.records == len(ids)
        assert receipt.rows["events"].before > 10
        assert receipt.rows["rejected"].before == 1
        assert receipt.corrected > 0
        assert receipt.numbers > receipt.corrected
        assert receipt.different == 0
        assert left(pipeline, ids) == [0, 0, 0]

        # sinks and worker that start anew, and read some of it again, bring nothing back
        sinks.kill()
        worker.kill()
        sinks, worker = pipeline.sinks().wait_ready(), pipeline.worker().wait_ready()
        # comes again: a new person
        post(pipeline, {"event": "login", "user_id": user, "id": "anew", "time": time.time_ns() // 1_000_000})
        verified = pipeline.run("verify", "--wait", "60")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert left(pipeline, ids) == [1, 0, 0]

        again = forget(pipeline, user)
        assert again.corrected == 0
        assert left(pipeline, ids) == [0, 0, 0]

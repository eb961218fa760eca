"""`footfall forget` with everything real: nothing is left, all numbers are right, also those of windows long closed."""

from __future__ import annotations

import json
import random
import time
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaProducer

from ingest.contract.partition import partition_of
from ingest.contract.topics import topic_names
from sinks.clickhouse.reader import connect
from sinks.forget.receipt import Receipt, subject_of
from tests.whole.pipeline import Pipeline, pipeline_in

pytestmark = [pytest.mark.broker, pytest.mark.clickhouse, pytest.mark.slow]

DAY_MS = 86_400_000
#: Hours, launches and usage of most of the days are closed when the traffic has come.
PLAN = """
[project]
time_zone = "Asia/Shanghai"
[horizons]
late_days = 2
late_hours = 24
[[apps]]
id = "one"
write_keys = ["key-one"]
launch_events = ["open"]
[[apps]]
id = "two"
write_keys = ["key-two"]
[[activities]]
id = "paying"
events = ["pay"]
[[groups]]
id = "both"
apps = ["one", "two"]
[[funnels]]
id = "buy"
app = "one"
steps = [{ event = "open" }, { event = "pay" }]
"""
USER = "customer-4711"


def past(pipeline: Pipeline, days: int, persons: int) -> None:
    """Traffic of many days, received when it happened: straight into Kafka, as a server's emitter would have it there."""
    names, partitions = topic_names(pipeline.settings), pipeline.settings.kafka.partitions
    rng = random.Random(11)
    today = time.time_ns() // 1_000_000 // DAY_MS
    producer = KafkaProducer(bootstrap_servers=pipeline.settings.kafka.servers(), acks="all")
    for day in range(today - days, today):
        for person in [f"u:{USER}", *(f"u:{number}" for number in rng.sample(range(persons), persons // 2))]:
            for number in range(rng.randrange(1, 4)):
                at = day * DAY_MS + rng.randrange(DAY_MS)
                event = {"id": f"{person}-{at}-{number}", "app": rng.choice(["one", "two"]), "person": person}
                event |= {"event": rng.choice(["open", "pay", "view"])}
                line = json.dumps({**event, "time": at, "received": at}).encode()
                producer.send(names.events, line, key=person.encode(), partition=partition_of(person, partitions))
    producer.flush()
    producer.close()


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
        past(pipeline, days=36, persons=30)
        user, devices, person = USER, ["a-phone-of-old", "tablet"], f"u:{USER}"
        for one in devices:
            post(pipeline, {"event": "open", "anonymous_id": one})
            post(pipeline, {"event": "login", "type": "identify", "anonymous_id": one, "user_id": user})
        post(pipeline, {"event": "pay", "anonymous_id": "tablet"}, {"event": 7, "user_id": user})
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

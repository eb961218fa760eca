"""What the worker rejects lies among the raw events all the same: `verify` takes it for no difference. In the real engine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from deploy.simulator import truth
from ingest.contract.partition import partition_of
from ingest.contract.topics import topic_names
from sinks.verify.main import verify_tables
from sinks.verify.rejections import KEPT_MS
from streams.contract.history import MAX_AHEAD_MS
from streams.contract.total import TotalKey, decode_total
from streams.partition import Partition
from streams.rules import Rules
from tests.sinks.verify_events import DAY
from tests.sinks.verify_rig import MIDNIGHT, PLAIN, SETTINGS, activity, engine, insert, put_all, put_totals, total

pytestmark = pytest.mark.clickhouse

NOW = MIDNIGHT + 2 * DAY
TOPIC = topic_names(PLAIN).events


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with engine(tmp_path_factory.mktemp("rejected")) as one:
        insert(one, [])
        yield one


def test_what_came_of_an_app_before_it_was_in_the_plan_is_left_out(client: Any) -> None:
    row = activity(MIDNIGHT)
    elsewhere = msgspec.structs.replace(PLAIN, apps=[app for app in SETTINGS.apps if app.id == "chile"])
    worker = Partition(Rules(elsewhere), TOPIC, 0, 1, {}, 10)
    worker.apply_frame(msgspec.json.encode(row), 0, MIDNIGHT)
    insert(client, [row])
    rejected = json.loads(worker.take(NOW).rejected[0]) | {"at": time.time_ns() // 1_000_000}
    assert rejected["reason"] == "unknown_app"
    assert verify_tables(client, PLAIN, None, "", NOW).different
    client.raw_insert("rejected", None, json.dumps(rejected).encode(), fmt="JSONEachRow")
    assert not verify_tables(client, PLAIN, None, "", NOW).different
    for table in ("events", "rejected"):
        client.command(f"TRUNCATE TABLE {table}")


def test_what_the_worker_rejects_is_left_out_and_what_it_counted_is_not(client: Any) -> None:
    plan = msgspec.structs.replace(PLAIN, kafka=msgspec.structs.replace(PLAIN.kafka, partitions=2))
    here = next(f"u:{one}" for one in range(50) if partition_of(f"u:{one}", 2) == 0)
    there = next(f"u:{one}" for one in range(50) if partition_of(f"u:{one}", 2) == 1)
    good = activity(MIDNIGHT, person=here)
    lost = activity(MIDNIGHT, person=there)
    ahead = activity(MIDNIGHT + DAY, person=here, id="it's \\ahead\n", props={"id": "漢字"})
    worker = Partition(Rules(plan), TOPIC, 0, 2, {}, 10)
    for offset, (row, appended) in enumerate([(good, MIDNIGHT), (lost, MIDNIGHT), (ahead, ahead.received - MAX_AHEAD_MS - 1)]):
        worker.apply_frame(msgspec.json.encode(row), offset, appended)
        stamp = {"log_comment": f"{TOPIC}|0|7"}  # of its batch
        client.raw_insert("events", None, msgspec.json.encode(row), fmt="JSONEachRow", settings=stamp)
    taken = worker.take(NOW)
    assert [json.loads(line)["reason"] for line in taken.rejected] == ["wrong_partition", "received_in_future"]
    told = [one for _, line in taken.totals if (one := decode_total(line)).window not in ("5m", "30m")]
    put_all(client, {TotalKey(one.metric, one.app, one.facet, one.window, one.start): one.value for one in told})
    assert verify_tables(client, plan, None, "", NOW).different, "the rejections are still on their way"
    wall_clock = time.time_ns() // 1_000_000  # the table's own time to live goes by it
    rejected = "\n".join(json.dumps(json.loads(line) | {"at": wall_clock}) for line in taken.rejected).encode()
    client.raw_insert("rejected", None, rejected, fmt="JSONEachRow")
    report = verify_tables(client, plan, None, "", NOW)
    assert report.ok, str(report)

    client.command("TRUNCATE TABLE rejected")  # their time is over
    late = verify_tables(client, plan, None, "", NOW + KEPT_MS)
    assert late.different
    assert "rejected over 30 days ago is no longer on record" in str(late)
    active = {one.key.start for one in late.differences if one.key.metric == "active_users" and one.key.window == "day"}
    assert active == {MIDNIGHT + DAY}, "the one in a wrong partition is told by that"

    client.raw_insert("rejected", None, rejected, fmt="JSONEachRow")
    client.command("INSERT INTO layouts (layout, since) VALUES ('v0', 1)")
    client.command("TRUNCATE TABLE metrics")
    numbers = truth.numbers(plan, [good, lost, ahead], NOW)  # a replay counts all of them
    put_totals(client, [total(key, amount, made=wall_clock + 1) for key, amount in numbers.items()])
    report = verify_tables(client, plan, None, "", NOW)
    assert report.ok, str(report)
    put_totals(client, [total(key, amount, made=wall_clock, version=2) for key, amount in numbers.items()])
    assert verify_tables(client, plan, None, "", NOW).different, "what was rejected since is not counted"

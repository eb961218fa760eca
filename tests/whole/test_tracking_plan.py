"""The tracking plan with everything real: refused by it, explained, and taken after it was mended; and one made of traffic."""

from __future__ import annotations

import json
import re
import time
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from sinks.clickhouse.reader import connect
from tests.whole.pipeline import Pipeline, pipeline_in

pytestmark = [pytest.mark.broker, pytest.mark.clickhouse, pytest.mark.slow]

PLAN = """
[[apps]]
id = "bank"
write_keys = ["bank-key"]
plan_violations = "reject"

[[events]]
name = "pay"
[events.properties]
amount = { type = "integer", required = true }
"""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with pipeline_in(tmp_path_factory.mktemp("plan"), plan=PLAN) as made:
        for stage in (made.collector(), made.sinks()):
            stage.wait_ready()
        yield made


def post(pipeline: Pipeline, path: str, body: object, key: str = "bank-key") -> Any:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(pipeline.url(path), json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def rows(pipeline: Pipeline, sql: str) -> list[tuple[Any, ...]]:
    with connect(pipeline.settings) as client:
        return list(client.query(sql).result_rows)


def wait_for(pipeline: Pipeline, sql: str, wanted: int) -> None:
    """Until a count is so high."""
    until = time.monotonic() + 180
    while (found := int(rows(pipeline, sql)[0][0])) < wanted:
        assert time.monotonic() < until, f"{found} of {wanted}: {sql}"
        time.sleep(0.3)


def test_what_the_plan_refused_is_listed_explained_and_taken_after_the_plan_was_mended(pipeline: Pipeline) -> None:
    own = [uuid.uuid4().hex for _ in range(5)]
    calls = [{"type": "track", "event": "pay", "userId": one, "messageId": one, "properties": {"amount": 1.5}} for one in own]
    post(
        pipeline,
        "/v1/batch",
        {"batch": [*calls[:4], {**calls[4], "properties": {"amount": 1}}], "sentAt": "2026-01-01T00:00:00Z"},
    )
    post(pipeline, "/v1/batch", {"batch": [calls[0]]}, key="of-no-app")
    wait_for(pipeline, "SELECT count() FROM rejected", 5)

    listed = pipeline.run("rejected", "list")
    assert listed.returncode == 0, listed.stderr
    assert re.search(r"collector +plan +bank +4 +0 ", listed.stdout), listed.stdout
    assert re.search(r"collector +unknown_key +- +1 +0 ", listed.stdout), listed.stdout
    one = rows(pipeline, "SELECT id FROM rejected WHERE reason = 'plan' ORDER BY context['index'] LIMIT 1")[0][0]
    told = pipeline.run("rejected", "explain", str(one)).stdout
    assert "amount must be an integer - at `$.batch[0].properties.amount`" in told
    assert "to mend    Mend the tracking point" in told
    assert json.loads(pipeline.run("rejected", "explain", str(one), "--payload").stdout) == calls[0]
    assert pipeline.run("rejected", "explain", "0" * 16).returncode == 1

    before = pipeline.run("rejected", "resubmit", "--reason", "plan", "--yes")
    assert before.returncode == 1
    assert "0 of 4 rows would be taken now" in before.stdout

    pipeline.config.write_text(pipeline.config.read_text().replace('type = "integer"', 'type = "number"'))
    only_said = pipeline.run("rejected", "resubmit", "--reason", "plan")
    assert "4 of 4 rows would be taken now: 4 events\nnothing was sent: add --yes" in only_said.stdout
    too_early = pipeline.run("rejected", "resubmit", str(one), "--yes")
    assert too_early.returncode == 1
    assert "was the collector restarted with the new plan?" in too_early.stderr
    pipeline.stages[0].stop()
    pipeline.collector().wait_ready()
    for again in ("--yes", "--again"):  # twice: once all that are left, then all of them
        sent = pipeline.run("rejected", "resubmit", "--reason", "plan", again, "--yes")
        assert sent.returncode == 0, sent.stdout + sent.stderr
        assert "4 of 4 rows were taken" in sent.stdout, sent.stdout
        wait_for(pipeline, "SELECT count() FROM events FINAL", 5)
    assert rows(pipeline, "SELECT count(), uniqExact(id), uniqExact(time) FROM events FINAL")[0][:2] == (5, 5)
    assert {row[0] for row in rows(pipeline, "SELECT id FROM events FINAL")} == set(own)
    assert pipeline.run("rejected", "resubmit", "--reason", "plan").stdout.startswith("0 of 0 rows")
    assert re.search(r"collector +plan +bank +4 +4 ", pipeline.run("rejected", "list").stdout)
    keyed = pipeline.run("rejected", "resubmit", "--reason", "unknown_key", "--key", "bank-key", "--yes")
    assert "1 of 1 rows were taken" in keyed.stdout, keyed.stdout + keyed.stderr


def test_a_plan_is_proposed_from_traffic_and_fits(pipeline: Pipeline) -> None:
    events = [
        {
            "event": "open_account",
            "user_id": f"u{number}",
            "props": {"branch": ("north", "south")[number % 2], "deposit": number / 2, "note": f"n{number}", "vip": True},
        }
        for number in range(100)
    ]
    post(pipeline, "/v1/events", events)
    post(pipeline, "/v1/events", {"event": "once", "user_id": "1"})
    wait_for(pipeline, "SELECT count() FROM events FINAL WHERE event = 'open_account'", 100)
    wait_for(pipeline, "SELECT count() FROM events FINAL WHERE event = 'once'", 1)
    proposed = pipeline.run("plan", "infer")
    assert proposed.returncode == 0, proposed.stderr
    assert proposed.stdout.count("[[events]]") == 1, proposed.stdout
    for line in (
        'name = "open_account"',
        '"branch" = { type = "string", required = true, values = ["north", "south"] }',
        '"deposit" = { type = "number", required = true }',
        '"note" = { type = "string", required = true }',
        '"vip" = { type = "boolean", required = true }',
    ):
        assert line in proposed.stdout.splitlines(), proposed.stdout
    old = pipeline.folder / "old.toml"
    old.write_text(pipeline.config.read_text())
    with pipeline.config.open("a") as config:
        config.write(proposed.stdout)
    checked = pipeline.run("plan", "check", "--against", str(old))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert 'note     events "open_account" (bank): is new' in checked.stdout
    assert "nothing that came in" in pipeline.run("plan", "infer").stdout

"""A plan that changes: `footfall replay` counts the past by the new plan beside the old one, and a worker goes on from there."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ingest.contract.settings import Settings, read_settings
from sinks.clickhouse.reader import connect
from sinks.verify.main import verify_tables
from sinks.verify.report import Report
from tests.ports import free_port
from tests.streams.worker_rig import wait_for
from tests.whole.pipeline import ROOT, Pipeline, Stage, pipeline_in

pytestmark = [pytest.mark.broker, pytest.mark.clickhouse, pytest.mark.slow]

PLAN = """
[project]
time_zone = "Asia/Shanghai"
[horizons]
late_days = 12
late_hours = 240
[[apps]]
id = "one"
write_keys = ["key-one"]
[[apps]]
id = "two"
write_keys = ["key-two"]
time_zone = "America/New_York"
[[activities]]
id = "paying"
events = ["pay_bill"]
login = true
[[groups]]
id = "both"
apps = ["one", "two"]
"""
MORE = """
[[segments]]
id = "gift"
source = "props.gift.kind"
values = ["1", "true", "tea"]
[[funnels]]
id = "bill"
app = "both"
window_hours = 48
steps = [{ event = "app_launch" }, { event = "pay_bill" }]
by = "gift"
"""


def new_plan(pipeline: Pipeline, layout: str = "1") -> Path:
    """The pipeline's footfall.toml with a funnel and a segment more, and days of another zone."""
    text = pipeline.config.read_text().replace('time_zone = "Asia/Shanghai"', f'time_zone = "Asia/Kolkata"\nlayout = "{layout}"')
    path = pipeline.folder / f"new{layout}.toml"
    path.write_text(text.replace("[kafka]", MORE + "[kafka]"))
    return path


def footfall(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", "--config", str(config), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )


def send(pipeline: Pipeline, events: list[dict[str, Any]]) -> None:
    body = json.dumps(events).encode()
    for app in pipeline.settings.apps:
        headers = {"Authorization": f"Bearer {app.write_keys[0]}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(pipeline.url("/v1/events"), body, headers), timeout=30) as answer:
            assert json.load(answer)["accepted"] == len(events)


def traffic(first: int, persons: int) -> list[dict[str, Any]]:
    """Persons who look around, log in, and pay; every third on a device that somebody else used before."""
    events: list[dict[str, Any]] = []
    now = time.time_ns() // 1_000_000
    gifts: list[Any] = [1, "1", True, "tea", 1.0, None, {"deep": 1}, [1], "", "2026-11-22T10:00:00Z"]
    for one in range(first, first + persons):
        props = {"gift.kind": gifts[one % len(gifts)]}
        device, user = f"device-{one - one % 3}", f"payer-{one}"
        steps = [
            ("app_launch", {"anonymous_id": device}),
            ("login", {"anonymous_id": device, "user_id": user, "type": "identify"}),
            ("pay_bill", {"user_id": user}),
        ]
        for step, (event, who) in enumerate(steps):
            time_ms = now - (persons - one % persons) * 1_000_000 + step * 60_000
            events.append({"event": event, "id": f"t{one}-{step}", "time": min(time_ms, now), "props": props, **who})
    return events


def totals(settings: Settings, layout: str) -> list[tuple[Any, ...]]:
    """All of a layout's totals but those of the last minutes."""
    client = connect(settings)
    try:
        database = settings.clickhouse.database
        return [
            tuple(row)
            for row in client.query(
                f"SELECT metric, app, facet, window, start, partition, value FROM {database}.metrics FINAL "
                f"WHERE layout = '{layout}' AND window NOT IN ('5m', '30m') ORDER BY ALL"
            ).result_rows
        ]
    finally:
        client.close()


def compare(settings: Settings) -> Report:
    client = connect(settings)
    try:
        return verify_tables(client, settings, None, "", time.time_ns() // 1_000_000)
    finally:
        client.close()


def test_a_plan_that_changed_holds_for_the_past_while_the_old_one_serves_and_a_worker_goes_on_from_there(tmp_path: Path) -> None:
    with pipeline_in(tmp_path, plan=PLAN) as pipeline:
        collector, worker, sinks = pipeline.collector(), pipeline.worker(), pipeline.sinks()
        for stage in (collector, worker, sinks):
            stage.wait_ready()
        send(pipeline, traffic(0, 300))
        before = pipeline.run("verify", "--wait", "300")
        assert before.returncode == 0, before.stdout + before.stderr
        served = totals(pipeline.settings, "1")

        config = new_plan(pipeline)
        refused = footfall(config, "replay", "--layout", "1")
        assert refused.returncode == 2
        assert 'layout "1" has records already' in refused.stderr
        assert len(refused.stderr.splitlines()) <= 2
        replayed = footfall(config, "replay", "--layout", "2")
        assert replayed.returncode == 0, replayed.stderr
        assert 'set layout = "2" under [project]' in replayed.stdout

        config = new_plan(pipeline, "2")
        settings = read_settings(config.read_text(), {})
        until = time.monotonic() + 180
        while (report := compare(settings)).different and time.monotonic() < until:
            time.sleep(0.5)  # the sinks bring the totals
        assert report.ok, str(report)
        assert totals(pipeline.settings, "1") == served
        keys = {row[:3] for row in totals(settings, "2")}
        assert ("active_users", "two", "gift:tea") in keys
        assert ("funnel_users", "both", "bill:2:gift:1") in keys

        # events while nobody has switched yet: logins of known devices, new persons
        send(pipeline, traffic(150, 250))
        for stage in (worker, sinks):
            stage.stop()
        port = free_port()
        text = config.read_text()
        config.write_text(text.replace(f"port = {pipeline.settings.worker.port}\n", f"port = {port}\n"))
        for command, door in (("sinks", pipeline.settings.sinks.port), ("worker", port)):
            stage = Stage(pipeline, command, config, door)
            pipeline.stages.append(stage)
            stage.wait_ready()
        send(pipeline, traffic(400, 200))
        after = footfall(config, "verify", "--wait", "300")
        assert after.returncode == 0, after.stdout + after.stderr
        assert len(totals(settings, "2")) > len(served)

        # Kafka has them all, too: the same numbers, to the letter
        again = footfall(config, "replay", "--layout", "3", "--from", "kafka")
        assert again.returncode == 0, again.stderr
        assert "the history is complete" in again.stderr
        counted = [row for row in totals(settings, "2") if row[-1]]
        wait_for(lambda: [row for row in totals(settings, "3") if row[-1]] == counted, 60, "the sinks to bring layout 3")

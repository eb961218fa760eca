"""Real logs through the collector: the numbers published elsewhere, and those of a plain count, come out."""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from sinks.clickhouse.reader import connect
from tests.whole.pipeline import ROOT, Pipeline, pipeline_in

DATA = ROOT.parent / "shared" / "data"
DAY_MS = 86_400_000
PLAN = """
[project]
time_zone = "UTC"
[horizons]
late_days = 30
late_hours = 480
[[apps]]
id = "wiki"
write_keys = ["wiki-key"]
[[apps]]
id = "web"
write_keys = ["web-key"]
"""

pytestmark = [
    pytest.mark.broker,
    pytest.mark.clickhouse,
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real event logs (../shared/data) are not beside this checkout"),
]


def log_of(name: str) -> list[tuple[str, str, int]]:
    """(user, event, time in ms), moved by whole days so that the log ends the day before yesterday."""
    with gzip.open(DATA / name / "events.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = [(row["user"], row["event"], int(row["ts_us"]) // 1000) for row in csv.DictReader(file)]
    today = time.time_ns() // 1_000_000 // DAY_MS
    shift = (today - 2 - rows[-1][2] // DAY_MS) * DAY_MS
    return [(user, event, ms + shift) for user, event, ms in rows]


def post(pipeline: Pipeline, key: str, rows: list[tuple[str, str, int]]) -> None:
    """Sends the log as JSON lines, gzipped, 500 events a request."""
    for first in range(0, len(rows), 500):
        body = io.BytesIO()
        with gzip.GzipFile(fileobj=body, mode="wb") as file:
            for number, (user, event, ms) in enumerate(rows[first : first + 500], first):
                line = {"id": f"{key}-{number}", "event": event, "user_id": user, "time": ms}
                file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        request = urllib.request.Request(pipeline.url("/v1/events"), body.getvalue(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["accepted"] == len(rows[first : first + 500])


def query(pipeline: Pipeline, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the footfall database."""
    client = connect(pipeline.settings)
    try:
        return [tuple(row) for row in client.query(sql.replace("@", pipeline.settings.clickhouse.database + ".")).result_rows]
    finally:
        client.close()


def test_wikipedias_edits_and_a_web_servers_log_give_their_published_numbers(tmp_path: Path) -> None:
    wiki, web = log_of("wikiticker"), log_of("apache_logs")
    with pipeline_in(tmp_path, plan=PLAN) as pipeline:
        for stage in (pipeline.collector(), pipeline.worker(), pipeline.sinks()):
            stage.wait_ready()
        post(pipeline, "wiki-key", wiki)
        post(pipeline, "web-key", web)
        verified = pipeline.run("verify", "--wait", "300")
        assert verified.returncode == 0, verified.stdout + verified.stderr

        events_by_hour = query(
            pipeline, "SELECT toHour(at) AS hour, count() FROM @events WHERE app = 'wiki' GROUP BY hour ORDER BY hour"
        )
        assert " ".join(str(count) for _, count in events_by_hour) == (
            "268 1144 1102 815 824 1260 2120 2237 1622 1704 1792 1624 1709 2073 1873 1965 1959 2300 2170 2013 1832 1766 1590 1482"
        )
        assert [
            count
            for _, count in query(
                pipeline, "SELECT toDate(at) AS day, count() FROM @events WHERE app = 'web' GROUP BY day ORDER BY day"
            )
        ] == [1632, 2893, 2896, 2579]

        peak = query(pipeline, "SELECT peak_hour, peak_users FROM @hourly_peak WHERE app = 'wiki' AND facet = ''")
        assert peak == [(16, 969)]
        days = query(pipeline, "SELECT dau FROM @dau WHERE app = 'web' AND facet = '' ORDER BY day")
        assert days == [(341,), (627,), (561,), (505,)]
        # all of these are of one 30-day window, wherever a month ends
        month = query(pipeline, "SELECT max(mau_30d) FROM @mau_30d WHERE app = 'web' AND facet = ''")
        assert month == [(1753,)]

        hours: dict[tuple[int, int], set[str]] = defaultdict(set)
        for user, _, ms in web:
            hours[ms // DAY_MS, ms // 3_600_000 % 24].add(user)
        found = query(
            pipeline, "SELECT toInt32(day), hour, active_users FROM @hourly_active_users WHERE app = 'web' AND facet = ''"
        )
        assert {(day, hour): users for day, hour, users in found} == {key: len(users) for key, users in hours.items()}

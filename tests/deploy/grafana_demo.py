"""Sixty days of three banks in a real ClickHouse, and their exposition: what the dashboards are tried on.

The simulator's traffic goes through the worker's partitions in this process, so all totals are real; a year ago is made up.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple

import msgspec
from clickhouse_connect.driver.client import Client

from deploy.simulator.population import make_persons
from deploy.simulator.traffic import SimEvent, day_visits, in_order, line, make_scripts
from ingest.contract.partition import partition_of
from ingest.contract.rejected import Rejected
from ingest.contract.settings import Settings, read_settings
from ingest.contract.zones import Zone
from sinks.clickhouse.rows import MetricsBatch, RejectedBatch
from streams.partition import Partition
from streams.rules import Rules
from tests.conftest import DEMO

DAYS, PERSONS, PARTITIONS = 60, 180, 3
_FRAME = 200
_HOUR = 3_600_000


class Demo(NamedTuple):
    """What came of the traffic. now: ms; last: the project's day of it."""

    settings: Settings
    now: int
    last: date
    partitions: dict[int, Partition]
    totals: dict[int, list[bytes]]
    events: list[bytes]
    rejected: list[bytes]


def demo_plan() -> Settings:
    """The demo's plan, with a funnel that is broken down, and one app in a zone far from the others."""
    text = DEMO.read_text().replace('app = "harbor"\n', 'app = "harbor"\nby = "platform"\n')
    return read_settings(text.replace('id = "rural"\n', 'id = "rural"\ntime_zone = "America/New_York"\n'), {})


def last_day(today: date) -> date:
    """A day in the last two weeks that is not near a month's turn. No fixed one: the rejected lines live for thirty days only."""
    return next(day for back in range(1, 14) if (day := today - timedelta(days=back)).day in (8, 15, 22, 28))


def make_demo(last: date, days: int = DAYS) -> Demo:
    """Traffic of so many days up to three in the afternoon of `last`, in the project's zone."""
    settings = demo_plan()
    now = int(Zone("Asia/Shanghai").day_start((last - date(1970, 1, 1)).days)) + 15 * _HOUR
    rules = Rules(settings)
    partitions = {number: Partition(rules, "events", number, PARTITIONS, {}, 100_000) for number in range(PARTITIONS)}
    demo = Demo(settings, now, last, partitions, {number: [] for number in partitions}, [], [])
    arrivals = sorted(_arrivals(settings, last, days, now), key=lambda one: one[0])
    taken = arrivals[0][0]
    frames: dict[int, list[bytes]] = {number: [] for number in partitions}
    for received, event in arrivals:
        if received - taken >= 24 * _HOUR:
            _take(demo, frames, taken := received)
        number = partition_of(event.person, PARTITIONS)
        text = _line(event, received)
        demo.events.append(text)
        frames[number].append(text)
        if len(frames[number]) == _FRAME:
            _apply(demo, frames[number], number, received)
    frames[0] += [b"{no JSON", arrivals[-1] and b'{"id":"x","app":"nobody","person":"u:1","event":"e","time":1,"received":1}']
    _take(demo, frames, now)
    demo.rejected.extend(_refused(now))
    return demo


def _arrivals(settings: Settings, last: date, days: int, now: int) -> Iterator[tuple[int, SimEvent]]:
    """(receipt, event): most after 300 ms, some hours or days later."""
    rng = random.Random(7)
    scripts, persons = make_scripts(settings), make_persons(settings, 7, PERSONS)
    for back in range(days, -2, -1):
        for event in in_order(day_visits(scripts, persons, 7, last - timedelta(days=back))):
            delay = int(rng.expovariate(1 / (20 * _HOUR))) if rng.random() < 0.02 else 300
            if event.time + delay <= now:
                yield event.time + delay, event


def _line(event: SimEvent, received: int) -> bytes:
    """The event's line; every twentieth device is ten minutes ahead."""
    text = line(event, received)
    if int(event.device[1:], 16) % 20:
        return text
    return text.replace(b'"device_time":%d' % event.time, b'"device_time":%d' % (event.time + 600_000))


def _apply(demo: Demo, frame: list[bytes], number: int, at: int) -> None:
    if frame:
        demo.partitions[number].apply_frame(b"\n".join(frame), len(demo.events), at)
        frame.clear()


def _take(demo: Demo, frames: dict[int, list[bytes]], at: int) -> None:
    for number, partition in demo.partitions.items():
        _apply(demo, frames[number], number, at)
        taken = partition.take(at)
        partition.commit(taken)
        demo.totals[number] += [value for _, value in taken.totals]
        demo.rejected.extend(taken.rejected)


def _refused(now: int) -> Iterator[bytes]:
    """What the collector would not take: in the last two days, of all kinds."""
    reasons = Counter({"bad_json": 30, "too_large": 4, "unknown_key": 12, "bad_time": 9})
    for index, reason in enumerate(reasons.elements()):
        app = "harbor" if reason == "bad_time" else ""
        yield msgspec.json.encode(
            Rejected(at=now - index * _HOUR, stage="collector", reason=reason, detail=f"{reason} number {index}", app=app)
        )


def fill(client: Client, demo: Demo) -> None:
    """Puts all of it into the (migrated) tables, as the sink does, and a year before with twice the users."""
    for number, totals in demo.totals.items():
        batch = MetricsBatch(number)
        for offset, text in enumerate(totals):
            batch.add(offset, text)
        rows = [row.line for insert in batch.inserts() for row in insert.rows]
        client.raw_insert("metrics", None, b"\n".join(rows), fmt="JSONEachRow")
    client.raw_insert("events", None, b"\n".join(demo.events), fmt="JSONEachRow")
    refused = RejectedBatch(0, "rejected")
    for offset, text in enumerate(demo.rejected):
        refused.add(offset, text)
    client.raw_insert(
        "rejected", None, b"\n".join(row.line for insert in refused.inserts() for row in insert.rows), fmt="JSONEachRow"
    )
    client.command(
        "INSERT INTO metrics SELECT metric, app, facet, window, "
        "toUnixTimestamp(addYears(toDateTime(intDiv(start, 1000)), -1)) * 1000, "
        "addYears(day, -1), hour, layout, partition, value * 2, at, version "
        "FROM metrics FINAL WHERE metric = 'active_users' AND window IN ('day', '7d', '30d', 'month')"
    )
    client.command(  # who is active now was worked out just now, or there is nothing to show
        "INSERT INTO metrics SELECT metric, app, facet, window, start, day, hour, layout, partition, value, "
        "toUnixTimestamp64Milli(now64(3)) AS at, version + 1 FROM metrics FINAL WHERE window IN ('5m', '30m')"
    )

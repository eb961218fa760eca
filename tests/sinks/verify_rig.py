"""What tests of `verify` do to the tables of the real engine: rows of events, merges, totals and rejections."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from deploy.simulator import truth
from ingest.contract.event import Event
from sinks.verify.main import sql_numbers
from streams.contract.total import TotalKey
from tests.sinks.embedded import embedded
from tests.sinks.verify_events import DAY, at, make_settings

SETTINGS = make_settings()
#: One app, and nothing but what all apps have.
PLAIN = msgspec.structs.replace(
    SETTINGS, apps=[app for app in SETTINGS.apps if app.id == "home"],
    activities=[], scenes=[], segments=[], groups=[], funnels=[],
)  # fmt: skip


@contextlib.contextmanager
def engine(directory: Path) -> Iterator[Any]:
    """The real schema in the embedded engine."""
    found = msgspec.structs.replace(SETTINGS, data_dir=str(directory))
    with embedded(found) as (_, client):
        yield client


def insert(client: Any, rows: list[Event]) -> None:
    for table in ("events", "metrics", "person_merges"):
        client.command(f"TRUNCATE TABLE {table}")
    client.raw_insert("events", None, b"\n".join(map(msgspec.json.encode, rows)), fmt="JSONEachRow")


def put_merges(client: Any, merged: dict[str, str]) -> None:
    client.command("TRUNCATE TABLE person_merges")
    lines = [{"person": person, "target": target, "offset": offset} for offset, (person, target) in enumerate(merged.items())]
    if lines:
        client.raw_insert("person_merges", None, "\n".join(map(json.dumps, [*lines, *lines])).encode(), fmt="JSONEachRow")


def activity(time: int, received: int | None = None, **fields: Any) -> Event:
    fields = {"id": str(time), "app": "home", "person": "u:1", "event": "look"} | fields
    return Event(time=time, received=time if received is None else received, **fields)


MIDNIGHT = at("2026-05-14T00:00", "Asia/Shanghai")


def both(client: Any, rows: list[Event], now: int = MIDNIGHT + 2 * DAY) -> dict[TotalKey, int]:
    """The numbers, after a look that SQL and truth agree."""
    insert(client, rows)
    found = {key: value for key, value in sql_numbers(client, SETTINGS, "verified", now).items() if value}
    assert found == truth.numbers(SETTINGS, rows, now)
    return found


def total(key: TotalKey, amount: int, partition: int = 0, version: int = 1, layout: str = "v1", made: int = MIDNIGHT) -> bytes:
    row = key._asdict() | {
        "day": "2026-05-14", "hour": -1, "layout": layout, "partition": partition, "value": amount, "at": made, "version": version
    }  # fmt: skip
    return json.dumps(row).encode()


def put_totals(client: Any, rows: list[bytes]) -> None:
    client.raw_insert("metrics", None, b"\n".join(rows), fmt="JSONEachRow")


def put_all(client: Any, numbers: dict[TotalKey, int]) -> None:
    put_totals(client, [total(key, amount) for key, amount in numbers.items()])


def day_key(metric: str, start: int = MIDNIGHT, facet: str = "", window: Any = "day") -> TotalKey:
    """A number of the app `home`."""
    return TotalKey(metric, "home", facet, window, start)

"""The peer that the worker is measured against: active users a day as Faust's own documentation would have them.

A faust.Record, one event a message, two Tables, defaults. It counts one number where the worker keeps some two hundred, is not
exact after a crash, and cannot tell late from early: it is the least that anyone would write.

    python -m tests.bench.idiomatic_faust BROKER APP TOPIC PARTITIONS
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import faust

DAY_MS = 86_400_000


class Event(faust.Record, serializer="json"):  # type: ignore[call-arg, misc]
    """What it needs of an event line."""

    person: str
    time: int


def make_app(broker: str, name: str, topic: str, partitions: int, data_dir: str) -> Any:
    """The app; `seen` on it counts the events it has taken."""
    app = faust.App(
        name,
        broker=f"kafka://{broker}",
        store="memory://",
        datadir=data_dir,
        web_enabled=False,
        topic_partitions=partitions,
        topic_replication_factor=1,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
    )
    events = app.topic(topic, value_type=Event, partitions=partitions)
    days = app.Table("days", default=int, partitions=partitions)
    active = app.Table("active", default=int, partitions=partitions)
    seen = [0]

    @app.agent(events)  # type: ignore[untyped-decorator]
    async def count(stream: Any) -> None:
        async for message in stream.events():
            event = message.value
            day = event.time // DAY_MS
            key = f"{event.person}:{day}"
            if not days[key]:
                active[f"{message.message.partition}:{day}"] += 1
            days[key] += 1
            seen[0] += 1

    @app.timer(0.2)  # type: ignore[untyped-decorator]
    async def tell() -> None:
        print(seen[0], flush=True)

    return app


if __name__ == "__main__":
    broker, name, topic, partitions, data_dir = sys.argv[1:]
    Path(data_dir).mkdir(parents=True, exist_ok=True)
    peer = make_app(broker, name, topic, int(partitions), data_dir)
    faust.Worker(peer, loglevel="error", quiet=True, redirect_stdouts=False).execute_from_commandline()

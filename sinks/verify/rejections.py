"""Raw rows that the worker rejected: the sink takes every good line, so they lie in `events`, and count nowhere.

Pure but for the client it is given.
"""

from __future__ import annotations

from typing import Any

from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from sinks.verify.expressions import name, text, texts

#: Why the worker rejects a line that is good by itself.
_REASONS = ("wrong_partition", "received_in_future", "unknown_app")
#: For how long rejections are kept (the table's time to live).
KEPT_MS = 30 * 86_400_000


def counted(client: Any, settings: Settings, database: str) -> str:
    """A condition on rows of `events` that leaves out what the worker rejected; "" when there is no such row.

    A row is told by what the rejection holds of the line, since offsets of rows are those of their batches. In the project's
    first layout, rows that lie in another partition than their person's are told by that alone, however old. A replay counts what
    had been rejected before it, by the person: so for a later layout only what was rejected since is left out.
    """
    events, topic, layout = f"{name(database)}.events", text(topic_names(settings).events), text(settings.project.layout)
    first = bool(_one(client, f"SELECT argMin(layout, since) IN ('', {layout}) FROM {name(database)}.layouts"))
    conditions = []
    began = 0
    if first:
        lost = f"(kafka_topic = {topic} AND kafkaMurmurHash(person) % {settings.kafka.partitions} != kafka_partition)"
        if _one(client, f"SELECT count() FROM {events} WHERE {lost}"):
            conditions.append(f"NOT {lost}")
    else:
        began = _one(
            client,
            f"SELECT min(at) FROM {name(database)}.metrics FINAL WHERE layout = {layout} AND window NOT IN ('5m', '30m')",
        )
    rejected = (
        f"{name(database)}.rejected FINAL WHERE stage = 'worker' AND topic = {topic} AND reason IN ({texts(_REASONS)}) "
        f"AND at >= {began} AND app IN ({texts(app.id for app in settings.apps)})"
    )
    if settings.apps and _one(client, f"SELECT count() FROM {rejected}"):
        line = "if(encoding = 'base64', base64Decode(payload), payload)"
        told = (
            f"JSONExtractString({line}, 'app'), JSONExtractString({line}, 'person'), JSONExtractString({line}, 'id'), "
            f"JSONExtractInt({line}, 'time'), JSONExtractInt({line}, 'received'), partition"
        )
        conditions.append(f"(app, person, id, time, received, kafka_partition) NOT IN (SELECT {told} FROM {rejected})")
    return " AND ".join(conditions)


def forgotten_note(client: Any, settings: Settings, database: str, now: int) -> str:
    """In words, which rejections cannot be told any more at `now` (ms); "" where there can be none."""
    topic = text(topic_names(settings).events)
    before = now - KEPT_MS
    old = _one(client, f"SELECT count() FROM {name(database)}.events WHERE kafka_topic = {topic} AND received < {before}")
    long = _one(
        client,
        f"SELECT count() FROM {name(database)}.rejected FINAL WHERE stage = 'worker' AND topic = {topic} "
        f"AND reason IN ({texts(_REASONS)}) AND (truncated OR encoding = 'gzip+base64')",
    )
    notes = []
    if old:
        notes.append("what the worker rejected over 30 days ago is no longer on record: SQL counts such rows, the stream did not")
    if long:
        notes.append(f"{long:,} rejected lines are too long to be found among the raw events: SQL counts them")
    return "; ".join(notes)


def _one(client: Any, sql: str) -> Any:
    return client.query(sql).result_rows[0][0]

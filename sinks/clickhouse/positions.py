"""Shell: finds out where to go on in each partition, and refuses when the topic is not the one that ClickHouse has rows of."""

from __future__ import annotations

import logging
import time
from typing import Any

from clickhouse_connect.driver.client import Client
from kafka import TopicPartition

from ingest.contract.errors import LayoutError
from sinks.clickhouse.kinds import Kind, next_offset
from sinks.stats import Stats

log = logging.getLogger(__name__)
_TIMEOUT_MS = 30_000


def claim_topic(client: Client, kind: Kind, topic_id: str) -> None:
    """Notes which topic the table's offsets are of. LayoutError when it was another one: its offsets mean other records."""
    rows = client.query(
        "SELECT topic, topic_id FROM topics FINAL WHERE scope = {scope:String}", parameters={"scope": kind.scope}
    ).result_rows
    if rows:
        topic, known_id = rows[0]
        if (topic, known_id) != (kind.topic, topic_id):
            raise LayoutError(
                f"the topic {kind.topic} is not the one that ClickHouse has the {kind.scope} from (it was created anew, or "
                "renamed): choose a new kafka.topic_prefix and project.layout, or empty the ClickHouse database"
            )
        return
    client.command(
        "INSERT INTO topics (scope, topic, topic_id, seen) SELECT {scope:String}, {topic:String}, {id:String}, {seen:Int64}",
        parameters={"scope": kind.scope, "topic": kind.topic, "id": topic_id, "seen": int(time.time() * 1000)},
    )


def seek_all(client: Client, consumer: Any, kind: Kind, stats: Stats) -> tuple[dict[int, int], dict[int, int]]:
    """Seeks every assigned partition to the record after the last that ClickHouse holds.

    Returns partition -> next offset, and partition -> where its log ends now. Raises LayoutError for a topic created anew.
    """
    assigned = sorted(consumer.assignment())
    if not assigned:
        return {}, {}
    committed = {one.partition: consumer.committed(one, timeout_ms=_TIMEOUT_MS) for one in assigned}
    held = kind.held(lambda sql, parameters: client.query(sql, parameters=parameters).result_rows, committed)
    beginnings = consumer.beginning_offsets(assigned, timeout_ms=_TIMEOUT_MS)
    ends = consumer.end_offsets(assigned, timeout_ms=_TIMEOUT_MS)
    following = {}
    for one in assigned:
        last = held.get(one.partition)
        if last is not None and last >= ends[one]:
            raise LayoutError(
                f"ClickHouse holds offset {last} of {kind.topic} partition {one.partition}, but the topic ends at {ends[one]}: "
                "it was created anew. Choose a new kafka.topic_prefix and project.layout, or empty the ClickHouse database"
            )
        start = next_offset(last, committed[one.partition], beginnings[one], kind.atomic)
        if start < beginnings[one]:
            lost = beginnings[one] - start
            stats.lost(kind.topic, lost)
            log.error(
                "%s partition %d: %d records were deleted by Kafka before they were stored", kind.topic, one.partition, lost
            )
            start = beginnings[one]
        consumer.seek(TopicPartition(one.topic, one.partition), start)
        following[one.partition] = start
    return following, {one.partition: end for one, end in ends.items()}

"""Shell: INSERTs of one sink: waits out what passes, names what does not, and puts refused rows safely aside."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from kafka.errors import KafkaError

from ingest.contract.errors import WriteError
from ingest.contract.rejected import Rejected, payload_fields
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from sinks.clickhouse.errors import Remedy
from sinks.clickhouse.kinds import Kind
from sinks.clickhouse.rows import Row
from sinks.clickhouse.store import first_line, judge
from sinks.kafka import safe_producer
from sinks.stats import Stats

log = logging.getLogger(__name__)

#: One INSERT must be one part: nothing may cut it into blocks.
INSERT_OPTIONS = {
    "min_insert_block_size_rows": 4_000_000,
    "min_insert_block_size_bytes": 4 << 30,
    "max_insert_threads": 1,
    "input_format_skip_unknown_fields": 1,
    "input_format_null_as_default": 1,
    "input_format_allow_errors_num": 0,
    "max_partitions_per_insert_block": 0,
    "type_json_skip_duplicated_paths": 1,
    # a property that looks like a date stays the text that was sent
    "input_format_try_infer_dates": 0,
    "input_format_try_infer_datetimes": 0,
}
_PRODUCE_S = 60


class Inserter:
    """Where `land` puts the rows of one kind, with one client; for one thread.

    pause(attempt, why) waits before the next attempt, and may raise to give up waiting.
    """

    def __init__(self, kind: Kind, settings: Settings, client: Client, stats: Stats, pause: Callable[[int, str], None]) -> None:
        self._kind = kind
        self._settings = settings
        self._client = client
        self._stats = stats
        self._pause = pause
        self._producer: Any = None
        self._refusal = ""

    def close(self) -> None:
        """Closes the producer of refused rows, if there was any."""
        if self._producer is not None:
            self._producer.close(timeout=5)

    def insert(self, rows: list[Row], offset: int) -> Remedy | None:
        """One INSERT, stamped with topic, the rows' partition, and offset. None when the rows are in; TOO_LARGE or BAD_ROW.

        Raises WriteError when ClickHouse refuses for good, and what `pause` raises.
        """
        table = self._kind.table
        body = b"\n".join(row.line for row in rows)
        options = INSERT_OPTIONS | {"log_comment": f"{self._kind.topic}|{rows[0].partition}|{offset}"}
        for attempt in count(1):
            try:
                self._client.raw_insert(table, None, body, settings=options, fmt="JSONEachRow")
                break
            except (ClickHouseError, OSError) as error:
                what = judge(error)
                if what is Remedy.TOO_LARGE and len(rows) == 1:
                    what = Remedy.RETRY  # nothing left to halve: something else takes the memory
                if what is Remedy.FATAL and not _is_text(body):
                    what = Remedy.BAD_ROW  # the engine's words quote the row, and cannot be read for the same reason
                self._stats.failed(table, what.value)
                if what is Remedy.FATAL:
                    raise WriteError(f"ClickHouse refuses inserts into {table}: {first_line(error)}") from error
                self._refusal = first_line(error)
            if what is not Remedy.RETRY:
                return what
            self._pause(attempt, self._refusal)
        self._stats.inserted(table, len(rows), int(time.time() * 1000))
        self._stats.waiting(self._kind.role, "")
        return None

    def refuse(self, row: Row) -> None:
        """Puts a row that ClickHouse will not take into the rejected topic; returns once Kafka has it. Raises WriteError."""
        self._stats.refused(self._kind.table)
        rejected_topic = topic_names(self._settings).rejected
        if self._kind.topic == rejected_topic:
            log.error("ClickHouse refuses a rejected line (offset %d): %s", row.offset, self._refusal)
            return  # it is in that topic already: putting it there again would go round for ever
        payload, encoding, truncated = payload_fields(row.line)
        rejected = Rejected(
            at=int(time.time() * 1000),
            stage="sink",
            reason="clickhouse_refused",
            detail=self._refusal,
            topic=self._kind.topic,
            partition=row.partition,
            offset=row.offset,
            line=row.number,
            payload=payload,
            encoding=encoding,
            truncated=truncated,
        )
        if self._producer is None:
            self._producer = safe_producer(self._settings)
        try:
            self._producer.send(rejected_topic, msgspec.json.encode(rejected)).get(timeout=_PRODUCE_S)
        except KafkaError as error:
            raise WriteError(f"a refused row could not be put into {rejected_topic}: {type(error).__name__}") from error


def _is_text(lines: bytes) -> bool:
    """Whether that is UTF-8. The collector's lines are; another program's need not be."""
    try:
        lines.decode()
    except UnicodeDecodeError:
        return False
    return True

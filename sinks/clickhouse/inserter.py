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
from ingest.contract.event import UNREADABLE
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
#: Rows that cannot be read are passed over, however many.
_READABLE_ONLY = {"input_format_allow_errors_ratio": 1}
_PRODUCE_S = 60


class Inserter:
    """Where `land` puts the rows of one kind, with one client; for one thread.

    pause(attempt, why) waits before the next attempt; stay() is called between the inserts of a search, which may take long.
    Both may raise to give up.
    """

    def __init__(
        self,
        kind: Kind,
        settings: Settings,
        client: Client,
        stats: Stats,
        pause: Callable[[int, str], None],
        stay: Callable[[], None] = lambda: None,
    ) -> None:
        self._kind = kind
        self._settings = settings
        self._client = client
        self._stats = stats
        self._pause = pause
        self._stay = stay
        self._producer: Any = None
        self._refusal = ""

    def close(self) -> None:
        """Closes the producer of refused rows, if there was any."""
        if self._producer is not None:
            self._producer.close(timeout=5)

    def insert(self, rows: list[Row], offset: int) -> Remedy | None:
        """One INSERT, stamped with topic, the rows' partition, and offset. None when the rows are in; TOO_LARGE or BAD_ROW.

        Raises WriteError when ClickHouse refuses for good, and what `pause` and `stay` raise.
        """
        return self._insert(rows, offset, INSERT_OPTIONS)[0]

    def insert_readable(self, rows: list[Row], offset: int) -> int | None:
        """The same, but rows that cannot be read are passed over. How many went in; None if all were refused, or nobody says."""
        return self._insert(rows, offset, INSERT_OPTIONS | _READABLE_ONLY)[1]

    def doubt(self, row: Row) -> str:
        """Why a row may be refused, in words; "" where it reads as its writer writes them."""
        if self._kind.whole is None:
            return ""
        try:
            self._kind.whole.decode(row.line)
        except UNREADABLE as error:
            return str(error)
        return ""

    def refuse(self, rows: list[Row], why: list[str]) -> None:
        """Puts rows that ClickHouse will not take into the rejected topic; returns once Kafka has them. Raises WriteError.

        why: in words, of each; "" for what ClickHouse said last.
        """
        rejected_topic = topic_names(self._settings).rejected
        sent = []
        try:
            for row, words in zip(rows, why, strict=True):
                self._stats.refused(self._kind.table)
                detail = words or self._refusal
                if self._kind.topic == rejected_topic:
                    log.error("ClickHouse refuses a rejected line (offset %d): %s", row.offset, detail)
                    continue  # it is in that topic already: putting it there again would go round for ever
                if self._producer is None:
                    self._producer = safe_producer(self._settings)
                sent.append(self._producer.send(rejected_topic, self._rejected(row, detail)))
            for future in sent:
                future.get(timeout=_PRODUCE_S)
        except KafkaError as error:
            raise WriteError(f"a refused row could not be put into {rejected_topic}: {type(error).__name__}") from error

    def _insert(self, rows: list[Row], offset: int, options: dict[str, int]) -> tuple[Remedy | None, int | None]:
        """What helps (None: it is done), and how many rows were written, where that is known."""
        table = self._kind.table
        body = b"\n".join(row.line for row in rows)
        stamped = options | {"log_comment": f"{self._kind.topic}|{rows[0].partition}|{offset}"}
        for attempt in count(1):
            try:
                done = self._client.raw_insert(table, None, body, settings=stamped, fmt="JSONEachRow")
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
                self._stay()
                return what, None
            self._pause(attempt, self._refusal)
        told = done.summary.get("written_rows")  # asked of the summary itself: its property takes silence for 0
        written = None if told is None else int(told)
        self._stats.inserted(table, len(rows) if written is None else written, int(time.time() * 1000))
        self._stats.waiting(self._kind.role, "")
        return None, written

    def _rejected(self, row: Row, detail: str) -> bytes:
        payload, encoding, truncated = payload_fields(row.line)
        return msgspec.json.encode(
            Rejected(
                at=int(time.time() * 1000),
                stage="sink",
                reason="clickhouse_refused",
                detail=detail,
                topic=self._kind.topic,
                partition=row.partition,
                offset=row.offset,
                line=row.number,
                payload=payload,
                encoding=encoding,
                truncated=truncated,
            )
        )


def _is_text(lines: bytes) -> bool:
    """Whether that is UTF-8. The collector's lines are; another program's need not be."""
    try:
        lines.decode()
    except UnicodeDecodeError:
        return False
    return True

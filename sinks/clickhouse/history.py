"""Shell: the raw events in ClickHouse, read back in order of receipt, so that totals can be made anew from them."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from ingest.contract.errors import UnavailableError
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from sinks.clickhouse.history_sql import MINUTE_MS, cut, lines_sql
from sinks.clickhouse.reader import connect
from sinks.clickhouse.store import first_line
from sinks.contract.tables import EVENTS, PERSON_MERGES

#: Events of a slice, at most: what is in memory at a time, here and in ClickHouse.
SLICE_EVENTS = 100_000
#: Receipts of a slice: what a person's partitions hear of each other must not come a day late (streams.horizon).
SLICE_MINUTES = 6 * 60

_OPTIONS = {"output_format_json_quote_64bit_integers": 0}


class ClickHouseHistory:
    """streams.contract.history.History over the table of events. A context manager: it closes its client.

    What is inserted after it was made may be in the slices or not: it lies behind `offsets`.
    """

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        database = settings.clickhouse.database
        self._events = f"{database}.{EVENTS}"
        topic = topic_names(settings).events
        # before the events themselves: whatever comes in between is read again from Kafka
        self.offsets = {
            int(partition): int(following)
            for partition, following in self._rows(
                f"SELECT kafka_partition, max(kafka_offset) + 1 FROM {self._events} "
                "WHERE kafka_topic = {topic:String} GROUP BY kafka_partition",
                {"topic": topic},
            )
        }
        self.merges = {
            str(person): str(target)
            for person, target in self._rows(f"SELECT person, target FROM {database}.{PERSON_MERGES} FINAL", {})
        }
        minutes = self._rows(
            f"SELECT intDiv(received, {MINUTE_MS}) AS minute, count() FROM {self._events} GROUP BY minute ORDER BY minute", {}
        )
        self.events = sum(int(events) for _, events in minutes)
        self._slices = cut(((int(minute), int(events)) for minute, events in minutes), SLICE_EVENTS, SLICE_MINUTES)

    def slices(self) -> Iterator[bytes]:
        """Event lines, a slice at a time. Raises UnavailableError when ClickHouse does not answer."""
        sql = lines_sql(self._settings, self._events)
        for first, until in self._slices:
            try:
                yield self._client.raw_query(
                    sql, parameters={"from": first, "until": until}, settings=dict(_OPTIONS), fmt="TSVRaw"
                )
            except (ClickHouseError, OSError) as error:
                raise UnavailableError(f"ClickHouse could not give back its events: {first_line(error)}") from error

    def _rows(self, sql: str, parameters: dict[str, str]) -> list[tuple[int | str, int | str]]:
        try:
            rows: list[tuple[int | str, int | str]] = self._client.query(sql, parameters=parameters).result_rows
        except (ClickHouseError, OSError) as error:
            raise UnavailableError(f"ClickHouse could not say what it has: {first_line(error)}") from error
        return rows

    def close(self) -> None:
        """Closes the client."""
        self._client.close()

    def __enter__(self) -> ClickHouseHistory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_history(settings: Settings) -> ClickHouseHistory:
    """The events as they are now, and the plan's properties of them. Raises UnavailableError when there is no ClickHouse."""
    client = connect(settings)
    try:
        return ClickHouseHistory(client, settings)
    except BaseException:
        client.close()
        raise

"""Shell: a few ClickHouse clients for the API's threads, each for one query at a time, each query with limits."""

from __future__ import annotations

import contextlib
import logging
import queue
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from ingest.contract.errors import FootfallError
from sinks.api.errors import ApiError
from sinks.api.sql import Query
from sinks.clickhouse.store import first_line

log = logging.getLogger(__name__)

_CLIENTS = 4
_WAIT_S = 10.0
#: Of one query.
LIMITS = {"max_execution_time": 10, "max_memory_usage": 1024 * 1024 * 1024, "max_threads": 2}

#: In CSV, as nearly all readers have it, nothing is an empty field.
_FILES = {"format_csv_null_representation": ""}


class Readers:
    """The clients; made when first needed, so that a ClickHouse that is away for a while ends nothing here."""

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self._idle: queue.LifoQueue[Client | None] = queue.LifoQueue()
        for _ in range(_CLIENTS):
            self._idle.put(None)

    def rows(self, query: Query) -> Sequence[Sequence[Any]]:
        """A query's rows. Raises ApiError (503)."""
        with self._client() as client:
            result: Sequence[Sequence[Any]] = client.query(query.sql, parameters=query.parameters, settings=LIMITS).result_rows
            return result

    def file(self, query: Query, form: str) -> bytes:
        """A query's rows in a format of ClickHouse's. Raises ApiError (503)."""
        with self._client() as client:
            return bytes(client.raw_query(query.sql, parameters=query.parameters, settings=LIMITS | _FILES, fmt=form))

    @contextlib.contextmanager
    def _client(self) -> Iterator[Client]:
        try:
            client = self._idle.get(timeout=_WAIT_S)
        except queue.Empty:
            raise ApiError(503, "busy", "too many queries at once: try again in a moment") from None
        broken = False
        try:
            if client is None:
                client = self._make()
            yield client
        except (ClickHouseError, FootfallError, OSError) as error:
            broken = True
            log.warning("a query of the API failed: %s", first_line(error))
            raise ApiError(503, "unavailable", "ClickHouse did not answer in time, or is away: try again") from error
        finally:
            if broken and client is not None:
                with contextlib.suppress(Exception):
                    client.close()
                client = None
            self._idle.put(client)

    def close(self) -> None:
        """Waits for queries that run (each is limited), and closes the clients: an embedded engine can be closed after that."""
        for _ in range(_CLIENTS):
            with contextlib.suppress(queue.Empty):
                client = self._idle.get(timeout=LIMITS["max_execution_time"] + 1)
                if client is not None:
                    client.close()

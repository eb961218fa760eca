"""The embedded engine with the real schema, for tests that only need tables to be there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from clickhouse_connect.driver.client import Client

from ingest.contract.settings import Settings
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import Store, open_store


@contextlib.contextmanager
def embedded(settings: Settings) -> Iterator[tuple[Store, Client]]:
    """A store in `data_dir` with the plan's tables and views, and a client of it."""
    store = open_store(settings)
    try:
        client = store.client()
        migrate(client, settings)
        yield store, client
        client.close()
    finally:
        store.close()

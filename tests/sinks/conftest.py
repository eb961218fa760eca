"""A real ClickHouse engine for the tests: embedded, and behind HTTP.

Behind HTTP means the server at CLICKHOUSE_URL if that is set. Else it is our own front before the embedded engine, opened for
writing: clickhouse-connect's real HTTP client and a real engine, but the transport between them is our reading of ClickHouse's.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Iterator

import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from ingest.contract.settings import ClickHouseSettings, Settings
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import Store, open_store
from sinks.front.engine import Engine
from sinks.front.server import Front, User
from tests.sinks.console_page import browser as browser
from tests.sinks.console_page import page as page
from tests.sinks.console_page import rig as rig


@pytest.fixture
def store(demo_settings: Settings) -> Iterator[Store]:
    """The embedded engine with nothing in it, in a directory of the test's own."""
    opened = open_store(demo_settings)
    yield opened
    opened.close()


@pytest.fixture
def client(store: Store, demo_settings: Settings) -> Iterator[Client]:
    """A client of the embedded engine, migrated."""
    made = store.client()
    migrate(made, demo_settings)
    yield made
    made.close()


@contextlib.contextmanager
def over_http(settings: Settings) -> Iterator[Settings]:
    """The same settings with clickhouse.url and a database of its own: a real server's, or the writable front's."""
    url = os.environ.get("CLICKHOUSE_URL", "")
    if url:
        server = ClickHouseSettings(url=url, database=f"t{uuid.uuid4().hex[:12]}")
        yield msgspec.structs.replace(settings, clickhouse=server)
        return
    engine_store = open_store(settings)  # the engine is this process's, as a server would be another
    front = writable_front(engine_store)
    server = ClickHouseSettings(url=f"http://127.0.0.1:{front.port}", user="writer", password="w")
    try:
        yield msgspec.structs.replace(settings, clickhouse=server)
    finally:
        front.shutdown()
        front.server_close()
        engine_store.close()


@pytest.fixture
def http_settings(demo_settings: Settings) -> Iterator[Settings]:
    """Settings with clickhouse.url."""
    with over_http(demo_settings) as served:
        yield served


def writable_front(store: Store, port: int = 0) -> Front:
    """A front that takes everything, serving in a thread; the caller shuts it down."""
    front = Front("127.0.0.1", port, Engine(store.connection_string(), store.database), User("writer", "w", writable=True))
    threading.Thread(target=front.serve_forever, daemon=True).start()
    return front


@pytest.fixture(params=["embedded", "http"])
def any_clickhouse(request: pytest.FixtureRequest) -> Iterator[tuple[Client, Settings]]:
    """(client, settings) of either kind; nothing is migrated."""
    settings: Settings = request.getfixturevalue("demo_settings" if request.param == "embedded" else "http_settings")
    opened = open_store(settings)
    made = opened.client()
    yield made, settings
    made.close()
    opened.close()

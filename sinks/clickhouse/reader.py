"""Shell: a client for reading, from whatever process: the server, the sinks' process, or the embedded engine itself."""

from __future__ import annotations

from pathlib import Path

import clickhouse_connect
import msgspec
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from ingest.contract.errors import UnavailableError
from ingest.contract.settings import Settings
from sinks.clickhouse.store import Store, locked, open_store
from sinks.contract.connection import CONNECTION_FILE, STORE_DIRECTORY, Connection, decode_connection


def connect(settings: Settings, running_only: bool = False) -> Client:
    """A client for the calling thread, to be closed by the caller (it is a context manager too).

    The server if clickhouse.url is set; else the running sinks' process; else the embedded engine is opened here for as long as
    the client lives, which keeps the sinks out: with running_only it is not. Raises UnavailableError in one line when none of
    them is to be had.
    """
    if settings.clickhouse.url:
        return _of(open_store(settings))
    client = _running_sinks(settings)
    if client is not None:
        return client
    directory = Path(settings.data_dir) / STORE_DIRECTORY
    if running_only or not directory.exists():
        raise UnavailableError("no ClickHouse to read from: start `footfall sinks`, which owns the embedded one")
    if locked(directory):
        raise UnavailableError(f"the embedded ClickHouse in {directory} is in use but does not answer yet: try again in a moment")
    return _of(open_store(settings))


def find_connection(settings: Settings) -> Connection | None:
    """Where the sinks' process serves ClickHouse's HTTP interface, as it left word; it may have ended since."""
    try:
        return decode_connection((Path(settings.data_dir) / CONNECTION_FILE).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def _running_sinks(settings: Settings) -> Client | None:
    connection = find_connection(settings)
    if connection is None:
        return None
    try:
        password = Path(connection.password_file).read_text().strip()
        return clickhouse_connect.get_client(
            host=connection.host,
            port=connection.port,
            username=connection.user,
            password=password,
            database=connection.database,
            autogenerate_session_id=False,
            connect_timeout=5,
        )
    except (ClickHouseError, OSError):
        return None  # that process has ended


def _of(store: Store) -> Client:
    """A client of a store that is closed with it: the client's own handle is what keeps an embedded engine open."""
    try:
        return store.client()
    finally:
        store.close()

"""Shell: opens ClickHouse, a server over HTTP or the embedded engine under the data directory, and makes clients for it.

The embedded engine belongs to one process at a time; all others read through the HTTP interface of the sinks' process.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from ingest.contract.errors import ConfigError, UnavailableError
from ingest.contract.settings import ClickHouseSettings, Settings
from sinks.clickhouse.errors import Remedy, remedy
from sinks.clickhouse.topology import topology_of
from sinks.contract.connection import STORE_DIRECTORY

#: Of every client. Servers since 26.2 insert asynchronously unless told not to; block deduplication loses acknowledged
#: batches when a server is killed (its log is written before the part), so duplicates are removed by the sorting key instead.
_SESSION = {"async_insert": 0, "insert_deduplicate": 0}
#: Of a cluster's: an insert returns when every shard has its rows, not when they are queued.
_CLUSTER_SESSION = _SESSION | {"distributed_foreground_insert": 1}

_MIB = 1024 * 1024


class Store:
    """One ClickHouse, with the database of the settings made sure of. A client is for one thread: make one for each."""

    def __init__(self, settings: ClickHouseSettings, directory: Path | None) -> None:
        """directory: where the embedded engine lies; None for a server. Raises UnavailableError or ConfigError."""
        self._settings = settings
        self.directory = directory
        self._options = _memory_options() if directory is not None else {}
        self._temporary = (tempfile.tempdir, os.environ.get("TMPDIR"))
        try:
            if directory is not None:
                _prepare(directory)
            #: Keeps the embedded engine open, whatever becomes of the other clients.
            self._first = self._connect(database=None)
        except BaseException:
            self._restore_temporary()
            raise
        try:
            known = self._first.query(
                "SELECT count() FROM system.databases WHERE name = {name:String}", parameters={"name": settings.database}
            )
            if known.result_rows == [(0,)]:  # asked first: a reader need not be allowed to make one
                self._first.command(f"CREATE DATABASE IF NOT EXISTS {settings.database} {topology_of(settings).on_cluster()}")
        except ClickHouseError as error:
            self.close()
            raise explained(error, settings) from error

    @property
    def embedded(self) -> bool:
        """Whether the engine runs in this process."""
        return self.directory is not None

    @property
    def database(self) -> str:
        """The database that all tables are in."""
        return self._settings.database

    def connection_string(self) -> str:
        """What chdb.connect takes for one more handle of the embedded engine."""
        if self.directory is None:
            raise ConfigError("clickhouse.url is set: there is no embedded engine in this process")
        return os.path.realpath(self.directory) + "?" + "&".join(f"{key}={value}" for key, value in self._options.items())

    def client(self) -> Client:
        """A new client, for the calling thread only. Raises UnavailableError where ClickHouse is away."""
        return self._connect(self._settings.database)

    def close(self) -> None:
        """Closes the engine (embedded) or the connection, once all other clients are closed."""
        self._first.close()
        self._restore_temporary()

    def _restore_temporary(self) -> None:
        if self.directory is not None:
            tempfile.tempdir, before = self._temporary
            if before is None:
                os.environ.pop("TMPDIR", None)
            else:
                os.environ["TMPDIR"] = before

    def _connect(self, database: str | None) -> Client:
        settings = self._settings
        try:
            if self.directory is not None:
                return clickhouse_connect.get_client(
                    interface="chdb",
                    path=str(self.directory),
                    database=database,
                    settings=dict(_SESSION),
                    chdb_options=dict(self._options),
                )
            return clickhouse_connect.get_client(
                **server_options(settings),
                database=database or "default",
                settings=dict(_CLUSTER_SESSION if settings.cluster else _SESSION),
                autogenerate_session_id=False,
                connect_timeout=10,
                send_receive_timeout=300,
            )
        except (ClickHouseError, OSError) as error:
            raise explained(error, settings, self.directory) from error


def open_store(settings: Settings, patience_s: float = 0.0) -> Store:
    """The store of the settings. Raises UnavailableError (away, or in use by another process) or ConfigError, in one line.

    patience_s: how long to wait for an embedded engine that another process has open, as a reader does for a moment.
    """
    if settings.clickhouse.url:
        return Store(settings.clickhouse, None)
    directory = Path(settings.data_dir) / STORE_DIRECTORY
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return Store(settings.clickhouse, directory)
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def server_options(settings: ClickHouseSettings) -> dict[str, Any]:
    """get_client's arguments for the server at clickhouse.url."""
    url = urlsplit(settings.url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError('clickhouse.url must look like "http://host:8123" or "https://host:8443"')
    return {
        "host": url.hostname,
        "port": url.port or (8443 if url.scheme == "https" else 8123),
        "secure": url.scheme == "https",
        "username": settings.user,
        "password": settings.password,
    }


def judge(error: BaseException) -> Remedy:
    """What helps against an error of clickhouse-connect, or of the system below it."""
    failed = isinstance(error, OperationalError | OSError)
    return remedy(getattr(error, "code", None), str(error), failed)


def first_line(error: BaseException) -> str:
    """The error's first line, without the rows that ClickHouse quotes in those after it."""
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__)[:500]


def explained(error: Exception, settings: ClickHouseSettings, directory: Path | None = None) -> Exception:
    """The error as one of Footfall's, in one line that says what to do."""
    words = first_line(error)
    if directory is not None:
        return UnavailableError(f"the embedded ClickHouse in {directory} cannot be opened: {words}")
    code = getattr(error, "code", None)
    if code in (192, 193, 194, 516):
        return ConfigError(f"ClickHouse at {settings.url} refuses user {settings.user!r}: check clickhouse.user and password")
    if judge(error) is Remedy.RETRY:
        return UnavailableError(f"no ClickHouse answers at {settings.url}: start it, or correct clickhouse.url ({words})")
    return ConfigError(f"ClickHouse at {settings.url}: {words}")


def locked(directory: Path) -> bool:
    """Whether another process has the embedded engine open."""
    try:
        descriptor = os.open(directory / "status", os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _prepare(directory: Path) -> None:
    """Makes the directory, private to this user; refuses where another process has it (the engine itself would fill stderr)."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"{directory} cannot be made ({error.strerror}): set data_dir to where you may write") from error
    if locked(directory):
        raise UnavailableError(
            f"the embedded ClickHouse in {directory} is in use by another process (footfall sinks?): stop that one first"
        )
    # Inserts pass through temporary files: they hold what users did, so they belong beside the store, not into /tmp.
    scratch = directory.with_name(directory.name + "-tmp")
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed process left
    scratch.mkdir(mode=0o700, exist_ok=True)
    tempfile.tempdir = str(scratch.resolve())
    os.environ["TMPDIR"] = tempfile.tempdir


def _memory_options() -> dict[str, int]:
    """Caps for the engine: its own defaults are 90 % of the machine's memory and 5 GB of mark cache."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "max_server_memory_usage": max(1024 * _MIB, min(memory // 4, 4096 * _MIB)),
        "mark_cache_size": 128 * _MIB,
        "uncompressed_cache_size": 64 * _MIB,
    }

"""Shell: opens the reader's door with a password of its own, and leaves word where it is."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from ingest.contract.settings import Settings
from sinks.clickhouse.store import Store
from sinks.contract.connection import CONNECTION_FILE, PASSWORD_FILE, READER, Connection, encode_connection
from sinks.front.engine import Engine
from sinks.front.server import Front, User


def open_front(settings: Settings, store: Store) -> Front:
    """The reader's door on sinks.host:clickhouse_port. Raises UnavailableError when the port is in use.

    The password is made once and kept, readable by this user only, so that Grafana need not be told again after a restart:
    everybody on the machine reaches a loopback port, and what users did is nobody else's business.
    """
    directory = Path(settings.data_dir)
    password_file = directory / PASSWORD_FILE
    password = _password(password_file)
    front = Front(
        settings.sinks.host,
        settings.sinks.clickhouse_port,
        Engine(store.connection_string(), store.database),
        User(READER, password),
    )
    connection = Connection(
        host=settings.sinks.host,
        port=front.port,
        user=READER,
        database=store.database,
        password_file=str(password_file.resolve()),
        pid=os.getpid(),
    )
    _write_private(directory / CONNECTION_FILE, encode_connection(connection))
    return front


def withdraw(settings: Settings) -> None:
    """Takes the word back: nobody serves here any more."""
    with contextlib.suppress(FileNotFoundError):
        (Path(settings.data_dir) / CONNECTION_FILE).unlink()


def _password(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        known = path.read_text().strip()
        if known:
            return known
    password = secrets.token_urlsafe(24)
    _write_private(path, password.encode() + b"\n")
    return password


def _write_private(path: Path, data: bytes) -> None:
    """Writes a file that only this user may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)

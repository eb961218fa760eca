"""Where readers (verify, status, Grafana) find ClickHouse in embedded mode: a small file that the sinks' process writes."""

from __future__ import annotations

import msgspec

#: Under `data_dir`. The password's file is readable by its owner only.
CONNECTION_FILE = "run/clickhouse.json"
PASSWORD_FILE = "run/clickhouse_reader"  # noqa: S105 - a file's name
STORE_DIRECTORY = "clickhouse"
READER = "reader"


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """The ClickHouse HTTP interface of a running sinks' process. `password_file` is an absolute path."""

    host: str
    port: int
    user: str
    database: str
    password_file: str
    pid: int


def encode_connection(connection: Connection) -> bytes:
    """The file's content."""
    return msgspec.json.encode(connection)


def decode_connection(data: bytes) -> Connection:
    """Reads the file's content; msgspec.DecodeError where it is none."""
    return msgspec.json.decode(data, type=Connection)

"""Answers of ClickHouse's HTTP interface: status codes, content types, error texts, and two that are put together by hand."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

#: Formats whose blocks, one after the other, are the whole answer: these are streamed.
STREAMED = frozenset({"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"})

_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "Parquet": "application/octet-stream",
}
_STATUS = {
    **dict.fromkeys((192, 193, 497, 516), 403),
    194: 401,
    **dict.fromkeys((6, 27, 38, 41, 62, 117, 400, 472), 400),
    **dict.fromkeys((46, 47, 50, 60, 81, 107, 115), 404),
    159: 408,
    48: 501,
}
_CODE = re.compile(r"Code:\s*(\d+)")


class FrontError(Exception):
    """A refusal of our own, with ClickHouse's error code and the HTTP status."""

    def __init__(self, code: int, message: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def content_type(output_format: str) -> str:
    """Content-Type of an output format."""
    return _TYPES.get(output_format, "text/plain; charset=UTF-8")


def error_reply(error: BaseException, version: str) -> tuple[int, int, str]:
    """(HTTP status, ClickHouse code, text) for anything that went wrong with a query."""
    message = str(error).strip()
    if isinstance(error, FrontError):
        return error.status, error.code, f"Code: {error.code}. DB::Exception: {message} (version {version} (chdb))"
    start = message.find("Code: ")
    message = message[start:] if start >= 0 else message
    match = _CODE.search(message)
    code = int(match[1]) if match else 1002
    if "(version " not in message:
        message = f"{message} (version {version} (chdb))"
    return _STATUS.get(code, 500), code, message


def stream_error(tag: str, message: str) -> bytes:
    """What follows the blocks when a query fails after the status was sent."""
    text = message.encode()
    return (
        b"\r\n__exception__\r\n" + tag.encode() + b"\r\n" + text + b"\n" + b"%d " % (len(text) + 1) + tag.encode()
        + b"\r\n__exception__\r\n"
    )  # fmt: skip


def native_header(columns: Sequence[tuple[str, str]]) -> bytes:
    """A Native block without rows, so that an empty result has its columns: (name, type) each."""
    block = _varint(len(columns)) + _varint(0)
    for name, kind in columns:
        block += _string(name) + _string(kind)
    return block


def hello(version: str, timezone: str, revision: int) -> bytes:
    """The answer to clickhouse-go's (Grafana's) first query.

    It decodes this one at its own revision, and all others at the revision told here: 0, so that plain Native blocks decode.
    """
    block = b""
    if revision > 0:
        block += _varint(1) + b"\0" + _varint(2) + struct.pack("<i", -1) + _varint(0)
    columns = (
        ("displayName()", "String", _string("chdb")),
        ("version()", "String", _string(version)),
        ("revision()", "UInt32", struct.pack("<I", 0)),
        ("timezone()", "String", _string(timezone)),
    )
    block += _varint(len(columns)) + _varint(1)
    for name, kind, value in columns:
        block += _string(name) + _string(kind) + (b"\0" if revision >= 54454 else b"") + value
    return block


def _varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _string(text: str) -> bytes:
    raw = text.encode()
    return _varint(len(raw)) + raw

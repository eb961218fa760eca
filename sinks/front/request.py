"""Reading a request of ClickHouse's HTTP interface: parameters from URL and form, the statement, and data behind an INSERT."""

from __future__ import annotations

import binascii
import email.parser
import email.policy
import gzip
import io
import re
import zlib
from base64 import b64decode
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from sinks.front.replies import FrontError

#: URL parameters that are none of the engine's settings.
_RESERVED = frozenset(
    {
        "query",
        "database",
        "default_format",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "user",
        "password",
        "quota_key",
        "compress",
        "decompress",
        "stacktrace",
        "role",
        "buffer_size",
        "wait_end_of_query",
        "client_protocol_version",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "enable_http_compression",
        "http_zlib_compression_level",
        "add_http_cors_header",
    }
)

_FLAGS = re.IGNORECASE | re.DOTALL
_INSERT = re.compile(r"\A(\s*(?:--[^\n]*\n\s*)*INSERT\s+INTO\s.*?)\s+FORMAT\s+(\w+)[ \t]*(?:;?[ \t]*\r?\n|;|\Z|[ \t]+)", _FLAGS)
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*\Z", re.I)


class Request(NamedTuple):
    """One query.

    sql         the statement; for an INSERT with data, up to FORMAT
    data        what an INSERT is to read, in data_format; None if it is none
    parameters  values of {name:Type}; settings: of the engine, for this query
    formats     output format where the statement names none; compress: whether the answer may be
    """

    sql: str
    data: bytes | None
    data_format: str
    parameters: dict[str, str]
    settings: dict[str, str]
    database: str
    default_format: str
    query_id: str
    compress: bool
    protocol_version: int


def read_request(query_string: str, content_type: str, body: bytes, header_database: str) -> Request:
    """The request in a URL's query string and a body that is already decompressed. Raises FrontError."""
    given = dict(parse_qsl(query_string, keep_blank_values=True))
    if content_type.startswith("multipart/form-data"):
        given |= _form_fields(content_type, body)
        body = b""
    text = given.get("query", "")
    insert = _INSERT.match(text)
    data: bytes | None = None
    data_format = ""
    if insert:
        data = text[insert.end() :].encode() + body
    elif text:
        text = text if not body else text + "\n" + _text(body)
    else:
        head = body[:65536].decode("utf-8", "replace")
        insert = _INSERT.match(head)
        if insert:
            data = body[len(head[: insert.end()].encode()) :]
        else:
            text = _text(body)
    if insert:
        text, data_format = insert[1], insert[2]
    return Request(
        sql=text,
        data=data,
        data_format=data_format,
        parameters={key[6:]: value for key, value in given.items() if key.startswith("param_")},
        settings={key: value for key, value in given.items() if key not in _RESERVED and not key.startswith("param_")},
        database=given.get("database") or header_database,
        default_format=given.get("default_format") or "TabSeparated",
        query_id=given.get("query_id", ""),
        compress=given.get("enable_http_compression") in ("1", "true"),
        protocol_version=int(given.get("client_protocol_version") or 0),
    )


def format_of(sql: str, default: str) -> str:
    """The output format that a statement ends with, or the default."""
    match = _FORMAT.search(sql)
    return match[1] if match else default


def credentials(headers: Mapping[str, str], query_string: str) -> tuple[str, str]:
    """(user, password) from Basic authorization, ClickHouse's headers, or the URL."""
    authorization = headers.get("Authorization", "")
    if authorization.startswith("Basic "):
        try:
            user, _, password = b64decode(authorization[6:], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user, password
    if headers.get("X-ClickHouse-User") is not None:
        return headers["X-ClickHouse-User"], headers.get("X-ClickHouse-Key", "")
    given = dict(parse_qsl(query_string, keep_blank_values=True))
    return given.get("user", "default"), given.get("password", "")


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """The body decompressed, at most limit bytes. Raises FrontError."""
    try:
        if encoding in ("", "identity"):
            out = body
        elif encoding == "gzip":
            with gzip.GzipFile(fileobj=io.BytesIO(body)) as stream:
                out = stream.read(limit + 1)
        elif encoding == "deflate":
            out = zlib.decompressobj().decompress(body, limit + 1)
        elif encoding == "lz4":
            import lz4.frame  # type: ignore[import-untyped]

            out = lz4.frame.LZ4FrameDecompressor().decompress(body, max_length=limit + 1)
        else:
            raise FrontError(89, f"Unknown compression method: {encoding}", 400)
    except (OSError, EOFError, zlib.error, RuntimeError) as error:
        raise FrontError(89, f"the {encoding} body cannot be read: {error}", 400) from error
    if len(out) > limit:
        raise FrontError(307, f"the request is larger than {limit} bytes", 413)
    return out


def _form_fields(content_type: str, body: bytes) -> dict[str, str]:
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n" + body
    )
    fields = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if part.get_filename() or not isinstance(name, str):
            raise FrontError(48, "external data is not supported here", 501)
        payload = part.get_payload(decode=True)
        fields[name] = payload.decode() if isinstance(payload, bytes) else ""
    return fields


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise FrontError(62, "the statement is not UTF-8", 400) from error

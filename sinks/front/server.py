"""Shell: the HTTP server that speaks ClickHouse's HTTP interface: a thread a connection, a bounded number of queries at once."""

from __future__ import annotations

import contextlib
import gzip
import hmac
import json
import re
import tempfile
import threading
import time
import uuid
import zlib
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sinks.front.engine import Engine, columns_of
from sinks.front.replies import STREAMED, FrontError, content_type, error_reply, hello, native_header, stream_error
from sinks.front.request import Request, credentials, format_of, inflate, read_request
from sinks.listener import Handler, Listener

_READER_BODY = 2 * 1024 * 1024
_WRITER_BODY = 256 * 1024 * 1024
_QUERIES_AT_ONCE = 8
_QUEUE_S = 30.0
_HELLO = re.compile(r"\s*SELECT\s+displayName\(\),\s*version\(\),\s*revision\(\),\s*timezone\(\)", re.I)


class User(NamedTuple):
    """Who may ask. writable is for tests only: it takes away all guards."""

    name: str
    password: str
    writable: bool = False


class Front(Listener):
    """The server."""

    def __init__(self, host: str, port: int, engine: Engine, user: User) -> None:
        """Raises UnavailableError when the port is in use."""
        self.engine = engine
        self.user = user
        self.slots = threading.BoundedSemaphore(_QUERIES_AT_ONCE)
        super().__init__(host, port, _Handler, "ClickHouse's HTTP interface", "sinks.clickhouse_port")


class _Handler(Handler):
    server: Front
    server_version = "ClickHouse"
    timeout = 120
    wbufsize = 1 << 16

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        url = urlsplit(self.path)
        started = time.perf_counter()
        try:
            writable = self.server.user.writable
            body = self._body(_WRITER_BODY if writable else _READER_BODY)
            if url.path in ("/ping", "/replicas_status") or (url.path == "/" and not url.query and not body):
                self._reply(200, b"Ok.\n", [("Content-Type", "text/html; charset=UTF-8")])
                return
            self._authenticate(url.query)
            request = read_request(
                url.query, self.headers.get("Content-Type", ""), body, self.headers.get("X-ClickHouse-Database", "")
            )
        except (FrontError, ValueError) as error:
            self._refuse(error, "")
            return
        if not self.server.slots.acquire(timeout=_QUEUE_S):
            self._refuse(FrontError(202, "Too many simultaneous queries", 503), request.query_id)
            return
        try:
            self._run(request, started)
        finally:
            self.server.slots.release()

    def _run(self, request: Request, started: float) -> None:
        engine = self.server.engine
        if _HELLO.match(request.sql) and request.protocol_version:
            self._answer(hello(engine.version, engine.timezone, request.protocol_version), "Native", request, {}, started)
            return
        try:
            with engine.prepared(request, self.server.user.writable) as (handle, sql):
                if request.data is not None and request.data.strip():
                    written = _insert(handle, request)
                    self._answer(b"", "", request, written, started)
                    return
                output_format = format_of(sql, request.default_format)
                if output_format in STREAMED and re.match(r"\s*\(*\s*(SELECT|WITH)\b", sql, re.I):
                    self._stream(handle, sql, output_format, request)
                    return
                result = handle.query(sql, output_format, params=request.parameters)
                out = bytes(result.bytes() or b"")
                read = {"read_rows": result.rows_read(), "read_bytes": result.bytes_read()}
            self._answer(out, output_format, request, read, started)
        except (RuntimeError, FrontError, ValueError) as error:
            self._refuse(error, request.query_id)

    def _stream(self, handle: Any, sql: str, output_format: str, request: Request) -> None:
        blocks = handle.send_query(sql, output_format, params=request.parameters)
        try:
            first = next(blocks, None)  # an error before the first block still gets a status of its own
            if first is None and output_format == "Native":
                head = native_header(columns_of(handle, _without_format(sql), request.parameters))
            else:
                head = bytes(first.bytes()) if first is not None else b""
            tag = uuid.uuid4().hex[:16]
            packer = zlib.compressobj(1, zlib.DEFLATED, 31) if self._gzip(request) else None
            self.send_response(200)
            for key, value in self._headers(request.query_id):
                self.send_header(key, value)
            self.send_header("X-ClickHouse-Format", output_format)
            self.send_header("Content-Type", content_type(output_format))
            self.send_header("X-ClickHouse-Exception-Tag", tag)
            self.send_header("X-ClickHouse-Summary", _summary({}, 0.0))
            self.send_header("Transfer-Encoding", "chunked")
            if packer is not None:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self._chunk(packer.compress(head) if packer else head)
            try:
                for block in blocks:
                    data = bytes(block.bytes())
                    self._chunk(packer.compress(data) if packer else data)
            except RuntimeError as error:
                tail = stream_error(tag, error_reply(error, self.server.engine.version)[2])
                self._chunk(packer.compress(tail) if packer else tail)
            if packer is not None:
                self._chunk(packer.flush())
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()
        except OSError:
            self.close_connection = True
        finally:
            with contextlib.suppress(RuntimeError):
                blocks.close()

    def _chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n")

    def _answer(self, out: bytes, output_format: str, request: Request, counts: dict[str, int], started: float) -> None:
        headers = [*self._headers(request.query_id), ("X-ClickHouse-Summary", _summary(counts, time.perf_counter() - started))]
        if output_format and (out or request.data is None):
            headers += [("X-ClickHouse-Format", output_format), ("Content-Type", content_type(output_format))]
        if out and self._gzip(request):
            out = gzip.compress(out, 1)
            headers.append(("Content-Encoding", "gzip"))
        self._reply(200, out, headers)

    def _refuse(self, error: BaseException, query_id: str) -> None:
        status, code, text = error_reply(error, self.server.engine.version)
        self._reply(
            status,
            text.encode() + b"\n",
            [*self._headers(query_id), ("X-ClickHouse-Exception-Code", str(code)), ("Content-Type", "text/plain; charset=UTF-8")],
        )

    def _reply(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            for key, value in headers:
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    def _headers(self, query_id: str) -> list[tuple[str, str]]:
        query_id = query_id if re.fullmatch(r"[\w.-]{1,128}", query_id) else str(uuid.uuid4())
        return [
            ("X-ClickHouse-Server-Display-Name", "chdb"),
            ("X-ClickHouse-Query-Id", query_id),
            ("X-ClickHouse-Timezone", self.server.engine.timezone),
        ]

    def _gzip(self, request: Request) -> bool:
        return request.compress and "gzip" in self.headers.get("Accept-Encoding", "")

    def _authenticate(self, query_string: str) -> None:
        user = self.server.user
        name, password = credentials(dict(self.headers.items()), query_string)
        known = hmac.compare_digest(password.encode(), user.password.encode())
        if name != user.name or not known:
            raise FrontError(516, "Authentication failed: password is incorrect, or there is no user with such name", 403)

    def _body(self, limit: int) -> bytes:
        """The request's body, decompressed; what is too large is not read, and the connection ends with the answer."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            raw = self._chunked(limit)
        else:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 <= length <= limit:
                self.close_connection = True
                raise FrontError(307, f"the request is larger than {limit} bytes", 413)
            raw = self.rfile.read(length)
        return inflate(raw, self.headers.get("Content-Encoding", "").lower(), limit)

    def _chunked(self, limit: int) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            size = int(self.rfile.readline(64).split(b";")[0], 16)
            total += size
            if size < 0 or total > limit:
                self.close_connection = True
                raise FrontError(307, f"the request is larger than {limit} bytes", 413)
            if size == 0:
                while self.rfile.readline(8192).strip():
                    pass
                return b"".join(parts)
            parts.append(self.rfile.read(size))
            self.rfile.readline(8)


def _insert(handle: Any, request: Request) -> dict[str, int]:
    """Inserts by way of a file: the engine's own stream of inserts says that rows were written when the disk was full."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(request.data or b"")
        file.flush()
        path = file.name.replace("\\", "\\\\").replace("'", "\\'")
        done = handle.query(f"{request.sql} FROM INFILE '{path}' FORMAT {request.data_format}")
    rows = done.rows_read()
    return {"written_rows": rows, "written_bytes": done.bytes_read(), "read_rows": rows}


def _without_format(sql: str) -> str:
    return re.sub(r"\bFORMAT\s+\w+\s*;?\s*\Z", "", sql, flags=re.I)


def _summary(counts: dict[str, int], seconds: float) -> str:
    summary = dict.fromkeys(
        ("read_rows", "read_bytes", "written_rows", "written_bytes", "total_rows_to_read", "result_rows", "result_bytes"), 0
    )
    summary |= counts | {"elapsed_ns": int(seconds * 1e9)}
    return json.dumps({key: str(value) for key, value in summary.items()})

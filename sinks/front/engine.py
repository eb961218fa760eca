"""Shell: runs a request on a handle of the embedded engine, which is opened for it and closed after it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import chdb

from sinks.front.guard import ALLOWED_SETTINGS, IGNORED_SETTINGS, LIMITS, forbidden_functions, objection
from sinks.front.replies import FrontError
from sinks.front.request import Request

_NAME = re.compile(r"\w+")
_READONLY = 164


class Engine:
    """The embedded engine as readers see it. Handles cost 0.2 ms; each has settings of its own, so requests can't mix."""

    def __init__(self, connection_string: str, database: str) -> None:
        self._connection_string = connection_string
        self._database = database
        with self._handle() as handle:
            version, timezone = _lines(handle.query("SELECT version(), timezone()", "TabSeparated"))[0].split("\t")
            names = _lines(handle.query("SELECT name FROM system.table_functions", "TabSeparated"))
        self.version: str = version
        self.timezone: str = timezone
        self._forbidden = forbidden_functions(names)

    @contextlib.contextmanager
    def prepared(self, request: Request, writable: bool) -> Iterator[tuple[Any, str]]:
        """(handle, statement) for a request: settings applied, a reader's statement checked and limited. Raises FrontError."""
        with self._handle() as handle:
            handle.query("SET implicit_select = 0")
            handle.query(f"USE {_quoted(request.database or self._database, '`')}")
            for name, value in request.settings.items():
                if not _NAME.fullmatch(name):
                    raise FrontError(115, f"Unknown setting {name[:64]!r}", 404)
                if writable or name in ALLOWED_SETTINGS:
                    handle.query(f"SET {name} = {_quoted(value, chr(39))}")
                elif name not in IGNORED_SETTINGS and name not in LIMITS:
                    raise FrontError(_READONLY, f"Cannot modify {name!r} setting in readonly mode", 500)
            if writable:
                yield handle, request.sql
                return
            sql = self._checked(handle, request)
            for name, value in LIMITS.items():
                handle.query(f"SET {name} = {value}")
            handle.query("SET readonly = 1")
            yield handle, sql

    def _checked(self, handle: Any, request: Request) -> str:
        if request.data is not None:
            raise FrontError(_READONLY, "only reading is allowed here, not INSERT", 500)
        result = handle.query(f"SELECT formatQuerySingleLine({_quoted(request.sql, chr(39))})", "RawBLOB")
        formatted = bytes(result.bytes()).decode()
        refusal = objection(formatted, self._forbidden)
        if refusal:
            raise FrontError(_READONLY, refusal, 500)
        return formatted

    @contextlib.contextmanager
    def _handle(self) -> Iterator[Any]:
        handle = chdb.connect(self._connection_string)
        try:
            yield handle
        finally:
            handle.close()


def columns_of(handle: Any, sql: str, parameters: dict[str, str]) -> list[tuple[str, str]]:
    """(name, type) of a query's columns; empty for statements that have none."""
    try:
        rows = _lines(handle.query(f"DESCRIBE TABLE ({sql})", "TabSeparatedRaw", params=parameters))
    except RuntimeError:
        return []
    return [(fields[0], fields[1]) for fields in (row.split("\t") for row in rows) if len(fields) > 1]


def _lines(result: Any) -> list[str]:
    return bytes(result.bytes() or b"").decode().splitlines()


def _quoted(text: str, quote: str) -> str:
    return quote + text.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote

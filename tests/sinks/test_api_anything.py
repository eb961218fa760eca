"""The API asked for anything at all: it answers or refuses, within bounds, and goes on."""

from __future__ import annotations

import contextlib
import socket
from urllib.parse import quote, urlencode

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sinks.api.errors import Problem
from sinks.api.parameters import Param
from sinks.api.routes import routes
from tests.sinks.console_page import PLAN
from tests.sinks.console_rig import Rig

pytestmark = pytest.mark.clickhouse

ROUTES = routes(PLAN)

_TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", "*", "'", "\\", "' OR 1=1 --", "{x:String}", "\N{SNOWMAN}", "-1", "99999999999999999999", "2026-11-21"]),
    st.sampled_from(["harbor", "harbor,all", "active_users", "hour", "5m", "csv", "W10", "WzEsImEiLCJiIl0", "1", "10"]),
)
_NAMES = st.one_of(st.sampled_from(sorted({param.name for route in ROUTES for param in route.params})), st.text(max_size=8))


def _likely(param: Param) -> st.SearchStrategy[str]:
    """Mostly what it takes, sometimes anything."""
    good: st.SearchStrategy[str]
    if param.kind == "choice":
        good = st.sampled_from(param.choices)
    elif param.kind == "integer":
        good = st.integers(param.least, min(param.most, 200)).map(str)
    elif param.kind == "date":
        good = st.dates().map(str)
    else:
        good = st.text(max_size=12)
    return st.one_of(good, good, _TEXTS)


_QUERIES = st.one_of(
    *(
        st.fixed_dictionaries(
            {param.name: _likely(param) for param in route.params if param.required},
            optional={param.name: _likely(param) for param in route.params if not param.required},
        ).map(lambda values, path=route.path: (path, list(values.items())))  # type: ignore[misc]
        for route in ROUTES
        if not route.stream
    ),
    st.tuples(st.sampled_from([route.path for route in ROUTES]), st.lists(st.tuples(_NAMES, _TEXTS), max_size=5)),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=_QUERIES)
def test_whatever_is_asked_it_is_answered_or_refused_and_bounded(rig: Rig, asked: tuple[str, list[tuple[str, str]]]) -> None:
    path, values = asked
    if path.endswith("/live") and not values:
        return
    query = urlencode([(name.encode(errors="replace"), value.encode(errors="replace")) for name, value in values])
    reply = rig.get(f"{path}?{query}")
    assert reply.status in (200, 400), (asked, reply)
    if reply.status == 400:
        assert msgspec.json.decode(reply.body, type=Problem).message
    elif reply.headers["content-type"] == "application/json":
        assert len(reply.json().get("rows", [])) <= 10_000
    assert len(reply.body) < 20_000_000


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.text(max_size=40))
def test_any_path_is_a_page_or_a_404(rig: Rig, path: str) -> None:
    assert rig.get("/" + quote(path.encode(errors="replace"))).status in (200, 404)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=60).map(lambda some: b"GET /" + some + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        st.sampled_from([b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET //[ HTTP/1.0\r\nHost: localhost\r\n\r\n"]),
    )
)
def test_bytes_that_are_no_request_end_no_more_than_their_connection(rig: Rig, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", rig.console.port), timeout=10) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answer += part
    assert b" 500 " not in answer.split(b"\r\n")[0]
    assert rig.get("/api/v1/catalogue").status == 200

"""The door as clients meet it, over real sockets: too much, too slow, from elsewhere; and settings read anew."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from ingest.collector.main import allow_files
from tests.ingest.conftest import APPS, settings_on
from tests.ingest.running import RunningCollector, ask, events_in
from tests.ingest.test_collector_failures import Load
from tests.ingest.wire import collector_process

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

KEY = {"X-Write-Key": "SA_TOKEN"}
EVENT = {"event": "e", "user_id": "1"}
HEAD = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Write-Key: SA_TOKEN\r\n"
CUT = 'footfall_collector_connections_cut_total{why="%s"}'
BY_CLIENT = 'footfall_collector_unavailable_by_client_total{why="%s"}'


@pytest.fixture(scope="module")
def door(broker: LocalBroker) -> Iterator[RunningCollector]:
    """A collector with tight limits."""
    settings = settings_on(broker.bootstrap, "door")
    create_topics(settings)
    collector = msgspec.structs.replace(
        settings.collector,
        head_timeout_ms=2500,
        idle_timeout_ms=5000,
        body_timeout_ms=3000,
        body_bytes_per_s=1_000_000,
        max_connections=20,
        max_connections_per_address=15,
        key_events_per_s=0.01,
        key_burst_events=2000,
        address_requests_per_s=0.01,
        address_burst_requests=3,
        trusted_proxies=["127.0.0.1"],
        cors_origins=["https://www.bank.example"],
    )
    with RunningCollector(msgspec.structs.replace(settings, collector=collector)) as running:
        running.wait_until_ready()
        yield running


class From:
    """Requests of a client behind a proxy."""

    def __init__(self, collector: RunningCollector, address: str) -> None:
        self._collector = collector
        self._headers = KEY | {"X-Forwarded-For": f"6.6.6.6, {address}"}

    def post(self, path: str, body: object, **headers: str) -> tuple[int, str, str]:
        """Status, code and Retry-After."""
        reply = self._collector.ask(path, body, self._headers | headers)
        return reply.status, reply.json().get("code", ""), reply.headers.get("Retry-After", "")


def eventually(check: Callable[[], bool]) -> None:
    until = time.monotonic() + 180
    while not check():
        assert time.monotonic() < until
        time.sleep(0.05)


def connect(collector: RunningCollector, address: str = "127.0.0.1") -> socket.socket:
    """A connection that comes from an address: the first one is a trusted proxy's."""
    return socket.create_connection(("127.0.0.1", collector.port), 40, (address, 0))


def ends(client: socket.socket) -> bytes:
    """What is still sent until the other side ends the connection."""
    found = b""
    try:
        while part := client.recv(65536):
            found += part
    except ConnectionError:
        pass
    return found


def test_an_address_that_sends_too_often_waits_and_no_other_does(door: RunningCollector) -> None:
    busy = From(door, "198.51.100.1")
    assert [busy.post("/v1/events", EVENT)[0] for _ in range(3)] == [200, 200, 200]
    status, code, wait = busy.post("/v1/events", EVENT)
    assert (status, code) == (429, "limited")
    assert 1 <= int(wait) <= 100
    status, code, wait = busy.post("/v1/batch", {"batch": []})
    assert (status, code, wait != "") == (503, "limited", True), "a 429 would make SDKs drop what they hold"
    assert From(door, "198.51.100.2").post("/v1/events", EVENT)[0] == 200
    assert door.metric('footfall_collector_limited_total{by="address"}') == 2
    assert door.metric(BY_CLIENT % "limited") == 1, "of the two, the one that was answered 503"


def test_a_key_that_sends_too_much_waits_and_no_other_does(door: RunningCollector) -> None:
    big = {"batch": [{"type": "track", "event": "e", "userId": str(number)} for number in range(999)]}
    basic = {"X-Write-Key": "tk3"}
    before = len(door.events())
    statuses = [From(door, f"2a00:1:1:{number}::1").post("/v1/batch", big, **basic)[0] for number in range(3)]
    assert statuses == [200, 200, 503]
    assert len(door.events()) == before + 2 * 999
    assert From(door, "2a00:1:2:1::1").post("/v1/events", EVENT, **basic)[0] == 200
    assert From(door, "2a00:1:2:2::1").post("/v1/events", [EVENT] * 50, **basic)[:2] == (429, "limited")
    assert From(door, "2a00:1:2:3::1").post("/v1/events", EVENT)[0] == 200
    assert door.metric('footfall_collector_limited_total{by="key"}') == 2


def test_a_foreign_page_gets_no_leave_and_what_it_sends_all_the_same_is_set_aside(door: RunningCollector) -> None:
    evil, good = "https://evil.example", "https://www.bank.example"
    for origin in (evil, good):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        reply = door.ask("/v1/t", None, asked, "OPTIONS")
        assert (reply.status, reply.headers["Vary"]) == (204, "Origin")
        assert reply.headers.get("Access-Control-Allow-Origin") == (good if origin == good else None)
    assert From(door, "198.51.100.11").post("/v1/events", EVENT, Origin=good)[0] == 200
    assert From(door, "198.51.100.12").post("/v1/events", EVENT, Origin=evil)[:2] == (403, "bad_origin")
    call = {"event": "from evil", "userId": "1"}
    assert From(door, "198.51.100.13").post("/v1/t", call, Origin=evil)[0] == 200
    (kept,) = [one for one in door.rejected() if one.reason == "bad_origin"]
    assert json.loads(kept.payload) == call
    assert evil in kept.detail


def test_a_head_that_drips_in_is_cut(door: RunningCollector) -> None:
    before = door.metric(CUT % "slow_head")
    with connect(door) as slow:
        slow.settimeout(0.1)
        drips = iter(b"GET /sa?data=" + b"x" * 1000)
        ended = False
        while not ended:
            try:
                slow.sendall(bytes([next(drips)]))
                ended = slow.recv(10) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                ended = True
    assert door.metric(CUT % "slow_head") == before + 1


def test_a_second_request_on_the_same_connection_may_not_drip_either(door: RunningCollector) -> None:
    before = door.metric(CUT % "slow_head")
    with connect(door) as slow:
        slow.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert slow.recv(1000).startswith(b"HTTP/1.1 200")
        slow.sendall(b"GET /heal")
        assert ends(slow) == b""
    assert door.metric(CUT % "slow_head") == before + 1


def test_a_body_that_does_not_come_is_answered_503_and_its_room_is_free_again(door: RunningCollector) -> None:
    before = door.metric(CUT % "slow_body")
    with connect(door) as slow:
        slow.sendall(HEAD + b"X-Forwarded-For: 198.51.100.21\r\nContent-Length: 100000\r\n\r\n" + b" " * 50_000)
        answer = ends(slow)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"too slowly" in answer
    assert b"retry-after: 2" in answer.lower()
    assert door.metric(CUT % "slow_body") == before + 1
    assert door.metric(BY_CLIENT % "slow_body") == before + 1
    assert door.metric("footfall_collector_in_flight_bytes") == 0


def test_a_body_that_is_cut_short_is_the_clients_own_doing(door: RunningCollector) -> None:
    with connect(door) as client:
        client.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n[")
    eventually(lambda: door.metric(BY_CLIENT % "cut_body") == 1)


def test_an_idle_connection_is_closed(door: RunningCollector) -> None:
    with connect(door) as silent:
        assert ends(silent) == b""


def test_connections_are_bounded_and_room_comes_back(door: RunningCollector) -> None:
    count = "footfall_collector_connections"
    for address, room, why in (("127.0.0.2", 15, "too_many_of_one_address"), ("127.0.0.1", 20, "too_many")):
        eventually(lambda: door.metric(count) == 0)
        many = [connect(door, address) for _ in range(room + 1)]
        try:
            answer = ends(many[-1])
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert answer.endswith(b'{"code":"unavailable","message":"too many connections"}')
            assert door.metric(CUT % why) == 1, "a proxy has the connections of many"
        finally:
            for one in many:
                one.close()
    eventually(lambda: door.metric(count) == 0)
    assert door.ask("/health/live").status == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /sa?data=" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /sa HTTP/1.1\r\nHost: x\r\nCookie: " + b"x" * 9_000 + b"\r\n\r\n",
        b"GET /sa HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100 + b"\r\n",
        b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST /v1/batch HTTP/1.1\r\nHost : x\r\nContent-Length : 3\r\n\r\nabc",
        b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
        b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nX: a\n b\r\nContent-Length: 0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_heads_beyond_the_limits_or_of_two_minds_end_the_connection(door: RunningCollector, head: bytes) -> None:
    """What two servers could read in two ways is not read at all: nothing can be smuggled behind it."""
    with connect(door) as client:
        client.sendall(head + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = ends(client)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert answer.count(b"HTTP/1.") == 1, "what came behind it was read as a request"
    assert {"code", "message"} <= json.loads(answer.partition(b"\r\n\r\n")[2]).keys()


def test_as_many_files_may_be_open_as_connections_need() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
        allow_files(400)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (400, hard)
        allow_files(350)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (400, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_sighup_makes_new_keys_limits_and_proxies_hold(broker: LocalBroker, tmp_path: Path) -> None:
    settings = settings_on(broker.bootstrap, "sighup")
    create_topics(settings)
    toml = tmp_path / "footfall.toml"
    kafka = f'[kafka]\nbootstrap_servers = "{broker.bootstrap}"\npartitions = 4\ntopic_prefix = "sighup"\n'
    port = settings.collector.port
    door = f"[collector]\nport = {port}\nmetrics_port = {settings.collector.metrics_port}\nmax_connections_per_address = 5\n"
    toml.write_text(kafka + door + APPS)
    log = tmp_path / "log"
    command = [sys.executable, "-m", "deploy.cli", "--config", str(toml), "collector"]
    with log.open("wb") as said:
        process = subprocess.Popen(command, stderr=said, stdin=subprocess.DEVNULL)

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return ask(port, "/health/ready").status == 200
        except OSError:
            return False

    def status(key: str) -> int:
        return ask(port, "/v1/events", EVENT, {"X-Write-Key": key}).status

    def one_more() -> bytes:
        """What a sixth connection from a proxy is answered."""
        with contextlib.ExitStack() as open_ones:
            *_, last = [
                open_ones.enter_context(socket.create_connection(("127.0.0.1", port), 40, ("127.0.0.2", 0))) for _ in range(6)
            ]
            with contextlib.suppress(ConnectionError):  # it may be closed before this is sent
                last.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return ends(last)[:12]

    try:
        until = time.monotonic() + 120
        while not ready():
            assert time.monotonic() < until
            time.sleep(0.1)
        assert one_more() == b"HTTP/1.1 503"
        assert (status("tk3"), status("brand-new")) == (200, 401)
        behind = 'trusted_proxies = ["127.0.0.2"]\n'
        toml.write_text(kafka + door + behind + APPS.replace('["tk3"]', '["brand-new"]\nrevoked_keys = ["tk3"]'))
        os.kill(process.pid, signal.SIGHUP)
        eventually(lambda: status("brand-new") == 200)
        reply = ask(port, "/v1/events", EVENT, {"X-Write-Key": "tk3"})
        assert (reply.status, reply.json()["code"]) == (401, "revoked_key")
        eventually(lambda: one_more() == b"HTTP/1.1 200")
        toml.write_text(kafka + door + "[[apps]]\n")
        os.kill(process.pid, signal.SIGHUP)
        eventually(lambda: "the old ones hold" in log.read_text())
        assert status("brand-new") == 200
    finally:
        process.terminate()
        process.wait(60)


def test_sighup_cuts_no_connection_and_no_request_that_is_under_way(broker: LocalBroker, tmp_path: Path) -> None:
    settings = settings_on(broker.bootstrap, "underway")
    create_topics(settings)
    port, toml = settings.collector.port, tmp_path / "footfall.toml"

    def new_key_holds() -> bool:
        return ask(port, "/v1/events", EVENT, {"X-Write-Key": "brand-new"}).status == 200

    with collector_process(settings, tmp_path) as process, socket.create_connection(("127.0.0.1", port), 40) as half:
        kept = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
        kept.request("POST", "/v1/events", json.dumps(EVENT), KEY)
        assert kept.getresponse().read()
        used = kept.sock
        body = json.dumps(EVENT | {"id": "half"}).encode()
        half.sendall(HEAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body[:9])
        load = Load(port)
        eventually(lambda: len(load.acked) > 20)
        toml.write_text(toml.read_text().replace('["tk3"]', '["brand-new"]'))
        process.send_signal(signal.SIGHUP)
        eventually(new_key_holds)
        after = len(load.acked)
        eventually(lambda: len(load.acked) > after + 20)
        load.stop()
        half.sendall(body[9:])
        assert ends(half).startswith(b"HTTP/1.1 200 ")
        kept.request("POST", "/v1/events", json.dumps(EVENT | {"id": "kept"}), KEY)
        assert kept.getresponse().status == 200
        assert kept.sock is used is not None
        kept.close()
    assert set(load.statuses) == {200}
    assert load.acked | {"half", "kept"} <= {event.id for event in events_in(settings)}

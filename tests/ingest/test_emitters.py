"""Emitters on a real broker and a real collector: they send what an SDK would, and drop nothing in silence."""

from __future__ import annotations

import os
import random
import signal
import string
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from ingest import Emitter, EmitterOptions, HttpEmitter
from ingest.contract.errors import (
    BadEventError,
    BufferFullError,
    ClosedError,
    ConfigError,
    FootfallError,
    LayoutError,
    UnavailableError,
    WriteError,
)
from ingest.contract.event import Event
from ingest.emit.base import BaseEmitter
from tests.ingest.conftest import let_be_as_large_as, settings_on
from tests.ingest.running import RunningCollector, events_in
from tests.ports import free_port

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

QUICK = EmitterOptions(delivery_timeout_s=60)
Make = Callable[..., BaseEmitter]


@pytest.fixture(params=["kafka", "http"])
def make(request: pytest.FixtureRequest, collector: RunningCollector) -> Make:
    """Makes emitters of either kind, for the app `bank`."""

    def made(options: EmitterOptions = QUICK) -> BaseEmitter:
        if request.param == "kafka":
            return Emitter(collector.settings, "bank", options)
        return HttpEmitter(f"http://127.0.0.1:{collector.port}", "SA_TOKEN", options)

    return made


def stored(collector: RunningCollector, *ids: str) -> list[Event]:
    found = {event.id: event for event in collector.events()}
    return [found[one] for one in ids]


def test_an_event_is_safe_when_its_report_says_so(make: Make, collector: RunningCollector) -> None:
    told: list[str] = []
    with make() as emitter:
        report = emitter.emit("支付", user_id=42, props={"金额": 2**70, "费": Decimal("1.10"), "日": date(2026, 11, 22)})
        report.add_done_callback(lambda one: told.append(one.result()))
        number = report.result(60)
        (event,) = stored(collector, number)
    assert (event.app, event.person, event.event, event.type) == ("bank", "u:42", "支付", "track")
    assert event.props == {"金额": 2**70, "费": "1.10", "日": "2026-11-22"}
    assert 0 <= event.received - event.time < 60_000
    assert told == [number]
    assert (emitter.delivered, emitter.failed, emitter.buffered) == (1, 0, 0)


def test_both_ways_and_the_protocol_itself_give_the_same_line(collector: RunningCollector) -> None:
    fields: dict[str, Any] = {
        "anonymous_id": "d-1",
        "user_id": "u-1",
        "type": "identify",
        "platform": "ios",
        "version": "9.1.0",
        "channel": "push",
        "time": 1_795_330_000_123,
        "sent": 0,
        "duration": 7,
        "context": {"b": [1, {"a": None}]},
        "ids": {"session_id": "s", "n": 7},
        "lib": "server",
        "lib_version": "1",
    }
    del fields["sent"]
    ids = [uuid.uuid4().hex for _ in range(3)]
    with Emitter(collector.settings, "bank") as straight, HttpEmitter(f"http://127.0.0.1:{collector.port}/", "SA_TOKEN") as over:
        straight.emit("login", id=ids[0], **fields).result(60)
        over.emit("login", id=ids[1], **fields).result(60)
    collector.send({"event": "login", "id": ids[2], **fields})
    first, second, third = (msgspec.structs.replace(one, id="", received=0) for one in stored(collector, *ids))
    assert first == second == third
    assert first.merge is not None


def test_an_event_that_kafka_never_takes_costs_those_around_it_nothing(broker: LocalBroker) -> None:
    settings = settings_on(broker.bootstrap, f"unfit{uuid.uuid4().hex[:8]}")
    create_topics(settings)
    let_be_as_large_as(settings, 3000)
    with Emitter(settings, "bank", EmitterOptions(delivery_timeout_s=60, linger_s=0.5)) as emitter:
        large = {"x": "".join(random.Random(1).choices(string.ascii_letters, k=9000))}
        reports = [
            emitter.emit("e", user_id=str(number), id=str(number), props=large if number in (3, 9) else {})
            for number in range(40)
        ]
        for number, report in enumerate(reports):
            if number in (3, 9):
                with pytest.raises(WriteError, match="Kafka refuses the event"):
                    report.result(60)
            else:
                assert report.result(60) == str(number)
        assert emitter.emit("e", user_id="1", id="after").result(60) == "after"
        assert (emitter.delivered, emitter.failed) == (39, 2)
    assert {event.id for event in events_in(settings)} == {str(number) for number in range(40) if number not in (3, 9)} | {
        "after"
    }


def test_a_thousand_events_from_many_threads_arrive_in_their_partitions(make: Make, collector: RunningCollector) -> None:
    with make(EmitterOptions(batch_events=100, max_buffer_bytes=200_000)) as emitter:
        reports: list[Any] = []

        def some(thread: int) -> None:
            for number in range(250):
                report = emitter.emit("e", user_id=f"{thread}-{number}", id=f"{id(emitter)}-{thread}-{number}")
                reports.append(report)

        threads = [threading.Thread(target=some, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        emitter.flush(120)
        assert all(report.done() for report in reports)
        assert emitter.delivered == 1000
    assert len({event.id for event in collector.events() if event.id.startswith(f"{id(emitter)}-")}) == 1000


def test_the_same_id_twice_and_two_ways_is_one_event(make: Make, collector: RunningCollector) -> None:
    number = uuid.uuid4().hex
    with make() as emitter:
        for _ in range(2):
            assert emitter.emit("e", user_id="1", id=number, time=1_795_330_000_000).result(60) == number
    lines = [event for event in collector.events() if event.id == number]
    assert len(lines) == 2
    assert len({(event.app, event.id, event.time) for event in lines}) == 1, "readers count (app, id) once"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "user_id or anonymous_id"),
        ({"user_id": "1", "props": {"a": float("nan")}}, "JSON"),
        ({"user_id": "1", "props": {"a": object()}}, "object is nothing that JSON has"),
        ({"user_id": "1", "props": [1]}, "$.props"),
        ({"user_id": "1", "props": {"a": "x" * 70_000}}, "too_large"),
        ({"user_id": "\ud800"}, "JSON"),
        ({"user_id": "1", "time": "noon"}, "$.time"),
        ({"user_id": "1", "time": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001
        ({"user_id": "1", "userid": "1"}, "userid"),
        ({"user_id": "1", "platform": "x" * 300}, "$.platform"),
    ],
)
def test_what_is_no_event_is_said_at_once(make: Make, fields: dict[str, Any], words: str) -> None:
    with make() as emitter, pytest.raises(BadEventError) as told:
        emitter.emit("e", **fields)
    assert words in str(told.value)
    assert not told.value.retry
    assert emitter.buffered == 0


def test_times_may_be_datetimes_and_ids_are_made(make: Make, collector: RunningCollector) -> None:
    with make() as emitter:
        number = emitter.emit("e", user_id="1", id="", time=datetime(2026, 11, 20, tzinfo=UTC)).result(60)
    (event,) = stored(collector, number)
    assert (len(number), event.time) == (32, 1_795_132_800_000)


def test_a_closed_emitter_and_one_of_another_process_say_so(make: Make) -> None:
    emitter = make()
    emitter.emit("e", user_id="1").result(60)
    child = os.fork()
    if not child:
        try:
            emitter.emit("e", user_id="1")
        except ClosedError as error:
            os._exit(7 if "fork" in str(error) else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    emitter.close()
    emitter.close()
    with pytest.raises(ClosedError):
        emitter.emit("e", user_id="1")


@pytest.fixture
def away(tmp_path: Path) -> Iterator[LocalBroker]:
    """A broker that may be stopped."""
    broker = LocalBroker(tmp_path / "var")
    broker.start()
    yield broker
    broker.stop()


def test_a_broker_that_is_away_is_waited_for_and_a_frozen_one_too(away: LocalBroker) -> None:
    settings = settings_on(away.bootstrap, "emitter-away")
    settings = msgspec.structs.replace(settings, collector=msgspec.structs.replace(settings.collector, ack_timeout_ms=2000))
    create_topics(settings)
    with Emitter(settings, "bank", EmitterOptions(delivery_timeout_s=200)) as emitter:
        emitter.emit("e", user_id="1", id="before").result(60)
        os.kill(away.pid, signal.SIGSTOP)
        frozen = emitter.emit("e", user_id="2", id="frozen")
        time.sleep(3)
        os.kill(away.pid, signal.SIGCONT)
        assert frozen.result(100) == "frozen"
        away.stop()
        waits = [emitter.emit("e", user_id=str(number), id=f"waits-{number}") for number in range(50)]
        with pytest.raises(UnavailableError, match="50 events"):
            emitter.flush(1)
        away.start()
        assert [report.result(150) for report in waits] == [f"waits-{number}" for number in range(50)]
    assert {"before", "frozen", *(f"waits-{number}" for number in range(50))} <= {event.id for event in events_in(settings)}


class Nobody:
    """Emitters to where nobody is."""

    def kafka(self, options: EmitterOptions) -> Emitter:
        return Emitter(settings_on(f"127.0.0.1:{free_port()}", "nobody"), "bank", options)

    def http(self, options: EmitterOptions) -> HttpEmitter:
        return HttpEmitter(f"http://127.0.0.1:{free_port()}", "SA_TOKEN", options)


@pytest.mark.parametrize("kind", ["kafka", "http"])
class TestNobodyIsThere:
    def test_an_event_is_given_up_after_its_time_and_its_report_says_so(self, kind: str) -> None:
        emitter: BaseEmitter = getattr(Nobody(), kind)(EmitterOptions(delivery_timeout_s=0.5))
        report = emitter.emit("e", user_id="1")
        with pytest.raises(UnavailableError, match="not delivered in time") as told:
            report.result(60)
        assert told.value.retry
        emitter.flush()
        assert (emitter.failed, emitter.buffered) == (1, 0)
        emitter.close()

    def test_a_full_buffer_blocks_or_raises_and_takes_no_more_memory(self, kind: str) -> None:
        for when_full in ("raise", "block"):
            options = EmitterOptions(max_buffer_bytes=20_000, when_full=when_full, block_s=0.3)
            emitter: BaseEmitter = getattr(Nobody(), kind)(options)
            taken = 0
            with pytest.raises(BufferFullError):  # noqa: PT012
                while taken < 1000:
                    emitter.emit("e", user_id="1")
                    taken += 1
            assert 5 < taken < 20
            assert emitter.buffered == taken
            with pytest.raises(UnavailableError, match=f"{taken} events were not delivered"):
                emitter.close(0.2)

    def test_closing_in_vain_ends_each_report(self, kind: str) -> None:
        emitter: BaseEmitter = getattr(Nobody(), kind)(EmitterOptions())
        reports = [emitter.emit("e", user_id="1") for _ in range(3)]
        with pytest.raises(UnavailableError):
            emitter.close(0.1)
        for report in reports:
            with pytest.raises(UnavailableError):
                report.result(60)


def test_settings_that_cannot_be_are_told(broker: LocalBroker) -> None:
    settings = settings_on(broker.bootstrap, "emitter-layout")
    create_topics(settings)
    with pytest.raises(ConfigError, match="no app of the plan"):
        Emitter(settings, "nobody")
    with pytest.raises(ConfigError, match="bootstrap_servers"):
        Emitter(settings_on("", "x"), "bank")
    for url in ("127.0.0.1:8090", "ftp://x", "http://", "http://x:y"):
        with pytest.raises(ConfigError):
            HttpEmitter(url, "key")
    with pytest.raises(ConfigError, match="write key"):
        HttpEmitter("http://x", "")
    other = msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, partitions=5))
    with Emitter(other, "bank") as emitter, pytest.raises(LayoutError, match="has 4 partitions"):
        emitter.emit("e", user_id="1").result(60)


def test_a_wrong_key_is_told_in_each_report(collector: RunningCollector) -> None:
    with HttpEmitter(f"http://127.0.0.1:{collector.port}", "nobodys-key") as emitter:
        with pytest.raises(ConfigError, match="401"):
            emitter.emit("e", user_id="1").result(60)
        assert emitter.failed == 1


class Moody(BaseHTTPRequestHandler):
    """A door in front of the collector: does what it is told first, then lets through."""

    protocol_version = "HTTP/1.1"
    mood: list[tuple[int, bytes, dict[str, str]]] = []  # noqa: RUF012
    asked: list[bytes] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(body)
        status, answer, headers = self.mood.pop(0)
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(answer))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def moody() -> Iterator[type[Moody]]:
    Moody.mood, Moody.asked = [], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    Moody.port = server.server_port  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Moody
    server.shutdown()
    thread.join()
    server.server_close()


def outcome(report: Any) -> str:
    try:
        return str(report.result(60))
    except FootfallError as error:
        return type(error).__name__


def test_what_fails_for_now_is_sent_again_and_what_is_refused_is_told(moody: type[Moody]) -> None:
    moody.mood[:] = [
        (503, b'{"code":"unavailable","message":"wait"}', {"Retry-After": "1"}),
        (429, b"", {"Retry-After": "0"}),
        (200, b"<html>a proxy's page</html>", {"Content-Type": "text/html"}),
        (200, b'{"accepted":2,"rejected":[{"index":1,"reason":"bad_event","detail":"no"}]}', {}),
        (413, b'{"code":"too_many","message":"too many"}', {}),
        (200, b'{"accepted":1,"rejected":[]}', {}),
        (400, b'{"code":"bad_events","message":"none","accepted":0,"rejected":[{"index":0,"reason":"plan","detail":"no"}]}', {}),
    ]
    emitter = HttpEmitter(f"http://127.0.0.1:{moody.port}", "key", EmitterOptions(linger_s=60))  # type: ignore[attr-defined]
    started = time.monotonic()
    first = [emitter.emit("e", user_id="1", id=str(number)) for number in range(3)]
    emitter.flush(100)
    assert [outcome(report) for report in first] == ["0", "BadEventError", "2"]
    assert time.monotonic() - started > 1, "Retry-After was not waited for"
    assert len(set(moody.asked)) == 1, "what was sent again is the same to the byte"
    second = [emitter.emit("e", user_id="1", id=str(number)) for number in range(2)]
    emitter.flush(100)
    assert [outcome(report) for report in second] == ["0", "BadEventError"]
    emitter.close()


def test_to_import_ingest_loads_nothing() -> None:
    look = "import sys, ingest; assert not {'kafka', 'aiohttp', 'msgspec'} & sys.modules.keys()"
    over_http = "import sys; from ingest import HttpEmitter; assert not {'kafka', 'aiohttp'} & sys.modules.keys()"
    for script in (look, over_http):
        subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
    with pytest.raises(ImportError):
        from ingest import Nothing  # noqa: F401

"""The collector as SDKs and browsers meet it: over HTTP, into a real Kafka."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import socket
import uuid
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import zstandard

from ingest.contract.event import Event
from ingest.contract.rejected import payload_of
from ingest.origins import ALLOWED_HEADERS
from ingest.reasons import Reason
from tests.ingest.helpers import captured
from tests.ingest.running import RunningCollector, ask

pytestmark = [pytest.mark.broker, pytest.mark.timeout(60)]

UNIQUE = {
    "segment-python": 66,
    "segment-node": 63,
    "sensors-python": 77,
    "sensors-browser-batch": 69,
    "sensors-browser-image": 70,
}
NO_HTTP = [
    b"\x16\x03\x01\x02\x00",
    b"GET\r\n\r\n",
    b"POST /v1/batch HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"POST /sa HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
]


def new(**fields: object) -> dict[str, object]:
    """A native event with an id of its own."""
    return {"id": uuid.uuid4().hex, "event": "e", "user_id": "42"} | fields


def stored(collector: RunningCollector, *ids: object) -> list[Event]:
    """The events with these ids that Kafka has, in the order of the ids."""
    found = {event.id: event for event in collector.events()}
    return [found[str(one)] for one in ids if one in found]


def test_an_event_is_in_kafka_when_it_is_answered(collector: RunningCollector) -> None:
    event = new(event="支付", props={"金额": 2**70})
    reply = collector.send(event)
    assert (reply.status, reply.json()) == (200, {"accepted": 1, "rejected": []})
    (found,) = stored(collector, event["id"])
    assert (found.app, found.person, found.event, found.props) == ("bank", "u:42", "支付", {"金额": 2**70})


def test_array_lines_and_gzip(collector: RunningCollector) -> None:
    sent = [new(user_id=f"user-{number}") for number in range(50)]
    headers = {"X-Write-Key": "tk3"}
    lines = b"\n".join(json.dumps(event).encode() for event in sent[20:])
    assert collector.ask("/v1/events", sent[:10], headers).json()["accepted"] == 10
    assert collector.ask("/v1/events", gzip.compress(json.dumps(sent[10:20]).encode()), headers).json()["accepted"] == 10
    assert collector.ask("/v1/events", lines[: lines.index(b"\n")], headers).json()["accepted"] == 1
    rest = gzip.compress(lines[lines.index(b"\n") + 1 :])
    assert collector.ask("/v1/events", rest, headers | {"Content-Encoding": "gzip"}).json()["accepted"] == 29
    found = stored(collector, *[event["id"] for event in sent])
    assert [event.person for event in found] == [f"u:user-{number}" for number in range(50)]
    assert {event.app for event in found} == {"p3"}


def test_zstd_as_a_whole_and_cut_off(collector: RunningCollector) -> None:
    sent = [new() for _ in range(20)]
    body = zstandard.compress(json.dumps(sent).encode())
    headers = {"X-Write-Key": "tk3", "Content-Encoding": "zstd"}
    assert collector.ask("/v1/events", body, headers).json()["accepted"] == 20
    assert len(stored(collector, *[event["id"] for event in sent])) == 20
    cut = collector.ask("/v1/events", body[:-3], headers)
    assert (cut.status, cut.json()["code"]) == (400, Reason.BAD_ENCODING)
    assert collector.ask("/sa?token=SA_TOKEN", body[:-3], headers).status == 200, "a 4xx would make SDKs lose it"
    kept = [one for one in collector.rejected() if one.payload == base64.b64encode(body[:-3]).decode()]
    assert [(one.reason, one.encoding, one.context["content_encoding"]) for one in kept] == [
        (Reason.BAD_ENCODING, "base64", "zstd")
    ] * 2


def test_a_bad_event_among_good_ones_goes_to_the_rejected_topic_and_the_others_count(collector: RunningCollector) -> None:
    good = [new(), new()]
    mark = uuid.uuid4().hex
    body = f'[{json.dumps(good[0])},{{"event":"{mark}","user_id":NaN}},{json.dumps(good[1])}]'.encode()
    reply = collector.ask("/v1/events", body, {"Authorization": "Bearer WRITEKEY_seg"})
    assert (reply.status, reply.json()["accepted"]) == (200, 2)
    (told,) = reply.json()["rejected"]
    assert (told["index"], told["reason"]) == (1, "bad_json")
    assert told["detail"].endswith("- at `$[1]`")
    assert len(stored(collector, *[event["id"] for event in good])) == 2
    (record,) = [one for one in collector.rejected() if mark in one.payload]
    assert (record.stage, record.reason, record.app, record.context["path"]) == ("collector", "bad_json", "bank", "/v1/events")
    assert record.payload == f'{{"event":"{mark}","user_id":NaN}}'


@pytest.mark.parametrize("name", UNIQUE)
def test_captured_traffic_sent_twice_is_answered_200_and_is_the_same_events(collector: RunningCollector, name: str) -> None:
    before = len({(event.app, event.id) for event in collector.events()})
    for request in captured(name):
        for _ in range(2):
            skip = ("host", "content-length", "connection", "transfer-encoding")
            headers = {key: value.encode().decode("latin-1") for key, value in request["headers"] if key.lower() not in skip}
            body = base64.b64decode(request["body_base64"]) if request["method"] == "POST" else None
            reply = collector.ask(f"{request['path']}?{request['query']}", body, headers, request["method"])
            assert reply.status == 200
    assert len({(event.app, event.id) for event in collector.events()}) - before == UNIQUE[name]


def test_paths_are_exact_and_nothing_is_redirected(collector: RunningCollector) -> None:
    for path in ("/v1/events/", "/v1/batch/", "/V1/batch", "/", "/sa/", "/v1/x"):
        reply = collector.ask(path, b"{}")
        assert (reply.status, reply.json()["code"]) == (404, "not_found")
    reply = collector.ask("/v1/batch", None)
    assert (reply.status, reply.json()["code"], reply.headers["Allow"]) == (405, "method", "POST, OPTIONS")
    absolute = f"http://127.0.0.1:{collector.port}/health/live"
    assert collector.ask(absolute).status == 200


def test_a_browsers_page_may_send_and_read_retry_after(collector: RunningCollector) -> None:
    page = {"Origin": "https://bank.example", "Access-Control-Request-Method": "POST"}
    preflight = collector.ask("/v1/t", None, page | {"Access-Control-Request-Headers": "authorization"}, "OPTIONS")
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://bank.example"
    assert preflight.headers["Access-Control-Allow-Credentials"] == "true"
    assert preflight.headers["Access-Control-Allow-Headers"] == ALLOWED_HEADERS
    assert preflight.headers["Access-Control-Max-Age"] == "7200"
    reply = collector.ask("/v1/t", {"event": "e", "userId": "1", "writeKey": "WRITEKEY_seg"}, {"Origin": "https://bank.example"})
    assert reply.status == 200
    assert reply.headers["Access-Control-Allow-Origin"] == "https://bank.example"
    assert reply.headers["Access-Control-Expose-Headers"] == "Retry-After"
    assert "Access-Control-Allow-Origin" not in collector.ask("/health/live").headers


def test_health_and_metrics_tell_of_it(collector: RunningCollector) -> None:
    door = collector.settings.collector.metrics_port
    assert [ask(door, path).status for path in ("/health/live", "/health/ready", "/metrics")] == [200, 200, 200]
    assert collector.ask("/metrics").status == 404
    events, rejected, answers = (
        'footfall_collector_events_total{app="bank",protocol="native"}',
        'footfall_collector_rejected_total{protocol="native",reason="no_person"}',
        'footfall_collector_requests_total{route="native",status="200"}',
    )
    before = [collector.metric(line) for line in (events, rejected, answers)]
    collector.send(new(), new(), {"event": "e"})
    after = [collector.metric(line) for line in (events, rejected, answers)]
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, 1, 1]
    assert collector.metric("footfall_collector_in_flight_bytes") == 0
    assert collector.metric("footfall_collector_kafka_up") == 1
    assert collector.metric("footfall_collector_ack_seconds_count") > 0


def test_a_body_that_is_too_large_is_413_for_programmers_and_200_for_sdks(collector: RunningCollector) -> None:
    body = b'{"batch":[' + b" " * (collector.settings.collector.max_body_bytes + 3_000_000) + b"]}"
    reply = collector.ask("/v1/events", body, {"Authorization": "Bearer WRITEKEY_seg"})
    assert (reply.status, reply.json()["code"]) == (413, "too_large")
    assert collector.ask("/v1/batch", body, {"X-Write-Key": "WRITEKEY_seg"}).status == 200
    record = collector.rejected()[-1]
    assert (record.reason, record.truncated, payload_of(record)[:10]) == (Reason.TOO_LARGE, True, b'{"batch":[')


def chunks(*parts: bytes) -> Iterator[bytes]:
    yield from parts


def test_a_chunked_body_is_read(collector: RunningCollector) -> None:
    event = new()
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=20)
    raw = json.dumps(event).encode()
    connection.request("POST", "/v1/events", chunks(raw[:7], raw[7:]), {"X-Write-Key": "SA_TOKEN"}, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()
    assert len(stored(collector, event["id"])) == 1


def test_a_client_that_asks_first_whether_to_send_is_told_so(collector: RunningCollector) -> None:
    body = json.dumps(new()).encode()
    head = f"POST /v1/events?key=SA_TOKEN HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", collector.port), 10) as door:
        door.sendall(head.encode())
        assert door.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        door.sendall(body)
        assert door.recv(100).startswith(b"HTTP/1.1 200 ")


def test_http_that_is_none_harms_nobody(collector: RunningCollector) -> None:
    for raw in NO_HTTP:
        with socket.create_connection(("127.0.0.1", collector.port), 10) as door:
            door.sendall(raw)
            door.shutdown(socket.SHUT_WR)
            assert door.recv(200)[:9] in (b"HTTP/1.1 ", b"HTTP/1.0 ", b"")
    with socket.create_connection(("127.0.0.1", collector.port), 10) as door:
        door.sendall(b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    assert collector.send(new()).status == 200
    assert collector.metric("footfall_collector_in_flight_bytes") == 0


def test_a_long_request_line_is_read(collector: RunningCollector) -> None:
    event = {"type": "track", "event": "long", "distinct_id": "d", "time": 1, "properties": {"x": "y" * 30_000}}
    data = quote(base64.b64encode(json.dumps(event).encode()), safe="")
    assert collector.ask(f"/sa.gif?token=SA_TOKEN&data={data}").status == 200
    assert any(found.event == "long" and len(found.props["x"]) == 30_000 for found in collector.events())

"""What was rejected and is sent again after the plan was mended is the very event that it would have been at first, each time."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from ingest.contract.event import Event, Merge
from ingest.contract.rejected import Rejected
from ingest.contract.settings import Settings, read_settings
from ingest.intake import Intake, Request, take
from ingest.keys import Keys
from ingest.limits import limits_of
from ingest.resubmit import FIRST_HEADER, REJECTION_HEADER, CannotResendError, again_of, kept_envelope, resend
from ingest.routes import ROUTES
from ingest.rules import rules_of
from tests.ingest.helpers import events, rejections

FIRST = 1_795_330_000_000
LATER = FIRST + 5 * 86_400_000
ID = "0123456789abcdef"
APP = '[[apps]]\nid = "bank"\nwrite_keys = ["the-key"]\n'
STRICT = APP + 'plan_violations = "reject"\nunknown_events = "reject"\n[[events]]\nname = "other"\n'
SENT = "2026-11-22T05:30:14Z"
DEVICE = "2026-11-22T04:00:00Z"


def received(plan: str, request: Request, at: int) -> Intake:
    settings: Settings = read_settings(plan, {})
    return take(request, ROUTES[request.path], Keys(settings.apps), limits_of(settings.collector), at, rules_of(settings))


def asked(path: str, body: object, query: str = "", headers: Mapping[str, str] | None = None, method: str = "POST") -> Request:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request(method, path, query, {"Authorization": "Bearer the-key"} if headers is None else headers, raw)


def again(row: Rejected, key: str = "the-key") -> Request:
    found = resend(row, ID)
    return Request(found.method, found.path, found.query, found.headers | {"Authorization": f"Bearer {key}"}, found.body)


KEYED = {"Authorization": "Bearer the-key"}
SENSORS = {"type": "track", "event": "e", "distinct_id": "d", "time": FIRST - 9_000_000, "_flush_time": FIRST - 3_600_000}
CALL = {"type": "track", "event": "e", "userId": "1", "originalTimestamp": DEVICE}
POSTHOG = {"event": "e", "distinct_id": "d", "timestamp": DEVICE, "uuid": "0190-7", "properties": {"$lib": "web"}}
REQUESTS = {
    "native": asked("/v1/events", [{"event": "e", "user_id": "1"}]),
    "native, skewed": asked("/v1/events", {"event": "e", "user_id": "1", "time": FIRST - 9_000_000, "sent": FIRST - 3_600_000}),
    "segment": asked("/v1/batch", {"batch": [CALL], "sentAt": SENT, "writeKey": "the-key", "context": {"os": {"name": "iOS"}}}),
    "segment, gzip": asked("/v1/b", gzip.compress(json.dumps({"sentAt": SENT, "batch": [CALL]}).encode())),
    "segment, one call": asked("/v1/track", CALL | {"sentAt": SENT}),
    "segment, import": asked("/v1/import", {"batch": [CALL], "sentAt": SENT}),
    "posthog": asked("/batch/", {"api_key": "the-key", "batch": [POSTHOG], "sent_at": SENT}),
    "posthog, one event": asked("/i/v0/e/", POSTHOG | {"api_key": "the-key"}),
    "rudder, whose visitor is in a header": asked(
        "/v1/track",
        {"type": "track", "event": "e", "originalTimestamp": DEVICE},
        headers=KEYED | {"AnonymousId": base64.b64encode(b"visitor-1").decode()},
    ),
    "posthog, whose library and clock are in headers": asked(
        "/i/v1/analytics/events",
        {"batch": [POSTHOG | {"timestamp": "2026-11-22T04:00:00Z"}]},
        headers=KEYED | {"PostHog-Sdk-Info": "posthog-python/7.9.1", "PostHog-Request-Timestamp": "2026-11-22T05:00:00Z"},
    ),
    "sensors": asked("/sa", b"data_list=" + quote(base64.b64encode(json.dumps([SENSORS]).encode())).encode()),
    "sensors, beacon": asked("/sa.gif", b"", "data=" + quote(base64.b64encode(json.dumps(SENSORS).encode())), method="GET"),
}


def told(event: Event) -> dict[str, Any]:
    """The event without what says when it came, and after what."""
    found = msgspec.structs.asdict(event) | {"received": 0, "violations": []}
    found["context"].pop("crc", None)
    found["ids"].pop("rejection", None)
    return found


@pytest.mark.parametrize("name", REQUESTS)
def test_sent_again_it_is_the_same_event_each_time(name: str) -> None:
    request = REQUESTS[name]
    (row,) = rejections(received(STRICT, request, FIRST))
    assert row.reason == "plan"
    (wanted,) = events(received(APP, request, FIRST))
    for later in (LATER, LATER + 3_600_000):
        (found,) = events(received(APP, again(row), later))
        assert (found.received, found.ids["rejection"]) == (later, ID)
        assert told(found) == told(wanted)


@pytest.mark.parametrize("name", [name for name in REQUESTS if not name.startswith("native")])
def test_a_whole_request_with_a_key_that_was_not_known(name: str) -> None:
    request = REQUESTS[name]
    body = request.body.replace(b"the-key", b"new-key")
    request = request._replace(headers=dict(request.headers) | {"Authorization": "Bearer new-key"}, body=body)
    (row,) = rejections(received(APP, request, FIRST))
    assert (row.reason, row.context["key"]) == ("unknown_key", "new-key") or "sensors" in name
    grown = APP.replace('"the-key"', '"the-key", "new-key"')
    (wanted,) = events(received(grown, request, FIRST))
    (found,) = events(received(grown, again(row, "new-key"), LATER))
    assert told(found) == told(wanted)


def test_what_is_refused_again_is_told_and_not_kept_twice() -> None:
    (row,) = rejections(received(STRICT, REQUESTS["segment"], FIRST))
    second = received(STRICT, again(row), LATER)
    assert (second.rejected, second.answer.status, [one.reason for one in second.refused]) == ([], 400, ["plan"])
    (whole,) = rejections(received(APP, REQUESTS["segment"]._replace(headers={}, body=b"{"), FIRST))
    broken = received(APP, again(whole), LATER)
    assert (broken.rejected, broken.answer.status) == ([], 400)


def test_events_beyond_the_limit_of_a_batch() -> None:
    few = APP + "[collector]\nmax_batch_events = 2\n"
    calls = [CALL | {"messageId": str(number)} for number in range(5)]
    intake = received(few, asked("/v1/batch", {"batch": calls, "sentAt": SENT}), FIRST)
    assert len(events(intake)) == 2
    (row,) = rejections(intake)
    found = events(received(APP, again(row), LATER))
    assert [event.id for event in found] == ["2", "3", "4"]


def test_of_a_broken_batch_what_can_be_read_of_its_envelope_is_kept() -> None:
    body = b'{"sentAt":"%s","batch":[{"event":tru}],"n":tru,"writeKey":"k"}' % SENT.encode()
    assert json.loads(kept_envelope(body)) == {"sentAt": SENT}
    assert kept_envelope(b'{"event":"e","sentAt":"x"}') == kept_envelope(b"[]") == kept_envelope(b"") == ""
    assert kept_envelope(b'{"batch":[],"context":{"a":"%s"}}' % (b"x" * 5000)) == ""


def test_a_line_that_the_worker_could_not_count() -> None:
    line = Event(
        id="7", app="gone", person="u:1", event="e", type="identify", time=FIRST, received=FIRST, version="9", props={"a": 1},
        ids={"anonymous_id": "d", "session_id": "s"}, merge=Merge(source="a:d", target="u:1", how="identify"),
    )  # fmt: skip
    payload = msgspec.json.encode(line).decode()
    row = Rejected(at=FIRST, stage="worker", reason="unknown_app", detail="", app="gone", payload=payload, topic="t", offset=1)
    (found,) = events(received(APP.replace("bank", "gone"), again(row), LATER))
    assert (found.id, found.person, found.time, found.version) == ("7", "u:1", FIRST, "9")
    assert (found.merge, found.props, found.ids["session_id"]) == (line.merge, {"a": 1}, "s")
    for changed, words in (
        ({"payload": "{"}, "no event line"),
        ({"payload": payload.replace("u:1", "x:1", 1)}, "no person"),
        ({"payload": payload.replace('"identify"', '"bind"', 1)}, "bind"),
        ({"truncated": True}, "only its beginning"),
        ({"stage": "sink"}, "only ClickHouse refused it"),
    ):
        with pytest.raises(CannotResendError, match=words):
            resend(msgspec.structs.replace(row, **changed), ID)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {REJECTION_HEADER: ID},
        {REJECTION_HEADER: "x" * 16, FIRST_HEADER: str(FIRST)},
        {REJECTION_HEADER: ID, FIRST_HEADER: str(LATER + 1)},
        {REJECTION_HEADER: ID, FIRST_HEADER: "0"},
        {REJECTION_HEADER: ID, FIRST_HEADER: "9" * 400},
        {REJECTION_HEADER: ID, FIRST_HEADER: "-1"},
    ],
)
def test_headers_that_cannot_be_are_passed_over(headers: dict[str, str]) -> None:
    assert again_of(headers, LATER) is None

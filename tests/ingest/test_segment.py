"""Segment's protocol beyond what the captures show."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from ingest.contract.event import Event, Merge
from ingest.reasons import Reason
from tests.ingest.helpers import LIMITS, NOW, basic, events, post, rejections

TRACK = {"type": "track", "event": "e", "userId": "42", "messageId": "m-1", "timestamp": "2026-11-22T05:38:57.991Z"}


def call(**fields: Any) -> Event:
    """The event that comes of one call in a batch."""
    intake = post("/v1/batch", {"batch": [TRACK | fields]})
    assert intake.refused == []
    (event,) = events(intake)
    return event


def test_context_has_its_columns() -> None:
    context = {
        "library": {"name": "analytics-kotlin", "version": "1.16"},
        "app": {"version": "9.1.0"},
        "device": {"id": "d-1"},
        "campaign": {"source": "push", "name": "x"},
        "sessionId": 17,
        "locale": "zh-CN",
    }
    event = call(context=context, properties={"a": 1}, groupId="g")
    assert (event.platform, event.version, event.channel) == ("android", "9.1.0", "push")
    assert (event.lib, event.lib_version) == ("analytics-kotlin", "1.16")
    assert event.context == context
    assert event.ids == {"user_id": "42", "group_id": "g", "device_id": "d-1", "session_id": "17"}


@pytest.mark.parametrize(
    ("system", "library", "platform"),
    [
        ("iOS", "", "ios"),
        ("iPadOS", "x", "ios"),
        ("HarmonyOS", "", "harmony"),
        ("Mac OS X", "", "macos"),
        ("KaiOS", "", "kaios"),
        ("", "analytics.js", "web"),
        ("", "analytics-swift", "ios"),
        ("", "RudderLabs JavaScript SDK", "web"),
        ("", "analytics-python", ""),
    ],
)
def test_platforms(system: str, library: str, platform: str) -> None:
    assert call(context={"os": {"name": system}, "library": {"name": library}}).platform == platform


@pytest.mark.parametrize("context", [None, 5, "x", [], {"library": "x"}, {"os": 7, "app": {"version": ["x"]}}, {"campaign": []}])
def test_a_context_of_other_types_costs_nobody_an_event(context: object) -> None:
    event = call(context=context)
    assert (event.platform, event.version, event.channel) == ("", "", "")
    assert json.loads(event.raw)["context"] == context


def test_what_fits_of_a_context_is_used() -> None:
    assert call(context={"library": 3, "app": {"version": "2"}, "os": "iOS"}).version == "2"


def test_the_batchs_context_is_that_of_events_without_one() -> None:
    body = b'{"context":\n{"app":{"version":"3"}},"batch":[' + json.dumps(TRACK).encode() + b"]}"
    (event,) = events(post("/v1/batch", body))
    assert event.version == "3"


def test_names_of_calls_that_have_none() -> None:
    assert call(type="identify", event=None, traits={"a": 1}).event == "identify"
    assert call(type="page", event=None).event == "page"
    assert call(type="page", event=None, name="首页").event == "首页"
    assert call(type="group", event=None, traits={"b": 2}).props == {"b": 2}


def test_merges() -> None:
    assert call(type="identify", anonymousId="d").merge == Merge(source="a:d", target="u:42", how="identify")
    assert call(type="alias", previousId="d").merge == Merge(source="a:d", target="u:42", how="alias")
    assert call(anonymousId="d").merge is None
    assert call(type="group", anonymousId="d").merge is None


def test_without_a_message_id_the_content_is_the_identity() -> None:
    first, same, other = call(messageId=None), call(messageId=None), call(messageId=None, event="f")
    assert first.id == same.id != other.id
    now, later = (post("/v1/track", {"event": "e", "userId": "42"}, received=NOW + one) for one in (0, 1))
    assert events(now)[0].id != events(later)[0].id, "written by hand twice, it happened twice"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/t", "track"),
        ("/v1/track", "track"),
        ("/v1/i", "identify"),
        ("/v1/p", "page"),
        ("/v1/s", "screen"),
        ("/v1/a", "alias"),
        ("/v1/g", "group"),
    ],
)
def test_single_calls_have_their_path_for_a_type_and_their_key_in_the_body(path: str, kind: str) -> None:
    body = {
        "event": "e",
        "userId": "42",
        "previousId": "d",
        "messageId": "m",
        "writeKey": "WRITEKEY_seg",
        "sentAt": "2026-11-22T05:38:58Z",
    }
    intake = post(path, body, key="", headers={"Content-Type": "text/plain"})
    (event,) = events(intake)
    assert (event.type, event.sent) == (kind, 1795325938000)
    assert intake.answer.body == b'{"success":true}'


@pytest.mark.parametrize("place", ["basic", "body", "query"])
def test_the_key_is_found_in_each_place(place: str) -> None:
    body = {"batch": [TRACK]} | ({"writeKey": "WRITEKEY_seg"} if place == "body" else {})
    headers = {"Authorization": basic("WRITEKEY_seg")} if place == "basic" else {}
    intake = post("/v1/b", body, key="", headers=headers, query="writeKey=WRITEKEY_seg" if place == "query" else "")
    assert [event.app for event in events(intake)] == ["bank"]


def test_an_unknown_key_is_answered_200_and_kept() -> None:
    intake = post("/v1/batch", {"batch": [TRACK]}, key="nobodys-key")
    assert (intake.answer.status, intake.accepted) == (200, [])
    (record,) = rejections(intake)
    assert (record.reason, record.context["key"]) == (Reason.UNKNOWN_KEY, "nobodys-key")
    assert json.loads(record.payload) == {"batch": [TRACK]}


def test_a_bad_event_among_good_ones_is_set_aside() -> None:
    bad = [TRACK | {"event": 5}, TRACK | {"type": "click"}, {"type": "track", "event": "e"}, TRACK | {"timestamp": "x"}, 7, {}]
    intake = post("/v1/batch", {"batch": [TRACK, *bad, TRACK]})
    assert len(events(intake)) == 2
    assert [(one.index, one.reason) for one in intake.refused] == [
        (1, Reason.BAD_EVENT),
        (2, Reason.BAD_EVENT),
        (3, Reason.NO_PERSON),
        (4, Reason.BAD_TIME),
        (5, Reason.BAD_EVENT),
        (6, Reason.BAD_EVENT),
    ]
    assert all(f"`$.batch[{one.index}]" in one.detail for one in intake.refused)
    assert [json.loads(record.payload) for record in rejections(intake)] == bad


@pytest.mark.parametrize(
    "broken", [b"NaN", b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"x":"\\ud83d"}', b'{"x":"\xff"}', b'{"x":01}']
)
def test_an_event_that_is_no_json_leaves_the_others_whole(broken: bytes) -> None:
    good = json.dumps(TRACK).encode()
    body = b'{"sentAt":"2026-11-22T05:38:58Z","batch":[' + good + b"," + broken + b"," + good + b'],"writeKey":"WRITEKEY_seg"}'
    intake = post("/v1/batch", body, key="")
    assert [event.sent for event in events(intake)] == [1795325938000] * 2
    assert [one.index for one in intake.refused] == [1]


@pytest.mark.parametrize(
    "body", [b"", b"x", b"[]", b"{}", b'{"batch":5}', b'{"batch":null}', b"\x1f\x8bxx", b'{"batch"', b"\xff"]
)
def test_nonsense_is_answered_200_and_kept(body: bytes) -> None:
    intake = post("/v1/batch", body)
    assert (intake.answer.status, intake.accepted) == (200, [])
    assert [record.reason for record in rejections(intake)] in ([Reason.BAD_BODY], [Reason.BAD_ENCODING])


def test_events_beyond_the_limit_of_a_batch_are_kept_as_batches_of_their_own() -> None:
    large = [TRACK | {"messageId": str(number), "properties": {"x": "y" * 10_000}} for number in range(100)]
    intake = post("/v1/batch", {"batch": large}, limits=LIMITS._replace(batch_events=10))
    assert len(events(intake)) == 10
    records = rejections(intake)
    assert {(record.reason, record.truncated) for record in records} == {(Reason.TOO_MANY, False)}
    assert [one for record in records for one in json.loads(record.payload)] == large[10:]
    assert intake.answer.status == 200


def test_a_bomb_is_answered_200_and_kept_as_it_came() -> None:
    bomb = gzip.compress(b" " * 1_000_000)
    intake = post("/v1/batch", bomb, limits=LIMITS._replace(inflated_bytes=1000))
    (record,) = rejections(intake)
    assert (intake.answer.status, record.reason, record.encoding) == (200, Reason.TOO_LARGE, "base64")


def test_a_bulk_import_of_the_past_keeps_its_times() -> None:
    body = {"batch": [TRACK], "sentAt": "2026-11-22T04:00:00Z"}
    (corrected,) = events(post("/v1/batch", body))
    (imported,) = events(post("/v1/import", body))
    assert imported.time == imported.device_time == 1795325937991
    assert corrected.time > imported.time
    assert corrected.received == NOW

"""What RudderStack's SDKs do differently from Segment's."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from ingest.contract.event import Event, Merge
from ingest.reasons import Reason
from tests.ingest.helpers import NOW, basic, events, post, rejections

TRACK: dict[str, Any] = {"type": "track", "event": "e", "userId": "42", "messageId": "m-1"}
VISITOR = "YW5vbi03"  # anon-7


def single(path: str, call: dict[str, Any], **headers: str) -> Event:
    """What comes of one call to a path of its own."""
    found = {name.replace("_", "-"): value for name, value in headers.items()} | {"Authorization": basic("WRITEKEY_rud")}
    intake = post(path, call, headers=found, key="")
    assert intake.refused == []
    (event,) = events(intake)
    return event


def test_the_node_sdk_says_form_and_sends_gzip() -> None:
    body = gzip.compress(json.dumps({"batch": [TRACK, TRACK | {"messageId": "m-2"}], "sentAt": "2026-11-22T05:00:00Z"}).encode())
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Encoding": "gzip",
        "Authorization": basic("WRITEKEY_rud"),
    }
    intake = post("/v1/batch", body, headers=headers, key="")
    assert [event.id for event in events(intake)] == ["m-1", "m-2"]
    assert (intake.answer.status, json.loads(intake.answer.body)) == (200, {"success": True})


def test_a_beacon_has_its_key_in_the_query() -> None:
    body = json.dumps({"batch": [TRACK]}).encode()
    for query, count in (("writeKey=WRITEKEY_rud", 1), ("writeKey=no", 0)):
        intake = post("/beacon/v1/batch", body, headers={"Content-Type": "text/plain;charset=UTF-8"}, query=query, key="")
        assert (intake.answer.status, len(events(intake))) == (200, count)


@pytest.mark.parametrize(
    ("call", "header", "person"),
    [
        ({"userId": None}, VISITOR, "a:anon-7"),
        ({"userId": None, "anonymousId": "a-1"}, VISITOR, "a:a-1"),
        ({}, VISITOR, "u:42"),
    ],
)
def test_the_visitor_may_stand_in_a_header(call: dict[str, Any], header: str, person: str) -> None:
    assert single("/v1/track", TRACK | call, AnonymousId=header).person == person
    batch = post("/v1/batch", {"batch": [TRACK | call]}, headers={"AnonymousId": header})
    assert [event.person for event in events(batch)] == [person]


@pytest.mark.parametrize("header", ["", "%", "a", "gA==", "é"])
def test_a_header_that_names_nobody_is_none(header: str) -> None:
    intake = post("/v1/track", TRACK | {"userId": ""}, headers={"AnonymousId": header})
    assert [record.reason for record in rejections(intake)] == [Reason.NO_PERSON]


def test_traits_in_the_context_are_the_users_properties() -> None:
    call = {"type": "identify", "userId": "42", "anonymousId": "x", "context": {"traits": {"姓名": "张三"}, "library": 5}}
    event = single("/v1/identify", call)
    assert (event.props, event.merge) == ({"姓名": "张三"}, Merge(source="a:x", target="u:42", how="identify"))
    assert single("/v1/identify", call | {"traits": {"n": 1}}).props == {"n": 1}
    assert single("/v1/identify", call | {"traits": {}}).props == {"姓名": "张三"}
    assert single("/v1/identify", call | {"context": {"traits": [1]}}).props == {}
    assert single("/v1/track", TRACK | {"context": call["context"]}).props == {}


def test_the_original_time_is_the_devices() -> None:
    call = TRACK | {"originalTimestamp": "2026-11-22T05:00:00.123Z", "sentAt": "2026-11-22T05:00:01Z"}
    event = single("/v1/track", call)
    assert (event.device_time, event.sent, event.received) == (1_795_323_600_123, 1_795_323_601_000, NOW)


def test_an_sdk_that_calls_itself_the_app_has_no_apps_version() -> None:
    sdk = {"name": "RudderLabs JavaScript SDK", "version": "3.34.1"}
    assert single("/v1/track", TRACK | {"context": {"app": sdk | {"installType": "npm"}, "library": sdk}}).version == ""
    assert single("/v1/track", TRACK | {"context": {"app": {"name": "Bank", "version": "9.1"}, "library": sdk}}).version == "9.1"

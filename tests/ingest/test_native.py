"""The native protocol: one event, an array, JSON lines; what is wrong with one concerns it alone."""

from __future__ import annotations

import gzip
import json

import pytest

from ingest.contract.event import Merge
from ingest.protocols import native
from ingest.reasons import Reason
from tests.ingest.helpers import LIMITS, NOW, events, only, post, receipt, rejections

GOOD: dict[str, object] = {"event": "pay_bill", "user_id": "42"}


def one(event: object) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode()


def test_all_fields_arrive() -> None:
    sent = {
        "id": "e-1", "event": "支付", "type": "screen", "user_id": "42", "anonymous_id": "d-7",
        "time": NOW - 5000, "sent": NOW - 20, "platform": "ios", "version": "9.1.0", "channel": "push", "duration": 1500,
        "props": {"金额": 12.5, "n": 2**70, "x": [None]},
        "context": {"page": {"url": "/"}}, "ids": {"session_id": "s-1", "n": 7, "none": None}, "lib": "x", "lib_version": "1",
    }  # fmt: skip
    event = only(native.decode(one(sent), "bank", receipt()))
    assert (event.id, event.app, event.person, event.event, event.type) == ("e-1", "bank", "u:42", "支付", "screen")
    assert (event.time, event.received, event.device_time, event.sent) == (NOW - 5000, NOW, NOW - 5000, NOW - 20)
    assert (event.platform, event.version, event.channel, event.duration) == ("ios", "9.1.0", "push", 1500)
    assert event.props == sent["props"]
    assert event.context == sent["context"]
    assert event.ids == {"session_id": "s-1", "n": "7", "anonymous_id": "d-7", "user_id": "42"}
    assert (event.protocol, event.lib, event.lib_version, event.raw, event.merge) == ("native", "x", "1", "", None)


def test_an_object_an_array_and_lines_are_the_same() -> None:
    pretty = json.dumps(GOOD, indent=2).encode()
    lines = one(GOOD) + b"\r\n\n" + one(GOOD) + b"\n"
    counts = [
        len(events(native.decode(body, "bank", receipt())))
        for body in (one(GOOD), pretty, one([GOOD, GOOD]), json.dumps([GOOD, GOOD], indent=1).encode(), lines, b"  " + lines)
    ]
    assert counts == [1, 1, 2, 2, 2, 2]
    assert len(events(native.decode(one(GOOD), "bank", receipt(), lines=True))) == 1


def test_null_is_as_good_as_absent() -> None:
    body = one(GOOD | dict.fromkeys(("id", "type", "time", "sent", "props", "context", "ids", "duration", "platform", "lib")))
    assert only(native.decode(body, "bank", receipt())).time == NOW


def test_a_person_is_the_user_once_known_else_the_visitor() -> None:
    both = {"user_id": "42", "anonymous_id": "d"}
    people: list[dict[str, object]] = [{"user_id": 42}, {"anonymous_id": "d"}, {**both}, {"user_id": "", "anonymous_id": "d"}]
    found = events(native.decode(one([{"event": "e", **ids} for ids in people]), "bank", receipt()))
    assert [event.person for event in found] == ["u:42", "a:d", "u:42", "a:d"]


def test_identify_and_alias_tell_of_a_merge() -> None:
    identify = only(
        native.decode(one({"event": "login", "type": "identify", "user_id": "42", "anonymous_id": "d"}), "bank", receipt())
    )
    alias = only(native.decode(one({"event": "alias", "type": "alias", "user_id": "42", "previous_id": "d"}), "bank", receipt()))
    assert identify.merge == Merge(source="a:d", target="u:42", how="identify")
    assert alias.merge == Merge(source="a:d", target="u:42", how="alias")


def test_the_same_content_has_the_same_id_unless_it_says_no_time() -> None:
    timed = one(GOOD | {"time": NOW - 9000})
    first, again = (only(native.decode(timed, "bank", receipt(NOW + late))) for late in (0, 500))
    assert first.id == again.id
    first, again = (only(native.decode(one(GOOD), "bank", receipt(NOW + late))) for late in (0, 500))
    assert first.id != again.id


def test_an_id_longer_than_the_column_is_still_an_id() -> None:
    long, other = "x" * 300, "x" * 299 + "y"
    ids = {only(native.decode(one(GOOD | {"id": given}), "bank", receipt())).id for given in (long, long, other)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("event", "reason", "path"),
    [
        ({"user_id": "42"}, Reason.BAD_EVENT, "event"),
        ({"event": "", "user_id": "42"}, Reason.BAD_EVENT, "`$[1].event`"),
        ({"event": "e" * 257, "user_id": "42"}, Reason.BAD_EVENT, "`$[1].event`"),
        ({"event": 5, "user_id": "42"}, Reason.BAD_EVENT, "`$[1].event`"),
        (GOOD | {"userid": "7"}, Reason.BAD_EVENT, "unknown field `userid`"),
        (GOOD | {"type": "click"}, Reason.BAD_EVENT, "`$[1].type`"),
        (GOOD | {"duration": -1}, Reason.BAD_EVENT, "`$[1].duration`"),
        (GOOD | {"duration": 10**12}, Reason.BAD_EVENT, "`$[1].duration`"),
        (GOOD | {"platform": "p" * 300}, Reason.BAD_EVENT, "`$[1].platform`"),
        (GOOD | {"props": [1]}, Reason.BAD_EVENT, "`$[1].props`"),
        (GOOD | {"user_id": "x" * 257}, Reason.BAD_EVENT, "`$[1].user_id`"),
        (b'{"event":"e","user_id":1' + b"0" * 5000 + b"}", Reason.BAD_JSON, "`$[1]`"),
        (GOOD | {"user_id": 1.5}, Reason.BAD_EVENT, "`$[1].user_id`"),
        (GOOD | {"time": "soon"}, Reason.BAD_TIME, "`$[1].time`"),
        (GOOD | {"time": NOW // 1000}, Reason.BAD_TIME, "looks like seconds"),
        (GOOD | {"time": NOW * 1000}, Reason.BAD_TIME, "`$[1].time`"),
        ({"event": "e"}, Reason.NO_PERSON, "`$[1]`"),
        ({"event": "e", "user_id": ""}, Reason.NO_PERSON, "`$[1]`"),
        (b'{"event":"e","user_id":"1","props":{"a":NaN}}', Reason.BAD_JSON, "`$[1]`"),
        (b'{"event":"e","user_id":"1","props":{"a":"\\ud800"}}', Reason.BAD_JSON, "`$[1]`"),
        (b'{"event":"e","user_id":"1","props":{"a":"\xff"}}', Reason.BAD_JSON, "`$[1]`"),
        (b'{"event":"e","user_id":"1","props":{"a":1e999}}', Reason.BAD_JSON, "`$[1]`"),
        (b'{"event":"e","user_id":"1","props":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}", Reason.TOO_LARGE, "bytes"),
        (b'{"event":"e","user_id":"1","props":{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}}", Reason.TOO_DEEP, "`$[1]`"),
        (b'{"event":"e","user_id":"1","props":{"a":"' + b"x" * 70_000 + b'"}}', Reason.TOO_LARGE, "`$[1]`"),
        (b"7", Reason.BAD_EVENT, "`$[1]`"),
    ],
)  # fmt: skip
def test_a_bad_event_among_good_ones_is_set_aside_with_reason_and_path(event: object, reason: Reason, path: str) -> None:
    event = event if isinstance(event, bytes) else one(event)
    intake = post("/v1/events", b"[" + one(GOOD) + b"," + event + b"," + one(GOOD | {"event": "after"}) + b"]")
    assert [found.event for found in events(intake)] == ["pay_bill", "after"]
    (refusal,) = intake.refused
    assert (refusal.index, refusal.reason) == (1, reason)
    assert path in refusal.detail
    assert intake.answer.status == 200
    said = json.loads(intake.answer.body)
    assert said["accepted"] == 2
    assert [(found["index"], found["reason"]) for found in said["rejected"]] == [(1, reason.value)]
    (record,) = rejections(intake)
    assert (record.stage, record.reason, record.app, record.context["index"]) == ("collector", reason, "bank", "1")
    assert record.truncated or record.encoding == "base64" or record.payload.encode() == event


def test_a_bad_line_is_named_by_its_number() -> None:
    intake = post("/v1/events", one(GOOD) + b"\n{oops}\n" + one(GOOD))
    assert len(events(intake)) == 2
    assert json.loads(intake.answer.body)["rejected"][0]["detail"].endswith("`line 1: $`")


def test_when_all_events_are_bad_it_says_400_and_keeps_them() -> None:
    intake = post("/v1/events", b'[{"event":1},{}]')
    assert intake.answer.status == 400
    said = json.loads(intake.answer.body)
    assert (said["code"], said["accepted"], len(said["rejected"])) == ("bad_events", 0, 2)
    assert "message" in said
    assert [record.payload for record in rejections(intake)] == ['{"event":1}', "{}"]


@pytest.mark.parametrize("body", [b"", b"  ", b"hello", b"{", b"\xff\xfe", b'"text"', b"null", gzip.compress(b"x", mtime=0)[:-4]])
def test_nonsense_is_a_400_with_code_and_message_and_is_kept(body: bytes) -> None:
    intake = post("/v1/events", body)
    assert intake.answer.status == 400
    assert {"code", "message"} <= json.loads(intake.answer.body).keys()
    assert len(rejections(intake)) == 1


def test_an_empty_array_is_fine_and_nothing() -> None:
    intake = post("/v1/events", b"[]")
    assert (intake.answer.status, json.loads(intake.answer.body)) == (200, {"accepted": 0, "rejected": []})


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": "Bearer WRITEKEY_seg"}, {"X-Write-Key": "WRITEKEY_seg"}, {"Authorization": "Basic V1JJVEVLRVlfc2VnOg=="}],
)
def test_the_key_may_come_in_any_of_the_headers(headers: dict[str, str]) -> None:
    assert post("/v1/events", GOOD, key="", headers=headers).answer.status == 200


@pytest.mark.parametrize(
    "query", ["key=WRITEKEY_seg", "token=WRITEKEY_seg", "project=WRITEKEY%5fseg", "a=b&writeKey=WRITEKEY_seg"]
)
def test_or_in_the_query(query: str) -> None:
    assert post("/v1/events", GOOD, key="", query=query).answer.status == 200


@pytest.mark.parametrize("key", ["", "nope", "WRITEKEY_seg2", "密钥"])
def test_an_unknown_key_is_a_401_that_says_how(key: str) -> None:
    intake = post("/v1/events", GOOD, key=key)
    assert intake.answer.status == 401
    assert json.loads(intake.answer.body)["code"] == "unknown_key"
    assert (intake.accepted, intake.rejected) == ([], [])


def test_limits_are_413() -> None:
    many = post("/v1/events", [GOOD] * 4, limits=LIMITS._replace(batch_events=3))
    bomb = post("/v1/events", gzip.compress(b" " * 100_000), limits=LIMITS._replace(inflated_bytes=1000))
    assert (many.answer.status, json.loads(many.answer.body)["code"]) == (413, "too_many")
    assert (bomb.answer.status, json.loads(bomb.answer.body)["code"]) == (413, "too_large")
    assert many.accepted == bomb.accepted == []

"""Sensors Analytics' protocol beyond what the captures show."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.event import Event, Merge
from ingest.line import content_id
from ingest.protocols.java_hash import java_hash
from ingest.reasons import Reason
from tests.ingest.helpers import LIMITS, NOW, captured, events, post, rejections, replay

TRACK: dict[str, Any] = {"type": "track", "event": "e", "distinct_id": "d", "time": NOW - 5000, "properties": {}}
QUERY = "project=default&token=SA_TOKEN"


def form(value: object, name: str = "data", zipped: bool = True) -> bytes:
    """A form as the SDKs send it."""
    raw = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
    text = quote(base64.b64encode(gzip.compress(raw) if zipped else raw), safe="")
    return f"{name}={text}&gzip={int(zipped)}".encode()


def track(**fields: Any) -> Event:
    """What comes of one event."""
    intake = post("/sa", form(TRACK | fields), query=QUERY, key="")
    assert intake.refused == []
    (event,) = events(intake)
    return event


@pytest.mark.parametrize(
    ("fields", "person"),
    [
        ({}, "a:d"),
        ({"properties": {"$is_login_id": True}}, "u:d"),
        ({"properties": {"$is_login_id": False}}, "a:d"),
        ({"login_id": "L", "anonymous_id": "x"}, "u:L"),
        ({"distinct_id": "d", "anonymous_id": "d"}, "a:d"),
        ({"distinct_id": "d", "anonymous_id": "x"}, "u:d"),
        ({"identities": {"$identity_login_id": "d"}}, "u:d"),
        ({"identities": {"$identity_login_id": "other"}}, "a:d"),
        ({"distinct_id": None, "identities": {"$identity_login_id": "L"}}, "u:L"),
        ({"distinct_id": None, "anonymous_id": "x"}, "a:x"),
        ({"distinct_id": 77}, "a:77"),
        ({"type": "track_signup", "event": "$SignUp", "original_id": "x"}, "u:d"),
        ({"type": "item_set", "distinct_id": None, "item_type": "fund", "item_id": "F1"}, "a:$item+fund+F1"),
    ],
)
def test_whose_event_it_is(fields: dict[str, Any], person: str) -> None:
    assert track(**fields).person == person


_WHO = st.sampled_from([None, "d", "x", 1, "1"])
_VALUES = st.sampled_from(["d", "x", "", 1, True, None, ["x"]])
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(["track", "track_signup", "track_id_bind", "item_set"]),
    **dict.fromkeys(("distinct_id", "original_id", "login_id", "anonymous_id", "item_type", "item_id"), _WHO),
    "identities": st.dictionaries(st.sampled_from(["$identity_login_id", "$identity_mobile"]), _VALUES) | st.just("x"),
    "properties": st.dictionaries(st.sampled_from(["$is_login_id", "$device_id", "$event_session_id"]), _VALUES),
}
#: Changes of one and the same thing: what two events differ in is all that tells them apart.
_CHANGES = st.one_of(
    [
        st.lists(st.fixed_dictionaries({name: values}), min_size=1, max_size=4)
        for name, values in (
            *((name, values) for name, values in _FIELDS.items() if name != "properties"),
            *(
                ("properties", st.fixed_dictionaries({name: _VALUES}))
                for name in ("$is_login_id", "$device_id", "$event_session_id")
            ),
        )
    ]
)


@settings(max_examples=600)
@given(st.fixed_dictionaries({}, optional=_FIELDS), _CHANGES)
def test_an_event_is_the_same_in_a_batch_as_alone(common: dict[str, Any], changes: list[dict[str, Any]]) -> None:
    sent = [TRACK | {"_track_id": 1} | common | change for change in [{}, *changes]]
    alone = [post("/sa", form(one), query=QUERY, key="") for one in sent]
    together = post("/sa", form(sent, "data_list"), query=QUERY, key="")
    assert events(together) == [event for one in alone for event in events(one)]
    refused = [(one.reason, one.detail.replace("$[0]", "$")) for intake in alone for one in intake.refused]
    assert [(one.reason, re.sub(r"\$\[\d\]", "$", one.detail)) for one in together.refused] == refused


def test_what_is_wrong_with_identities_has_its_path() -> None:
    (refusal,) = post("/sa", form([TRACK, TRACK | {"identities": "x"}], "data_list"), query=QUERY, key="").refused
    assert (refusal.reason, refusal.detail) == (Reason.BAD_EVENT, "Expected `object | null`, got `str` - at `$[1].identities`")


@given(st.lists(st.text() | st.integers() | st.binary(), max_size=5))
def test_an_id_is_made_of_lengths_and_contents(parts: list[str | int | bytes]) -> None:
    content = b""
    for part in parts:
        encoded = part if isinstance(part, bytes) else str(part).encode()
        content += str(len(encoded)).encode() + b":" + encoded
    assert content_id(*parts) == hashlib.sha1(content, usedforsecurity=False).hexdigest()


def test_merges() -> None:
    signup = track(type="track_signup", event="$SignUp", original_id="x")
    assert signup.merge == Merge(source="a:x", target="u:d", how="track_signup")
    ids = {"$identity_login_id": "d", "$identity_mobile": "138"}
    bind = track(type="track_id_bind", event="$BindID", identities=ids)
    assert (bind.type, bind.merge) == ("bind", Merge(source="a:$identity_mobile+138", target="u:d", how="bind"))
    before = {"$identity_mp_id": "mp", "$identity_login_id": "d", "$identity_email": "e", "$identity_mobile": "138"}
    for device in ("mp_id", "cookie_id", "android_uuid", "ios_uuid", "idfv"):
        ids = {f"$identity_{device}": "x", "$identity_mobile": "138", "$identity_anonymous_id": "x"}
        assert track(type="track_id_bind", identities=ids).merge == Merge(
            source="a:$identity_mobile+138", target="a:d", how="bind"
        )
    again = track(type="track_id_bind", identities=before | {"$identity_anonymous_id": "mp"})
    assert again.merge == Merge(source="a:$identity_mobile+138", target="u:d", how="bind")
    unbind = track(type="track_id_unbind", event="$UnbindID", identities=before)
    assert (unbind.type, unbind.merge) == ("unbind", None)
    assert unbind.ids["$identity_mobile"] == "138"


def test_types_that_are_no_activity() -> None:
    kinds = {kind: track(type=kind, event=None, item_id="1").type for kind in ("profile_set", "profile_unset", "item_delete")}
    assert kinds == {"profile_set": "profile", "profile_unset": "profile", "item_delete": "item"}
    assert track(type="profile_set", event=None).event == "profile_set"


def test_preset_properties_have_their_columns() -> None:
    preset = {"$os": "HarmonyOS", "$app_version": "9.1.0", "$latest_utm_source": "sms", "$device_id": "dev"}
    event = track(properties=preset, lib={"$lib": "HarmonyOS", "$lib_version": "1.2"}, _track_id=5)
    assert (event.platform, event.version, event.channel) == ("harmony", "9.1.0", "sms")
    assert (event.lib, event.lib_version) == ("HarmonyOS", "1.2")
    assert event.ids["device_id"] == "dev"
    assert event.context == {"lib": {"$lib": "HarmonyOS", "$lib_version": "1.2"}}


@pytest.mark.parametrize(
    ("name", "properties", "duration"),
    [
        ("$AppEnd", {"$event_duration": 12.345}, 12345),
        ("$AppEnd", {"event_duration": 3}, 3000),
        ("$MPHide", {"$event_duration": 0.0004}, 0),
        ("my_timer", {"event_duration": 3}, 0),
        ("$AppEnd", {"$event_duration": -3}, 0),
        ("$AppEnd", {"$event_duration": 90_000}, 0),
        ("$AppEnd", {"$event_duration": "long"}, 0),
        ("$AppEnd", {"$event_duration": True}, 0),
    ],
)
def test_durations_that_the_sdk_measured(name: str, properties: dict[str, Any], duration: int) -> None:
    assert track(event=name, properties=properties).duration == duration


def test_a_track_id_is_a_key_only_with_who_when_and_what() -> None:
    ids = {
        track(_track_id=1).id,
        track(_track_id=2).id,
        track(_track_id=1, distinct_id="x").id,
        track(_track_id=1, event="f").id,
        track(_track_id=1, time=NOW).id,
        track(_track_id=1, type="profile_set").id,
    }
    assert len(ids) == 6
    assert track(_track_id=1, _flush_time=NOW).id == track(_track_id=1, _flush_time=NOW + 9).id


def test_without_a_track_id_the_content_but_for_the_time_of_sending_is() -> None:
    assert track(_flush_time=NOW).id == track(_flush_time=NOW + 9).id == track().id
    assert track(_flush_time=NOW).id != track(properties={"a": 1}, _flush_time=NOW).id
    body = form(TRACK | {"time": None})
    now, later = (post("/sa", body, query=QUERY, key="", received=NOW + one) for one in (0, 1))
    assert events(now)[0].id != events(later)[0].id, "written by hand twice, it happened twice"


def test_a_time_that_is_meant_is_not_corrected() -> None:
    hour = 3_600_000
    assert track(time=NOW - 3 * hour, _flush_time=NOW - hour).time == NOW - 2 * hour
    assert track(time=NOW - 3 * hour, _flush_time=NOW - hour, time_free=True).time == NOW - 3 * hour


@pytest.mark.parametrize(
    "body",
    [
        form(TRACK),
        form(TRACK, zipped=False),
        form([TRACK], "data_list"),
        form([TRACK], "data_list", zipped=False),
        form([TRACK]),
        json.dumps(TRACK).encode(),
        json.dumps([TRACK], indent=1).encode(),
        gzip.compress(form(TRACK), mtime=0),
        b"data=" + base64.b64encode(json.dumps(TRACK).encode()),
        b"data=" + base64.b64encode(json.dumps(TRACK | {"x": "???>>>"}).encode()).replace(b"+", b" "),
        b"data_list=" + base64.urlsafe_b64encode(json.dumps([TRACK | {"x": "???>>>"}]).encode()).rstrip(b"="),
    ],
)
def test_every_envelope_is_opened(body: bytes) -> None:
    for path in ("/sa", "/sa.gif", "/debug"):
        intake = post(path, body, query=QUERY, key="")
        assert len(events(intake)) == 1
        assert (intake.answer.status, intake.answer.body) == (200, b"")


def test_a_get_is_answered_with_an_image() -> None:
    query = f"{QUERY}&{form(TRACK, zipped=False).decode()}&ext=crc%3D-5"
    intake = post("/sa.gif", query=query, key="", method="GET")
    assert len(events(intake)) == 1
    assert (intake.answer.content_type, intake.answer.body[:3]) == ("image/gif", b"GIF")
    nothing = post("/sa.gif", query=QUERY, key="", method="GET")
    assert (nothing.answer.status, nothing.accepted, nothing.rejected) == (200, [], [])


def naive_hash(text: bytes) -> int:
    """Java's String.hashCode, character by character."""
    found = 0
    for character in text:
        found = (found * 31 + character) & 0xFFFFFFFF
    return found - (1 << 32) if found >> 31 else found


@given(st.binary(max_size=3000))
def test_the_checksum_is_javas(text: bytes) -> None:
    assert java_hash(text) == naive_hash(text)


@pytest.mark.parametrize("length", [5, 6, 5119, 5120, 5121, 5125, 10_240, 10_243, 70_001])
def test_the_checksum_is_javas_over_the_edges_of_what_is_computed_at_once(length: int) -> None:
    text = bytes((number * 7919 + number // 251) % 256 for number in range(length))
    assert java_hash(text) == naive_hash(text)
    assert java_hash(b"\xff" * length) == naive_hash(b"\xff" * length)


@pytest.mark.parametrize("field", ["crc={}", "ext=crc%3D{}"])
def test_a_wrong_checksum_is_noted_and_the_event_kept(field: str) -> None:
    text = base64.b64encode(json.dumps(TRACK).encode())
    for crc, context in ((naive_hash(text), {}), (5, {"crc_ok": False})):
        body = b"data=" + quote(text, safe="").encode() + b"&" + field.format(crc).encode()
        (event,) = events(post("/sa", body, query=QUERY, key=""))
        assert event.context == {"crc": str(crc)} | context


@pytest.mark.parametrize("name", ["sensors-browser-image", "sensors-browser-batch", "sensors-python"])
def test_no_captured_checksum_is_wrong(name: str) -> None:
    found = [event for request in captured(name) for event in events(replay(request))]
    assert not [event for event in found if "crc_ok" in event.context]
    assert all("crc" in event.context for event in found) == (name == "sensors-browser-image")


@pytest.mark.parametrize("value", [b"AAECAw%3D%3D", b"garbage!", base64.b64encode(gzip.compress(b"x", mtime=0)[:9])])
def test_what_says_that_it_is_encrypted_is_named_so(value: bytes) -> None:
    intake = post("/sa", b"data_list=" + value + b"&gzip=9", query=QUERY, key="")
    assert [record.reason for record in rejections(intake)] == [Reason.ENCRYPTED]


def test_a_batch_of_encrypted_events_is_kept_event_by_event() -> None:
    sealed = {"pkv": 1, "ekey": "abc", "flush_time": NOW, "payload": "xyz"}
    intake = post("/sa", form([sealed, sealed], "data_list").replace(b"gzip=1", b"gzip=9"), query=QUERY, key="")
    assert [(record.reason, json.loads(record.payload)) for record in rejections(intake)] == [(Reason.ENCRYPTED, sealed)] * 2


@pytest.mark.parametrize(
    ("operation", "properties"),
    [
        ("profile_set", {"姓名": "张三"}),
        ("profile_set_once", {"first": 1}),
        ("profile_increment", {"n": 2.5}),
        ("profile_append", {"tags": ["a"]}),
        ("profile_unset", {"old": True}),
        ("profile_delete", {}),
        ("item_set", {"name": "基金"}),
        ("item_delete", {}),
    ],
)
def test_operations_on_users_and_items_are_kept_by_name(operation: str, properties: dict[str, Any]) -> None:
    found = track(type=operation, event=None, properties=properties, item_type="fund", item_id="F1")
    assert (found.event, found.type, found.props) == (operation, operation.partition("_")[0], properties)
    assert (found.ids.get("item_type"), found.ids.get("item_id")) == (("fund", "F1") if found.type == "item" else (None, None))


def test_an_encrypted_envelope_is_kept_and_named() -> None:
    envelope = {"pkv": 1, "ekey": "abc", "flush_time": NOW, "payloads": ["xyz"]}
    intake = post("/sa", b"gzip=9&data=" + quote(json.dumps(envelope)).encode(), query=QUERY, key="")
    (record,) = rejections(intake)
    assert (intake.answer.status, record.reason, record.app) == (200, Reason.ENCRYPTED, "bank")
    assert json.loads(record.payload) == envelope


def test_the_events_own_token_says_which_app_it_belongs_to() -> None:
    assert track(project="p3", token="tk3").app == "p3"
    assert track(project="production").app == "bank"
    assert track(project="tk3").app == "p3"
    intake = post("/sa", form([TRACK, TRACK | {"token": "revoked"}], "data_list"), query=QUERY, key="")
    assert len(events(intake)) == 1
    assert [(one.index, one.reason) for one in intake.refused] == [(1, Reason.UNKNOWN_KEY)]


def test_an_unknown_token_is_answered_200_and_kept() -> None:
    intake = post("/sa", form(TRACK), query="token=other", key="")
    (record,) = rejections(intake)
    assert (intake.answer.status, record.reason, record.context["key"]) == (200, Reason.UNKNOWN_KEY, "other")
    assert json.loads(record.payload) == TRACK


def test_the_project_alone_may_be_the_key() -> None:
    assert len(events(post("/sa", form(TRACK), query="project=SA_TOKEN", key=""))) == 1


def test_a_bad_event_among_good_ones_is_set_aside() -> None:
    bad = [
        TRACK | {"type": "click"},
        TRACK | {"event": ""},
        TRACK | {"distinct_id": ""},
        TRACK | {"time": "x"},
        {},
        5,
        TRACK | {"type": 5},
    ]
    intake = post("/sa", form([TRACK, *bad, TRACK], "data_list"), query=QUERY, key="")
    assert len(events(intake)) == 2
    assert [one.reason for one in intake.refused] == [
        Reason.BAD_EVENT,
        Reason.BAD_EVENT,
        Reason.NO_PERSON,
        Reason.BAD_TIME,
        Reason.BAD_EVENT,
        Reason.BAD_EVENT,
        Reason.BAD_EVENT,
    ]
    assert all(f"`$[{one.index}]" in one.detail for one in intake.refused)


def test_an_event_that_is_no_json_leaves_the_others_whole() -> None:
    raw = b"[" + json.dumps(TRACK).encode() + b',{"a":NaN},' + json.dumps(TRACK).encode() + b"]"
    intake = post("/sa", form(raw, "data_list"), query=QUERY, key="")
    assert len(events(intake)) == 2
    assert [(one.index, one.reason) for one in intake.refused] == [(1, Reason.BAD_JSON)]


@pytest.mark.parametrize(
    "body", [b"", b"data=", b"data=%%%", b"data=abc", b"x=y", b"\xff", b"data=eHh4", b"data_list=e30K&gzip=1"]
)
def test_nonsense_is_answered_200_and_kept(body: bytes) -> None:
    intake = post("/sa", body, query=QUERY, key="")
    assert (intake.answer.status, intake.accepted) == (200, [])
    assert len(rejections(intake)) == 1


def test_limits_hold_inside_of_the_base64_too() -> None:
    intake = post("/sa", form(b" " * 1_000_000), query=QUERY, key="", limits=LIMITS._replace(inflated_bytes=10_000))
    assert [record.reason for record in rejections(intake)] == [Reason.TOO_LARGE]

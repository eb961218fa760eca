"""Hashed ids wherever an SDK writes them: as other numbers, in columns, in places that no column is filled from, in addresses."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, quote_plus

import msgspec
import pytest

from ingest.contract.event import Event
from tests.ingest.helpers import NOW
from tests.ingest.test_privacy import HASHED, Door, segment, sensors_form

MAIL = "zhang.wei@bank.cn"


def sensors(**more: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "e",
        "time": NOW,
        "distinct_id": "login-778899",
        "login_id": "login-778899",
        "properties": {},
        "lib": {"$lib": "js"},
        **more,
    }


def test_a_numeric_id_is_one_however_a_language_writes_the_number() -> None:
    props = {
        "user_id": 987654321.0,
        "n": 987654321,
        "less": -987654321,
        "text": "987654321.0",
        "half": 987654321.5,
        "more": 9876543210,
    }
    event = Door(HASHED).one("/v1/batch", {"batch": [segment(type="track", event="e", userId=987654321, properties=props)]})
    hashed = event.ids["user_id"]
    assert event.props == {
        "user_id": hashed,
        "n": hashed,
        "less": hashed,
        "text": f"{hashed}.0",
        "half": 987654321.5,
        "more": 9876543210,
    }
    assert json.loads(event.raw)["properties"]["user_id"] == hashed
    short = Door(HASHED).one("/v1/events", {"event": "x", "user_id": 42, "props": {"userId": 42.0, "count": 42.0}})
    assert short.props == {"userId": short.ids["user_id"], "count": 42.0}


def test_columns_of_short_texts_hold_no_id() -> None:
    body = {
        "event": f"of {MAIL}",
        "user_id": MAIL,
        **dict.fromkeys(("platform", "version", "channel", "lib", "lib_version"), MAIL),
    }
    (line,) = Door(HASHED).lines("/v1/events", body)
    assert b"zhang" not in line
    event = msgspec.json.decode(line, type=Event)
    assert event.platform == event.version == event.channel == event.lib == event.lib_version == event.ids["user_id"]
    plain = Door(HASHED).one("/v1/events", {"event": "e", "user_id": "9.1", "version": "9.1", "platform": "ios", "lib": "js"})
    assert (plain.version, plain.platform, plain.lib) == ("9.1", "ios", "js")  # so short, it is equal by chance


def test_identities_of_sensors_that_are_lists_or_longer_than_a_column() -> None:
    door = Door(HASHED)
    long = "L" * 300
    event = sensors(
        identities={"$identity_mobile": ["13800138000", 13900139000], "$identity_x": long, "$identity_none": None},
        properties={"$first_id": "first-998877", "url": f"https://a.cn/?x={long}&y=1"},
    )
    (line,) = door.lines("/sa", sensors_form(event), query="token=SA_TOKEN")
    for secret in (b"13800138000", b"13900139000", b"LLLLLLLL", b"first-998877", b"login-778899"):
        assert secret not in line
    found = msgspec.json.decode(line, type=Event)
    raw = json.loads(found.raw)
    assert raw["identities"]["$identity_x"] == found.ids["$identity_x"]
    assert found.props["url"] == f"https://a.cn/?x={found.ids['$identity_x']}&y=1"
    # the same number as an identity of its own is the same hash
    single = door.one("/sa", sensors_form(sensors(identities={"$identity_mobile": "13800138000"})), query="token=SA_TOKEN")
    assert raw["identities"]["$identity_mobile"][0] == single.ids["$identity_mobile"]


def test_ids_of_segments_context_that_have_no_column() -> None:
    context = {
        "device": {"id": "IDFV-123456", "token": "push-token-1", "name": "phone"},
        "externalIds": [{"id": "ext-id-12345", "type": "x"}, {"id": 5550001111}, "odd", None],
        "externalId": [{"id": "ext-of-rudder", "type": "x"}],
        "traits": {"id": "trait-id-555", "userId": "trait-u-666", "name": "kept"},
    }
    secrets = [b"push-token-1", b"ext-id-12345", b"5550001111", b"ext-of-rudder", b"trait-id-555", b"trait-u-666"]
    call = segment(type="track", event="e", context=context, properties={"device": "push-token-1"})
    inside = {"batch": [call]}
    outside = {"batch": [{name: value for name, value in call.items() if name != "context"}], "context": context}
    for body in (inside, outside):
        (line,) = Door(HASHED).lines("/v1/batch", body)
        assert not [one for one in secrets if one in line]
        event = msgspec.json.decode(line, type=Event)
        assert event.context["traits"]["name"] == "kept"
        assert event.context["device"]["token"] == event.props["device"]
    (line,) = Door(HASHED).lines("/v1/batch", {"batch": [segment(traits={"id": "trait-id-555", "user_id": 5550001111})]})
    assert b"trait-id-555" not in line
    assert b"5550001111" not in line
    for odd in ({"device": "token", "traits": ["id"], "externalIds": {"id": [[]]}}, {"traits": {"id": None, "userId": True}}):
        assert Door(HASHED).one("/v1/batch", {"batch": [segment(context=odd)]}).context == odd


def test_posthogs_previous_id() -> None:
    event = {
        "event": "$identify",
        "distinct_id": "ph-user-1234",
        "uuid": "u1",
        "properties": {"$previous_distinct_id": "prev-11223344", "note": "was prev-11223344"},
    }
    (line,) = Door(HASHED).lines("/batch/", {"api_key": "WRITEKEY_seg", "batch": [event]})
    assert b"prev-11223344" not in line


@pytest.mark.parametrize("user", [MAIL, "王伟 wei/7", "a+b|c=d&e"])
def test_an_id_that_is_escaped_for_an_address_is_found(user: str) -> None:
    ways = [
        quote(user),
        quote(user, safe=""),
        quote_plus(user),
        quote(user, safe="").lower(),
        quote(quote(user, safe=""), safe=""),
        quote(f"https://b.cn/?u={quote(user, safe='')}", safe=""),
    ]
    for way in ways:
        event = Door(HASHED).one(
            "/v1/batch",
            {"batch": [segment(type="track", event="e", userId=user, properties={"url": f"https://a.cn/?u={way}&x=%E8"})]},
        )
        hashed = event.ids["user_id"]
        assert event.props["url"].count(hashed) == 1
        assert event.props["url"].startswith("https://a.cn/?u=")
        assert event.props["url"].endswith(f"{hashed}&x=%E8")
        assert json.loads(event.raw)["properties"] == event.props


def test_denied_names_and_addresses_are_found_however_json_writes_them() -> None:
    door = Door('[privacy]\ndeny = ["phone", "a/b", "x&y"]\nip = "truncate"\n')
    props = rb'{"p\u0068one":1,"a\/b":2,"x\u0026y":3,"\u0069p":"203.0.113.77","kept":"\u003cb\u003e","url":"http:\/\/a.cn\/"}'
    event = door.one("/v1/events", b'{"event":"e","user_id":"u","props":%b}' % props)
    assert event.props == {"ip": "203.0.113.0", "kept": "<b>", "url": "http://a.cn/"}


@pytest.mark.parametrize("name", ["IP", "clientIP", "remote_address", "remoteAddr", "remoteAddress", "userIp"])
def test_what_else_addresses_are_called(name: str) -> None:
    event = Door('[privacy]\nip = "truncate"\n').one(
        "/v1/events", {"event": "e", "user_id": "u", "props": {name: "203.0.113.77"}}
    )
    assert event.props == {name: "203.0.113.0"}

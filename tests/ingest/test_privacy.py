"""The privacy rules over what SDKs send: nothing that is to go is anywhere in what leaves the collector, and all else is."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from ingest.collector.secret import read_key
from ingest.contract.errors import ConfigError
from ingest.contract.event import Event, check_line
from ingest.contract.privacy import KEY_VARIABLE, PrivacySettings
from ingest.contract.rejected import Rejected
from ingest.contract.settings import Settings, read_settings
from ingest.intake import Intake, Request, take
from ingest.keys import Keys
from ingest.limits import limits_of
from ingest.privacy.rule import Privacy
from ingest.resubmit import CannotResendError, resend
from ingest.routes import ROUTES
from ingest.rules import rules_of
from tests.ingest.helpers import CAPTURES, NOW, basic

KEY = b"0123456789abcdef0123456789abcdef"
PLAN = """
[[apps]]
id = "bank"
write_keys = ["WRITEKEY_seg", "SA_TOKEN"]
[[apps]]
id = "other"
write_keys = ["other-key"]
"""
ID_CARD, MOBILE, CARD = "11010519491231002X", "13800138000", "6222021234567890128"


class Door:
    """A collector's rules without its server."""

    def __init__(self, toml: str, key: bytes = KEY) -> None:
        self.settings: Settings = read_settings(PLAN + toml, {})
        self.privacy = Privacy(self.settings.privacy, self.settings, key)
        self.rules = rules_of(self.settings, self.privacy)

    def intake(self, path: str, body: object, headers: dict[str, str] | None = None, query: str = "") -> Intake:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = Request("POST", path, query, {"Authorization": "Bearer WRITEKEY_seg"} | (headers or {}), raw)
        keys, limits = Keys(self.settings.apps), limits_of(self.settings.collector)
        return take(request, ROUTES[path], keys, limits, NOW, self.rules, self.privacy.conceal)

    def lines(self, *arguments: Any, **more: Any) -> list[bytes]:
        """Event lines, each good in every reader's eyes."""
        found = [one.line for one in self.intake(*arguments, **more).accepted]
        for line in found:
            check_line(line)
        return found

    def one(self, *arguments: Any, **more: Any) -> Event:
        (line,) = self.lines(*arguments, **more)
        return msgspec.json.decode(line, type=Event)

    def rejected(self, *arguments: Any, **more: Any) -> Rejected:
        (record,) = self.intake(*arguments, **more).rejected
        return msgspec.json.decode(record, type=Rejected)


def segment(**more: Any) -> dict[str, Any]:
    return {
        "type": "identify",
        "userId": "customer-4711",
        "anonymousId": "5f1c9a7e-device",
        "messageId": "9361fccb-f967-4e35-aa40-000000000001",
        "timestamp": "2026-11-22T05:30:14.451+00:00",
        "traits": {"name": "王伟", "level": 3, "amount": 1.10, "big": 12345678901234567890123},
        "context": {"ip": "203.0.113.77", "library": {"name": "analytics-python", "version": "2.4.0"}},
        **more,
    }


def sensors_form(event: dict[str, Any]) -> bytes:
    raw = gzip.compress(json.dumps(event, ensure_ascii=False).encode())
    return b"crc=-12345&gzip=1&data=" + quote(base64.b64encode(raw), safe="").encode()


HASHED = "[privacy]\nhash_ids = true\n"


def test_hashed_ids_stand_nowhere_in_the_line_and_are_the_same_everywhere() -> None:
    door = Door(HASHED)
    first = segment(context={"traits": {"id": "customer-4711"}, "page": {"url": "https://x/u/customer-4711/cards"}})
    (line,) = door.lines("/v1/batch", {"batch": [first]})
    assert b"customer-4711" not in line
    assert b"5f1c9a7e-device" not in line
    event = msgspec.json.decode(line, type=Event)
    assert re.fullmatch("u:h-[0-9a-f]{32}", event.person)
    assert event.merge is not None
    assert event.merge.target == event.person == f"u:{event.ids['user_id']}"
    assert event.merge.source == f"a:{event.ids['anonymous_id']}"
    # the verbatim event is there still, with the hashes in the ids' places and all else to the letter
    raw = json.loads(event.raw)
    assert raw["userId"] == event.ids["user_id"]
    assert raw["anonymousId"] == event.ids["anonymous_id"]
    assert '"amount":1.1' in event.raw.replace(" ", "")
    assert "12345678901234567890123" in event.raw
    assert raw["context"]["page"]["url"] == f"https://x/u/{event.ids['user_id']}/cards"
    assert event.id == "9361fccb-f967-4e35-aa40-000000000001"
    # another protocol, app and collector: the same person
    other = Door(HASHED).one("/v1/events", {"event": "x", "user_id": "customer-4711"}, {"Authorization": "Bearer other-key"})
    assert other.person == event.person
    assert Door(HASHED, KEY[::-1]).one("/v1/events", {"event": "x", "user_id": "customer-4711"}).person != event.person


def test_hashed_ids_of_sensors_sdks_with_all_their_identities() -> None:
    door = Door(HASHED)
    event = {
        "type": "track_id_bind",
        "event": "$BindID",
        "distinct_id": "13911112222",
        "login_id": "13911112222",
        "anonymous_id": "1a201cda49b57e-0e5447",
        "identities": {"$identity_login_id": "13911112222", "$identity_mobile": "13911112222", "wechat": 'o6_"bmjr'},
        "time": 1795325414451,
        "_track_id": 612345678,
        "_flush_time": 1795325414999,
        "properties": {"$is_login_id": True, "first": "1a201cda49b57e-0e5447", "list": ["13911112222", 13911112222]},
        "lib": {"$lib": "js", "$lib_version": "1.27.11"},
    }
    (line,) = door.lines("/sa", sensors_form(event), query="token=SA_TOKEN")
    for secret in (b"13911112222", b"1a201cda49b57e", b"bmjr"):
        assert secret not in line
    found = msgspec.json.decode(line, type=Event)
    assert "crc" not in found.context  # it would tell whether a guess is right
    assert found.context["lib"]["$lib"] == "js"
    assert found.props["list"] == [found.ids["user_id"]] * 2
    assert found.merge is not None
    assert found.merge.target == f"u:{found.ids['user_id']}"
    plain = msgspec.json.decode(Door("").lines("/sa", sensors_form(event), query="token=SA_TOKEN")[0], type=Event)
    assert plain.id != found.id  # made of content, the id among it
    again = door.one("/sa", sensors_form(event | {"_flush_time": 1795325499999}), query="token=SA_TOKEN")
    assert again.id == found.id  # sent again, it is the same event


def test_a_short_id_is_not_mixed_up_with_what_is_counted() -> None:
    door = Door(HASHED)
    event = door.one("/v1/events", {"event": "x", "user_id": 42, "props": {"gift": "42", "count": 42, "userId": "42", "uid": 42}})
    hashed = event.ids["user_id"]
    assert event.props == {"gift": "42", "count": 42, "userId": hashed, "uid": hashed}


def test_what_is_hashed_already_is_not_hashed_again() -> None:
    door = Door(HASHED)
    first = door.one(
        "/v1/events", {"event": "x", "user_id": "customer-4711", "anonymous_id": "d", "type": "identify", "time": NOW}
    )
    again = door.one("/v1/events", {"event": "x", "user_id": first.person[2:], "id": first.id, "ids": first.ids})
    assert (again.person, again.id, again.ids["user_id"]) == (first.person, first.id, first.ids["user_id"])


def test_posthogs_events() -> None:
    event = {
        "event": "$identify",
        "distinct_id": "customer-4711",
        "properties": {
            "$anon_distinct_id": "0190-device",
            "$device_id": "0190-device",
            "$ip": "203.0.113.77",
            "$set": {"mobile": MOBILE, "email": "w@example.com"},
        },
        "timestamp": "2026-11-22T05:30:14.451Z",
        "uuid": "0190d2f1-0000-7000-8000-000000000001",
    }
    door = Door(f'{HASHED}detect = ["mobile"]\ndeny = ["email"]\nip = "truncate"\n')
    (line,) = door.lines("/batch/", {"api_key": "WRITEKEY_seg", "batch": [event]})
    for secret in ("customer-4711", "0190-device", "203.0.113.77", MOBILE, "w@example.com"):
        assert secret.encode() not in line
    found = msgspec.json.decode(line, type=Event)
    assert found.merge is not None
    assert found.merge.target == found.person
    assert found.id == "0190d2f1-0000-7000-8000-000000000001"


def test_items_of_a_catalogue_are_nobody() -> None:
    event = {"type": "item_set", "item_type": "fund", "item_id": "000001", "time": NOW, "properties": {"price": 1}}
    found = Door(HASHED).one("/sa", sensors_form(event), query="token=SA_TOKEN")
    assert found.person == "a:$item+fund+000001"
    assert found.ids == {"item_type": "fund", "item_id": "000001"}


def test_denied_properties_go_wherever_they_stand() -> None:
    door = Door('[privacy]\ndeny = ["phone", "身份证", "secret*"]\n')
    props = {"phone": "1", "deep": [{"身份证": 2, "ok": 3}], "secret_code": 4, "telephone": 5}
    for ascii_only in (True, False):
        call = {**segment(type="track", event="e", properties=props), "context": {"traits": {"phone": "6", "kept": 7}}}
        event = door.one("/v1/batch", json.dumps({"batch": [call]}, ensure_ascii=ascii_only).encode())
        assert event.props == {"deep": [{"ok": 3}], "telephone": 5}
        assert event.context == {"traits": {"kept": 7}}
        raw = json.loads(event.raw)
        assert raw["properties"] == event.props
        assert raw["context"] == event.context
        assert raw["userId"] == "customer-4711"
    assert door.privacy.counts == {("bank", "property"): 2}


def test_an_allow_list_keeps_nothing_else() -> None:
    door = Door('[privacy]\nallow = ["level", "$*", "library"]\n')
    event = door.one("/v1/batch", {"batch": [segment(traits={"level": 3, "name": "王伟", "$os": "iOS"})]})
    assert event.props == {"level": 3, "$os": "iOS"}
    assert event.context == {"library": {"name": "analytics-python", "version": "2.4.0"}}
    assert event.raw == ""


def test_an_app_may_have_rules_of_its_own() -> None:
    door = Door('[privacy]\ndeny = ["a"]\n[privacy.apps.other]\ndeny = ["b"]\n')
    body = {"event": "e", "user_id": "u", "props": {"a": 1, "b": 2}}
    assert door.one("/v1/events", body).props == {"b": 2}
    assert door.one("/v1/events", body, {"Authorization": "Bearer other-key"}).props == {"a": 1}


DETECT = '[privacy]\ndetect = ["id_card", "mobile", "bank_card"]\n'


@pytest.mark.parametrize("ascii_only", [True, False])
def test_detectors_look_into_all_values_at_any_depth(ascii_only: bool) -> None:
    door = Door(DETECT)
    props = {
        "note": f"身份证{ID_CARD}，卡{CARD}",
        "deep": [{"number": int(MOBILE), "amount": 13800138000.5, "order": 202611221234567890, "when": NOW}],
        "less": [-int(MOBILE), float(MOBILE), -13800138000.5, -1],
        f"of {MOBILE}": True,
    }
    call = segment(type="track", event=f"call {MOBILE}", properties=props, context={"a": {"card": int(CARD)}})
    event = door.one("/v1/batch", json.dumps({"batch": [call]}, ensure_ascii=ascii_only).encode())
    assert event.props == {
        "note": "身份证**************002X，卡***************0128",
        "deep": [{"number": "*******8000", "amount": 13800138000.5, "order": 202611221234567890, "when": NOW}],
        "less": ["-*******8000", "*******8000", -13800138000.5, -1],
        "of *******8000": True,
    }
    assert event.context == {"a": {"card": "***************0128"}}
    assert event.event == "call *******8000"
    raw = json.loads(event.raw)
    assert raw["properties"] == event.props
    assert raw["event"] == event.event
    assert event.person == "u:customer-4711"  # ids are for hash_ids: masked, two persons would be one
    assert door.privacy.counts == {("bank", "id_card"): 1, ("bank", "mobile"): 1, ("bank", "bank_card"): 1}


def test_what_has_nothing_to_hide_is_the_same_to_the_letter() -> None:
    plain, door = Door(""), Door(DETECT + 'deny = ["nothing"]\nip = "truncate"\n')
    segment_batch = (CAPTURES / "segment-python.json").read_bytes()
    checked = 0
    for request in json.loads(segment_batch):
        body = request.get("body_text") or request.get("body") or ""
        if not isinstance(body, str) or '"batch"' not in body:
            continue
        headers = {"Authorization": basic("WRITEKEY_seg")}
        for before, after in zip(
            plain.lines("/v1/batch", body.encode(), headers), door.lines("/v1/batch", body.encode(), headers), strict=True
        ):
            checked += 1
            assert after == before
    event = segment(type="track", event="e", properties={"order": "202611221234567890", "at": NOW, "x": 1.10})
    del event["context"]["ip"]
    assert door.lines("/v1/batch", {"batch": [event]}) == plain.lines("/v1/batch", {"batch": [event]})


def test_addresses_are_cut_to_their_network_or_go() -> None:
    call = segment()
    cut = Door('[privacy]\nip = "truncate"\n').one("/v1/batch", {"batch": [call]})
    assert cut.context["ip"] == json.loads(cut.raw)["context"]["ip"] == "203.0.113.0"
    gone = Door('[privacy]\nip = "drop"\n').one("/v1/batch", {"batch": [call]})
    assert "ip" not in gone.context
    assert "203.0.113" not in gone.raw
    for given, left in {"2001:db8:1:2::7": "2001:db8:1::", "::ffff:203.0.113.7": "203.0.113.0", "no address": None}.items():
        event = Door('[privacy]\nip = "truncate"\n').one("/v1/events", {"event": "e", "user_id": "u", "props": {"$ip": given}})
        assert event.props == {"$ip": left}


def test_an_id_made_of_content_tells_nothing_of_what_was_masked() -> None:
    body = {"event": "e", "user_id": "u", "time": NOW - 5, "props": {"phone": MOBILE}}
    assert Door("").one("/v1/events", body).id != Door(DETECT).one("/v1/events", body).id
    assert Door(DETECT).one("/v1/events", body).id == Door(DETECT).one("/v1/events", body).id
    named = body | {"id": "mine-7"}
    assert Door(DETECT).one("/v1/events", named).id == "mine-7"


@pytest.mark.parametrize(
    ("toml", "payload", "note"),
    [
        ("", f'"mobile": "{MOBILE}"', None),
        (DETECT, '"mobile":"*******8000"', "masked"),
        (DETECT + 'rejected = "drop"\n', "", "dropped"),
        (DETECT + 'rejected = "keep"\n', f'"mobile": "{MOBILE}"', None),
        (HASHED, "", "dropped"),
        ('[privacy]\ndeny = ["mobile"]\n', "bad", "masked"),
    ],
)
def test_what_is_rejected_is_kept_as_far_as_it_may_be(toml: str, payload: str, note: str | None) -> None:
    bad = [{"event": "good", "user_id": "u"}, {"event": 7, "bad": 1, "mobile": MOBILE}]
    found = Door(toml).rejected("/v1/events", bad)
    assert found.reason == "bad_event"
    assert found.context.get("privacy") == note
    assert payload in found.payload
    if note:
        assert MOBILE not in found.payload


@pytest.mark.parametrize(
    ("path", "body", "query"),
    [
        ("/v1/events", b'{"event": "broken", "mobile": "13800138000"', ""),
        ("/v1/batch", gzip.compress(b'{"no batch": 13800138000}', mtime=0), ""),
        ("/sa", b"data=" + base64.b64encode(b"no json 13800138000"), "token=SA_TOKEN"),
        ("/sa", sensors_form({"type": "track", "event": "e", "distinct_id": "13800138000"}), "token=of-no-app"),
    ],
)
def test_what_cannot_be_looked_into_is_not_kept(path: str, body: bytes, query: str) -> None:
    door = Door(DETECT)
    headers = {"Authorization": ""} if query == "token=of-no-app" else {}
    found = door.rejected(path, body, headers, query=query)
    assert found.payload == ""
    assert found.context["privacy"] == "dropped"
    assert sum(door.privacy.counts.values()) == 1


def test_what_a_batch_says_of_all_its_events_is_concealed_with_them() -> None:
    body = {"batch": [{"type": "track", "userId": "u", "event": 7}], "context": {"phone": MOBILE}, "sentAt": "2026-11-22"}
    plain = Door("").rejected("/v1/batch", body, query="a=13800138000")
    assert MOBILE in plain.context["envelope"]
    found = Door(DETECT).rejected("/v1/batch", body, query="a=13800138000")
    assert found.context["envelope"] == '{"context":{"phone":"*******8000"},"sentAt":"2026-11-22"}'
    assert "query" not in found.context
    gone = Door(HASHED).rejected("/v1/batch", body, query="a=13800138000")
    assert MOBILE not in str(gone)
    with pytest.raises(CannotResendError, match="privacy"):
        resend(gone, "0" * 16)
    assert resend(found, "0" * 16).path == "/v1/batch"


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ('[privacy.apps.nobody]\ndeny = ["a"]', '"nobody", which is not in the plan'),
        (
            '[[segments]]\nid = "age"\nsource = "props.age"\nvalues = ["1"]\n[privacy]\ndeny = ["a*"]',
            'counts by the property "age"',
        ),
        (
            '[[segments]]\nid = "g"\nsource = "props.g.k"\nvalues = ["1"]\n[privacy]\nallow = ["h"]',
            'counts by the property "g.k"',
        ),
        ('[privacy]\ndetect = ["passport"]', "passport"),
        ('[privacy]\nhash_key = "no"', "hash_key"),
    ],
)
def test_settings_that_cannot_be(toml: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        read_settings(PLAN + toml, {})


def test_the_key_comes_from_a_file_or_the_environment_and_must_be_long(tmp_path: Any) -> None:
    path = tmp_path / "key"
    path.write_bytes(KEY + b"\n")
    assert read_key(PrivacySettings(key_file=str(path)), {}) == KEY
    assert read_key(PrivacySettings(), {KEY_VARIABLE: KEY.decode()}) == KEY
    for settings, environment, words in (
        (PrivacySettings(), {}, "has no key"),
        (PrivacySettings(), {KEY_VARIABLE: "short"}, "too short"),
        (PrivacySettings(key_file=str(tmp_path / "none")), {KEY_VARIABLE: KEY.decode()}, "cannot be read"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            read_key(settings, environment)
        assert "short" not in str(caught.value).replace("too short", "")

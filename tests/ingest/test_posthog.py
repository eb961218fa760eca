"""PostHog's protocol beyond what the captures show."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import zstandard

from ingest.contract.event import Event, Merge
from ingest.intake import Intake
from ingest.reasons import Reason
from ingest.routes import ROUTES
from tests.ingest.helpers import LIMITS, NOW, events, post, rejections

UUID = "01a201c9-a7df-7b90-b0d1-47d5a0e2a62d"
EVENT: dict[str, Any] = {"event": "e", "uuid": UUID, "distinct_id": "d", "timestamp": "2026-11-22T05:00:00Z", "properties": {}}


def batch(*found: object, **fields: Any) -> Intake:
    """What comes of a batch."""
    return post("/batch/", {"api_key": "phc_TOKEN", "batch": list(found)} | fields, key="")


def one(properties: dict[str, Any] | None = None, **fields: Any) -> Event:
    """What comes of one event."""
    intake = batch(EVENT | {"properties": properties or {}} | fields)
    assert intake.refused == []
    (event,) = events(intake)
    return event


@pytest.mark.parametrize(
    ("properties", "person"),
    [
        ({}, "u:d"),  # a server knows its users
        ({"$process_person_profile": False}, "a:d"),
        ({"$process_person_profile": True}, "u:d"),
        ({"$is_identified": True, "$device_id": "d"}, "u:d"),
        ({"$is_identified": False, "$device_id": "x"}, "a:d"),
        ({"$is_identified": False, "$user_id": "d"}, "a:d"),  # after reset()
        ({"$user_id": "d", "$device_id": "x", "$process_person_profile": False}, "u:d"),
        ({"$device_id": "d"}, "a:d"),
        ({"$device_id": "x"}, "u:d"),
        ({"$device_id": "x", "$lib": "web"}, "a:d"),  # it would say $user_id
    ],
)
def test_whose_event_it_is(properties: dict[str, Any], person: str) -> None:
    assert one(properties).person == person


def test_the_id_may_stand_in_the_properties_or_be_the_devices() -> None:
    assert one({"distinct_id": "p", "$is_identified": True}, distinct_id=None).person == "u:p"
    assert one({"$device_id": "x"}, distinct_id=None).person == "a:x"
    assert one(distinct_id=77).person == "u:77"


@pytest.mark.parametrize(
    "fields",
    [
        {"distinct_id": None},
        {"distinct_id": ""},
        {"distinct_id": "$posthog_cookieless"},
        {"properties": {"$cookieless_mode": True}},
        {"options": {"cookieless_mode": True}},
    ],
)
def test_an_event_of_nobody_is_set_aside(fields: dict[str, Any]) -> None:
    intake = batch(EVENT | fields)
    assert (intake.answer.status, [refusal.reason for refusal in intake.refused]) == (200, [Reason.NO_PERSON])


@pytest.mark.parametrize(
    ("event", "properties", "merge"),
    [
        ("$identify", {"$anon_distinct_id": "x"}, Merge(source="a:x", target="u:d", how="identify")),
        ("$identify", {}, None),
        ("$create_alias", {"alias": "x", "$lib": "posthog-python"}, Merge(source="a:d", target="u:x", how="alias")),
        ("$create_alias", {"alias": "x", "$lib": "posthog-node"}, Merge(source="a:x", target="u:d", how="alias")),
        ("$create_alias", {"alias": "x", "$lib": "web", "$user_id": "d"}, Merge(source="a:x", target="u:d", how="alias")),
        ("$create_alias", {"alias": "x", "$lib": "web", "$is_identified": False}, Merge(source="a:d", target="u:x", how="alias")),
        ("$merge_dangerously", {"alias": "x"}, Merge(source="u:x", target="u:d", how="alias")),
        ("bought", {"alias": "x", "$anon_distinct_id": "y"}, None),
    ],
)
def test_merges(event: str, properties: dict[str, Any], merge: Merge | None) -> None:
    found = one(properties, event=event)
    assert found.merge == merge
    assert found.person == (merge.target if merge else "u:d")
    for name, value in properties.items():
        if name in ("alias", "$anon_distinct_id"):
            assert found.ids[name.removeprefix("$")] == value


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("$pageview", "page"),
        ("$screen", "screen"),
        ("$pageleave", "track"),
        ("$autocapture", "track"),
        ("$groupidentify", "group"),
        ("$set", "profile"),
        ("$unset", "profile"),
    ],
)
def test_types(name: str, kind: str) -> None:
    assert (one(event=name).type, one(event=name).event) == (kind, name)


def test_operations_on_the_users_properties_are_kept_wherever_they_stand() -> None:
    found = one({"a": 1, "$set": {"x": 1, "y": 1}}, **{"$set": {"y": 2}, "$set_once": {"z": 3}, "$unset": ["w"]})
    assert found.props == {"a": 1, "$set": {"x": 1, "y": 2}, "$set_once": {"z": 3}, "$unset": ["w"]}
    raw = json.dumps(EVENT | {"properties": {"n": 0}, "$set": {"n": 0}}).replace('"n": 0', '"n": 9007199254740993.10')
    (kept,) = post("/batch/", b'{"api_key":"phc_TOKEN","batch":[' + raw.encode() + b"]}", key="").accepted
    assert kept.line.count(b"9007199254740993.10") == 4, "digits are kept, in the properties and in the raw event"


def test_preset_properties_have_their_columns() -> None:
    preset = {
        "$os": "iOS",
        "$app_version": "9.1.0",
        "utm_source": "sms",
        "$lib": "posthog-ios",
        "$lib_version": "3.1",
        "$session_id": "s",
    }
    found = one(preset | {"$groups": {"company": "c-1"}, "$window_id": "w"})
    assert (found.platform, found.version, found.channel) == ("ios", "9.1.0", "sms")
    assert (found.lib, found.lib_version) == ("posthog-ios", "3.1")
    assert {"session_id": "s", "window_id": "w", "group:company": "c-1", "distinct_id": "d"}.items() <= found.ids.items()
    assert one({"$os": "Linux", "$is_server": True}).platform == ""


def test_a_clock_that_is_off_is_corrected_only_where_that_is_wanted() -> None:
    hour = 3_600_000
    device = "2026-11-22T05:00:00Z"
    at = 1_795_323_600_000
    sent = "2026-11-22T05:00:10Z"

    def time(properties: dict[str, Any] | None = None, received: int = at + hour, **envelope: Any) -> int:
        body = {"api_key": "phc_TOKEN", "sent_at": sent, "batch": [EVENT | {"timestamp": device, "properties": properties or {}}]}
        (found,) = events(post("/batch/", body | envelope, key="", received=received))
        assert (found.device_time, found.received, found.sent) == (at, received, at + 10_000 if sent else 0)
        return found.time

    assert time() == at + hour - 60_000
    assert time(received=at + 20_000) == at
    assert time({"$ignore_sent_at": True}) == at
    assert time(historical_migration=True) == at


def test_how_long_ago_it_was_is_a_time_too() -> None:
    found = one(timestamp=None, offset=5000)
    assert (found.time, found.device_time) == (NOW - 5000, NOW - 5000)
    assert one(timestamp=None).time == NOW


def test_ids_are_the_sdks_own_else_made_of_what_it_is() -> None:
    assert one().id == UUID
    assert one(uuid=None, messageId="m").id == "m"
    assert one({"$insert_id": "i"}, uuid=None).id == one({"$insert_id": "i"}, uuid=None, timestamp=None).id
    assert one(uuid=None).id == one(uuid=None).id != one({"a": 1}, uuid=None).id
    single = EVENT | {"api_key": "phc_TOKEN", "uuid": None}
    ids = {events(post("/capture/", single | {"sent_at": f"2026-11-22T05:00:0{n}Z"}, key=""))[0].id for n in range(3)}
    assert len(ids) == 1, "the time of sending is no part of it"


def zipped(value: object) -> bytes:
    return gzip.compress(json.dumps(value).encode())


BATCH = {"api_key": "phc_TOKEN", "batch": [EVENT]}
ENCODED = base64.b64encode(json.dumps(BATCH).encode())


@pytest.mark.parametrize(
    ("body", "query", "headers"),
    [
        (json.dumps(BATCH).encode(), "", {}),
        (json.dumps(EVENT | {"api_key": "phc_TOKEN"}).encode(), "", {}),
        (json.dumps(EVENT | {"token": "phc_TOKEN"}, indent=1).encode(), "", {}),
        (json.dumps([EVENT | {"properties": {"token": "phc_TOKEN"}}]).encode(), "", {}),
        (json.dumps([EVENT]).encode(), "", {"Authorization": "Bearer phc_TOKEN"}),
        (json.dumps(EVENT).encode(), "api_key=phc_TOKEN", {}),
        (zipped(BATCH), "", {"Content-Type": "text/plain"}),
        (zipped(BATCH), "compression=gzip-js&ver=1.2&_=1795323600000", {"Content-Type": "text/plain"}),
        (zlib.compress(json.dumps(BATCH).encode()), "", {"Content-Encoding": "deflate"}),
        (
            b"data=" + quote(ENCODED, safe="").encode(),
            "compression=base64",
            {"Content-Type": "application/x-www-form-urlencoded"},
        ),
        (ENCODED, "compression=base64", {}),
        (b"data=" + quote(json.dumps(BATCH)).encode(), "", {"Content-Type": "application/x-www-form-urlencoded"}),
        (b"compression=gzip-js&data=" + quote(base64.b64encode(zipped(BATCH)), safe="").encode(), "", {}),
    ],
)
def test_every_envelope_is_opened(body: bytes, query: str, headers: dict[str, str]) -> None:
    for path in [path for path, route in ROUTES.items() if route.protocol == "posthog" and not route.call]:
        intake = post(path, body, query=query, headers=headers, key="")
        assert [event.id for event in events(intake)] == [UUID]
        assert (intake.answer.status, json.loads(intake.answer.body)) == (200, {"status": "Ok"})


def test_a_pixel_carries_it_in_the_query() -> None:
    intake = post("/e/", query=f"ip=1&data={quote(ENCODED, safe='')}", key="", method="GET")
    assert [event.id for event in events(intake)] == [UUID]


def test_v1_is_told_of_each_event() -> None:
    good = EVENT | {"options": {"process_person_profile": False}, "session_id": "s"}
    bad = EVENT | {"uuid": "bad", "distinct_id": ""}
    late = EVENT | {"uuid": "late", "options": {"disable_skew_correction": True}}
    headers = {"PostHog-Sdk-Info": "posthog-go/1.2", "PostHog-Request-Timestamp": "2026-11-22T05:00:10Z"}
    body = {"created_at": "2026-11-22T05:00:00Z", "batch": [good, bad, late]}
    received = 1_795_323_600_000 + 3_600_000
    intake = post("/i/v1/analytics/events", body, headers=headers, key="phc_TOKEN", received=received)
    first, second = events(intake)
    assert (first.person, first.ids["session_id"], first.lib, first.lib_version) == ("a:d", "s", "posthog-go", "1.2")
    assert first.context == {"options": {"process_person_profile": False}}
    assert (first.time, second.time) == (received - 60_000, received - 3_600_000)
    results = {UUID: {"result": "ok"}, "late": {"result": "ok"}, "bad": {"result": "drop", "details": "no_person"}}
    assert (intake.answer.status, json.loads(intake.answer.body)) == (200, {"results": results})


@pytest.mark.parametrize("headers", [{"Content-Encoding": "zstd"}, {}])
def test_v1_may_be_compressed_with_zstd(headers: dict[str, str]) -> None:
    body = zstandard.compress(json.dumps({"batch": [EVENT | {"properties": {"姓名": "张三"}}]}).encode())
    intake = post("/i/v1/analytics/events", body, headers=headers, key="phc_TOKEN")
    (event,) = events(intake)
    assert (event.id, event.props) == (UUID, {"姓名": "张三"})
    assert json.loads(intake.answer.body) == {"results": {UUID: {"result": "ok"}}}


@pytest.mark.parametrize("headers", [{"Content-Encoding": "zstd"}, {}])
def test_v1_is_told_not_to_send_again_what_cannot_be_read(headers: dict[str, str]) -> None:
    intake = post("/i/v1/analytics/events", b"\x28\xb5\x2f\xfd", headers=headers, key="phc_TOKEN")
    assert (intake.answer.status, json.loads(intake.answer.body)) == (200, {"results": {}})
    assert len(rejections(intake)) == 1


def test_an_unknown_key_is_answered_200_and_kept() -> None:
    intake = post("/batch/", {"api_key": "phc_other", "batch": [EVENT]}, key="")
    assert (intake.answer.status, [record.reason for record in rejections(intake)]) == (200, [Reason.UNKNOWN_KEY])
    mixed = post("/e/", [EVENT | {"token": "phc_TOKEN"}, EVENT | {"token": "no"}, EVENT], key="")
    assert len(events(mixed)) == 1
    assert [(refusal.index, refusal.reason) for refusal in mixed.refused] == [(1, Reason.UNKNOWN_KEY), (2, Reason.UNKNOWN_KEY)]


@pytest.mark.parametrize(
    ("body", "query", "reason"),
    [
        (b"", "", Reason.BAD_BODY),
        (b"5", "", Reason.BAD_BODY),
        (b"data=%%%", "", Reason.BAD_BODY),
        (b'{"api_key":"phc_TOKEN","batch":5}', "", Reason.BAD_BODY),
        (b'{"api_key":"phc_TOKEN","batch":null}', "", Reason.BAD_EVENT),
        (b'{"api_key":"phc_TOKEN"}', "", Reason.BAD_EVENT),
        (b"N4IgbgpgTgzglgewHYgFwEYA0A", "compression=lz64", Reason.BAD_ENCODING),
        (b"\x1f\x8bxxxx", "", Reason.BAD_ENCODING),
    ],
)
def test_nonsense_is_answered_200_and_kept(body: bytes, query: str, reason: Reason) -> None:
    intake = post("/i/v0/e/", body, query=query, key="")
    assert (intake.answer.status, intake.accepted, [record.reason for record in rejections(intake)]) == (200, [], [reason])


def test_a_broken_event_leaves_the_others_whole() -> None:
    good = json.dumps(EVENT).encode()
    bad = (b'{"a":NaN}', b'{"event":5}', b'{"event":"e","distinct_id":{}}', b'{"event":"e","distinct_id":"d","timestamp":"x"}')
    body = b'{"api_key":"phc_TOKEN","batch":[' + b",".join((good, *bad, good)) + b"]}"
    intake = post("/batch/", body, key="")
    assert len(events(intake)) == 2
    reasons = [(refusal.index, refusal.reason) for refusal in intake.refused]
    assert reasons == [(1, Reason.BAD_JSON), (2, Reason.BAD_EVENT), (3, Reason.BAD_EVENT), (4, Reason.BAD_TIME)]
    assert all(f"`$.batch[{refusal.index}]" in refusal.detail for refusal in intake.refused)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_limits_hold_inside_of_the_base64_too(compress: Callable[[bytes], bytes]) -> None:
    body = b"data=" + base64.b64encode(compress(b" " * 1_000_000))
    intake = post("/e/", body, key="phc_TOKEN", limits=LIMITS._replace(inflated_bytes=10_000))
    assert [record.reason for record in rejections(intake)] == [Reason.TOO_LARGE]

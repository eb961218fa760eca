"""What real SDKs sent, byte for byte: every event is taken, the re-sent ones are known again, nothing is lost in translation."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from ingest.contract.event import Event
from tests.ingest.helpers import NOW, captured, events, replay

#: Requests, events on the wire, unique events, events that tell of a merge, and the SDK's own types, of each capture.
EXPECTED = {
    "segment-python": (27, 76, 66, 2, {"track": 71, "identify": 1, "alias": 1, "page": 1, "screen": 1, "group": 1}),
    "segment-node": (20, 66, 63, 2, {"track": 61, "identify": 1, "alias": 1, "page": 1, "screen": 1, "group": 1}),
    "sensors-python": (
        25, 80, 77, 3,
        {
            "track": 70, "track_signup": 1, "track_id_bind": 1, "track_id_unbind": 1, "profile_set": 1, "profile_set_once": 1,
            "profile_increment": 1, "profile_append": 1, "profile_unset": 1, "profile_delete": 1, "item_set": 1,
        },
    ),
    "sensors-browser-batch": (
        20, 74, 69, 3,
        {
            "track": 64, "profile_set_once": 2, "track_signup": 2, "track_id_bind": 1, "profile_set": 1, "profile_increment": 1,
            "profile_append": 1, "profile_unset": 1, "item_set": 1,
        },
    ),
    "sensors-browser-image": (
        70, 70, 70, 3,
        {
            "track": 60, "profile_set_once": 2, "track_signup": 2, "track_id_bind": 1, "profile_set": 1, "profile_increment": 1,
            "profile_append": 1, "profile_unset": 1, "item_set": 1,
        },
    ),
}  # fmt: skip


def all_events(name: str) -> list[Event]:
    found = []
    for request in captured(name):
        intake = replay(request)
        assert intake.answer.status == 200
        assert intake.refused == []
        found += events(intake)
    return found


@pytest.mark.parametrize("name", EXPECTED)
def test_every_captured_event_is_taken_and_every_copy_known_again(name: str) -> None:
    requests, on_wire, unique, merges, types = EXPECTED[name]
    found = all_events(name)
    assert len(captured(name)) == requests
    assert len(found) == on_wire
    once = {(event.app, event.id): event for event in found}
    assert len(once) == unique
    assert Counter(json.loads(event.raw)["type"] for event in found) == types
    assert sum(event.merge is not None or event.type == "unbind" for event in once.values()) == merges


@pytest.mark.parametrize("name", EXPECTED)
def test_a_copy_has_the_same_time_however_long_its_way_took(name: str) -> None:
    times: dict[str, set[int]] = {}
    for number, request in enumerate(captured(name)):
        for event in events(replay(request, NOW + number * 7)):
            times.setdefault(event.id, set()).add(event.time)
    assert [found for found in times.values() if len(found) > 1] == []


@pytest.mark.parametrize("name", EXPECTED)
def test_the_event_is_kept_to_the_letter(name: str) -> None:
    for event in all_events(name):
        said = json.loads(event.raw)
        assert event.received == NOW
        assert event.device_time
        assert event.lib
        assert event.lib_version
        assert event.protocol == name.partition("-")[0]
        props = said.get("properties") or {}
        if event.type in ("identify", "group") and event.protocol == "segment":
            props = said["traits"]
        assert event.props == props


def test_an_integer_beyond_a_double_keeps_all_its_digits() -> None:
    (found,) = [event for event in all_events("segment-python") if event.event == "购买理财"]
    assert found.props["n"] == 9007199254740993
    assert '"n": 9007199254740993' in found.raw


def test_a_login_in_the_browser_is_a_merge_of_visitor_and_user() -> None:
    first, second = [event for event in all_events("sensors-browser-batch") if event.event == "$SignUp"]
    visitor = f"a:{first.ids['anonymous_id']}"
    assert first.person == "u:user-8801"
    assert second.person == "u:$identity_custno+C9988"
    for event in (first, second):
        assert event.type == "identify"
        assert event.merge is not None
        assert (event.merge.source, event.merge.target, event.merge.how) == (visitor, event.person, "track_signup")


def test_an_event_that_names_another_project_belongs_to_its_app() -> None:
    (found,) = [event for event in all_events("sensors-python") if event.event == "Old"]
    assert found.app == "p3"

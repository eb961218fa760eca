"""What real SDKs sent, byte for byte: every event is taken, the re-sent ones are known again, nothing is lost in translation."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from ingest.contract.event import Event, Merge
from tests.ingest.helpers import CAPTURES, NOW, captured, events, replay

#: Of each capture: event requests, events on the wire, unique events, events that tell of a merge, and the SDK's own types.
EXPECTED: dict[str, dict[str, Any]] = json.loads((CAPTURES.parent / "captures_expected.json").read_text())


def all_events(name: str) -> list[Event]:
    found = []
    for request in captured(name):
        intake = replay(request)
        assert intake.answer.status == 200
        assert intake.refused == []
        found += events(intake)
    return found


def own_type(event: Event) -> str:
    """The type as the capture's counts name it."""
    if event.protocol == "posthog":
        return "identify" if event.type == "profile" else event.type
    return str(json.loads(event.raw)["type"])


@pytest.mark.parametrize("name", EXPECTED)
def test_every_captured_event_is_taken_and_every_copy_known_again(name: str) -> None:
    expected = EXPECTED[name]
    found = all_events(name)
    assert len(captured(name)) == expected["event_requests"]
    assert len(found) == expected["events_on_wire"]
    once = {(event.app, event.id): event for event in found}
    assert len(once) == expected["unique_events"]
    assert Counter(own_type(event) for event in found) == expected["types"]
    assert sum(event.merge is not None or event.type == "unbind" for event in once.values()) == expected["merge_hints"]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_copy_has_the_same_time_however_long_its_way_took(name: str) -> None:
    times: dict[str, set[int]] = {}
    for request in captured(name):
        for event in events(replay(request, NOW + round(request["t_ms"]))):  # as far apart as they came
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
        assert event.protocol == name.partition("-")[0].replace("rudder", "segment")
        props = said.get("properties") or {}
        if event.type in ("identify", "group") and event.protocol == "segment":
            props = said.get("traits") or said["context"]["traits"]
        elif event.protocol == "posthog":
            props |= {name: said[name] for name in ("$set", "$set_once", "$unset") if said.get(name)}
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


def test_a_login_with_posthog_is_a_merge_of_visitor_and_user() -> None:
    """Before identify a visitor (`a:`), after it a user (`u:`), and the merge says that they are one."""
    found = {event.event: event for event in all_events("posthog-browser")}
    visitor = found["页面点击"].person
    assert visitor == f"a:{found['页面点击'].ids['device_id']}" == found["$pageview"].person
    assert found["$identify"].merge == Merge(source=visitor, target="u:user-8801", how="identify")
    assert found["$create_alias"].merge == Merge(source="a:user-alias-1", target="u:user-8801", how="alias")
    after = {
        found[name].person for name in ("$identify", "$create_alias", "购买理财", "批量事件", "离开页面前", "$groupidentify")
    }
    assert after == {"u:user-8801"}
    assert found["批量事件"].ids["session_id"]
    assert found["批量事件"].ids["group:company"] == "org-7"


def test_posthogs_python_sdk_puts_the_old_id_first_in_an_alias() -> None:
    found = {event.event: event for event in all_events("posthog-python")}
    assert found["页面点击"].person == "a:anon-1", "no person profile was wanted"
    assert found["$identify"].merge == Merge(source="a:anon-1", target="u:user-8801", how="identify")
    assert found["$create_alias"].merge == Merge(source="a:anon-1", target="u:user-8801", how="alias")
    assert (found["$set"].type, found["$set"].props["$set"]) == ("profile", {"level": 3})
    assert (found["$set_once"].type, found["$set_once"].props["$set_once"]) == ("profile", {"first_channel": "web"})
    assert found["购买理财"].person == "u:user-8801"
    assert (found["v1_plain"].lib, found["v1_plain"].lib_version) == ("posthog-python", "7.91.1")


def test_a_login_with_rudderstack_keeps_the_traits_of_the_context() -> None:
    (found,) = [event for event in all_events("rudder-browser") if event.type == "identify"]
    assert found.merge == Merge(source=f"a:{found.ids['anonymous_id']}", target="u:user-8801", how="identify")
    assert found.props == {"姓名": "张三"}
    assert (found.platform, found.version, found.lib_version) == ("web", "", "3.34.1")


def test_an_event_that_names_another_project_belongs_to_its_app() -> None:
    (found,) = [event for event in all_events("sensors-python") if event.event == "Old"]
    assert found.app == "p3"

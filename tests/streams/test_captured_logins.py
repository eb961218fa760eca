"""What real SDKs sent around logins, in the order in which it came, through the stream: identify, alias, track_signup, bind and
unbind calls, users who log out and others who log in on the same device. Numbers are those of the persons that the rules name."""

from __future__ import annotations

import msgspec
import pytest

from deploy.simulator import truth
from ingest.contract.plan import App, Horizons, Project
from ingest.contract.settings import Settings
from ingest.contract.zones import DAY_MS
from tests.ingest.helpers import CAPTURES, NOW, captured, events, post, replay
from tests.streams.streamed import streamed

PLAN = Settings(
    project=Project(time_zone="Asia/Shanghai"),
    horizons=Horizons(late_days=60, late_hours=59 * 24),
    apps=[App(id="bank", write_keys=["bank"]), App(id="p3", write_keys=["p3"])],
)


@pytest.mark.parametrize("name", sorted(path.stem for path in CAPTURES.glob("*.json")))
def test_persons_are_those_that_the_rules_name(name: str) -> None:
    found = [event for request in captured(name) for event in events(replay(request, NOW + round(request["t_ms"])))]
    # some were captured with a time set by hand, long ago
    found = [one if one.received - one.time < DAY_MS else msgspec.structs.replace(one, time=one.received) for one in found]
    merges = sum(event.merge is not None for event in found)
    now = max(event.received for event in found)
    numbers = streamed(PLAN, (msgspec.json.encode(event) for event in found), now)
    assert numbers == truth.numbers(PLAN, found, now)
    persons = {event.person for event in found if event.type in ("track", "page", "screen")}
    counted = {key: value for key, value in numbers.items() if key.metric == "active_users" and key.window == "month"}
    assert 0 < sum(counted.values()) <= 2 * len(persons), (merges, counted)


def test_in_the_browser_a_second_user_of_the_device_is_another_person_and_what_comes_before_a_login_is_the_first_ones() -> None:
    """user-8801 logs in, later on a customer number does, on the same device: two persons, and no third one for the device."""
    found = [event for request in captured("sensors-browser-batch") for event in events(replay(request, NOW))]
    now = max(event.received for event in found)
    ids = {event.person for event in found if event.type in ("track", "page", "screen")}
    assert {id_[:2] for id_ in ids} == {"a:", "u:"}
    merged = {event.merge.source: event.merge.target for event in reversed(found) if event.merge}
    persons = {merged.get(id_, id_) for id_ in ids}
    assert len(persons) < len(ids)
    numbers = streamed(PLAN, (msgspec.json.encode(event) for event in found), now)
    months = {key: value for key, value in numbers.items() if key.metric == "active_users" and key.window == "month"}
    assert list(months.values()) == [len(persons)], (months, ids, merged)


def posthog(name: str) -> tuple[str, object]:
    return "/batch/", {
        "api_key": "phc_TOKEN",
        "batch": [{"event": name, "distinct_id": "new", "properties": {"alias": "old"}, "uuid": "m"}],
    }


@pytest.mark.parametrize(
    ("call", "users", "visitor_and_user"),
    [
        (("/v1/batch", {"batch": [{"type": "alias", "userId": "new", "previousId": "old", "messageId": "m"}]}), 2, 1),
        (("/v1/events", {"event": "alias", "type": "alias", "user_id": "new", "previous_id": "old", "id": "m"}), 2, 1),
        (posthog("$create_alias"), 2, 1),
        (posthog("$merge_dangerously"), 1, 2),
    ],
)
def test_the_old_id_of_an_alias_is_a_visitors_and_a_user_of_that_name_is_not_renamed(
    call: tuple[str, object], users: int, visitor_and_user: int
) -> None:
    """As docs/sdks.md says."""
    new = {"event": "e", "user_id": "new", "id": "1"}
    for old, persons in (("user_id", users), ("anonymous_id", visitor_and_user)):
        asked = [("/v1/events", [new, {"event": "e", old: "old", "id": "2"}]), call]
        found = [event for path, body in asked for event in events(post(path, body))]
        assert len(found) == 3
        numbers = streamed(PLAN, (msgspec.json.encode(event) for event in found), NOW)
        months = [value for key, value in numbers.items() if key.metric == "active_users" and key.window == "month"]
        assert months == [persons], old

"""Hashed ids change no number: the same events with ids as sent and with their hashes, through all partitions of a layout."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.contract.event import EventHead
from ingest.contract.partition import partition_of
from ingest.contract.privacy import PrivacySettings
from ingest.contract.settings import CollectorSettings
from ingest.keys import Keys
from ingest.limits import limits_of
from ingest.line import encode_line
from ingest.privacy.rule import Privacy
from ingest.protocols import Receipt
from ingest.protocols.native import decode_event
from tests.streams.plain import Number
from tests.streams.test_identity import BASE, NOW, PARTITIONS, ZONE, Cluster
from tests.streams.test_partition_properties import DAY, HOUR, plan_of

PLAN = plan_of(ZONE, ZONE)
#: Each device is one person's.
OWNER = {"1": "anna", "2": "anna", "device-0003": "bert", "4": "customer-00000007"}
NAMES = ["app_launch", "view", "pay", "push"]

EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "device": st.sampled_from(sorted(OWNER)),
            "known": st.booleans(),
            "app": st.sampled_from(["one", "two"]),
            "event": st.sampled_from(NAMES),
            "ago": st.one_of(st.integers(0, 3 * HOUR), st.integers(0, 5 * DAY)),
            "platform": st.sampled_from(["", "ios"]),
            "kind": st.sampled_from(["", "fund", "1", "4"]),
        }
    ),
    max_size=14,
)


def line(body: dict[str, Any], app: str, privacy: Privacy) -> tuple[bytes, str]:
    """An event's line and its person, after the rules."""
    event = decode_event(orjson.dumps(body), app, Receipt(BASE, Keys([]), limits_of(CollectorSettings())))
    privacy(event)
    encoded = encode_line(event)
    assert msgspec.json.decode(encoded, type=EventHead).person == event.person
    return encoded, event.person


def counted(bodies: list[tuple[dict[str, Any], str]], hash_ids: bool) -> dict[Number, int]:
    cluster = Cluster()
    privacy = Privacy(PrivacySettings(hash_ids=hash_ids), PLAN, b"k" * 32)
    for body, app in bodies:
        encoded, person = line(body, app, privacy)
        cluster.partitions[partition_of(person, PARTITIONS)].apply_frame(encoded, 0, NOW)
    cluster.settle()
    return cluster.numbers()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EVENTS)
def test_the_numbers_are_the_same_with_hashed_ids(drawn: list[dict[str, Any]]) -> None:
    bodies: list[tuple[dict[str, Any], str]] = []
    for number, one in enumerate(drawn):
        body = {"event": one["event"], "time": BASE - one["ago"] - number, "platform": one["platform"], "id": f"e{number}"}
        body["props"] = {"kind": one["kind"]} if one["kind"] else {}
        body["user_id" if one["known"] else "anonymous_id"] = OWNER[one["device"]] if one["known"] else one["device"]
        bodies.append((body, one["app"]))
    for device, owner in OWNER.items():
        body = {"event": "login", "type": "identify", "anonymous_id": device, "user_id": owner, "time": BASE, "id": f"l{device}"}
        bodies.insert(len(bodies) // 2, (body, "one"))
    plain = counted(bodies, hash_ids=False)
    assert counted(bodies, hash_ids=True) == plain
    assert bool(plain) == any(one["event"] != "push" for one in drawn)


def test_what_the_hashes_are_does_not_depend_on_where_and_when() -> None:
    body = {"event": "view", "user_id": "anna", "time": int(datetime(2026, 11, 20, tzinfo=UTC).timestamp() * 1000)}
    lines = {line(body, "one", Privacy(PrivacySettings(hash_ids=True), PLAN, b"k" * 32)) for _ in range(3)}
    assert len(lines) == 1

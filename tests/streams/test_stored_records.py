"""Changelogs as earlier Footfalls wrote them: this one must read them, and come to the totals that they had then.

`tests/streams/stored/v<version>.bin` is the changelog of one partition (MessagePack: key -> value), `v<version>.json` beside it
says by which plan, and what must come of it. When streams.codec.VERSION rises, leave the older files alone, and make new ones:

    python -m tests.streams.test_stored_records
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from ingest.contract.settings import read_settings
from streams.codec import CLOCK_KEY, STATE_KEY, VERSION, decode_record, decode_state, encode_record
from streams.partition import NOT_PERSONS, Partition
from streams.rules import Rules

STORED = Path(__file__).parent / "stored"
HOUR = 3_600_000
NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp() * 1000)

PLAN = """
[project]
time_zone = "Asia/Shanghai"
[horizons]
late_days = 20
late_hours = 60
[[apps]]
id = "one"
[[apps]]
id = "two"
time_zone = "America/New_York"
[[activities]]
id = "paying"
events = ["pay"]
login = true
[[scenes]]
id = "dining"
events = ["coupon"]
[[segments]]
id = "platform"
source = "platform"
values = ["ios", "android"]
[[segments]]
id = "age"
source = "props.age"
values = ["18-25", "26-35"]
[[groups]]
id = "both"
apps = ["one", "two"]
[[funnels]]
id = "buy"
app = "both"
window_hours = 48
by = "platform"
steps = [{ event = "app_launch" }, { event = "view" }, { event = "pay", where = { cash = true } }]
exclude = [{ event = "logout" }]
"""


def open_stored(path: Path, store: dict[bytes, bytes]) -> Partition:
    """A partition on a changelog, by the plan that is beside it."""
    plan = json.loads(path.with_suffix(".json").read_text())["plan"]
    return Partition(Rules(read_settings(plan, {})), "events", 0, 1, store, cached=10)


def read_stored(path: Path) -> dict[bytes, bytes]:
    return msgspec.msgpack.decode(path.read_bytes(), type=dict[bytes, bytes])


def named_totals(partition: Partition, store: dict[bytes, bytes]) -> list[list[Any]]:
    """[metric, scope, facet, window, start, value] of every total that is not 0; names as text."""
    names = decode_state(store[STATE_KEY]).names
    return sorted(
        [key.metric, names[key.scope], names[key.facet], key.window, key.start, value]
        for key, value in partition.summed_afresh().values().items()
        if value
    )


def targets(store: dict[bytes, bytes]) -> dict[str, str]:
    """Merged persons and what they became part of."""
    records = {key.decode(): decode_record(value) for key, value in store.items() if key not in NOT_PERSONS}
    return {person: record.target for person, record in sorted(records.items()) if record.target}


@pytest.mark.parametrize("path", sorted(STORED.glob("*.bin")), ids=lambda path: str(path.stem))
def test_a_changelog_of_an_earlier_version_gives_the_totals_it_had(path: Path) -> None:
    store = read_stored(path)
    expected = json.loads(path.with_suffix(".json").read_text())
    partition = open_stored(path, store)
    assert partition.persons == expected["persons"]
    assert partition.clock == expected["clock"]
    assert named_totals(partition, store) == expected["totals"]
    assert targets(store) == expected["targets"]


@pytest.mark.parametrize("path", sorted(STORED.glob("*.bin")), ids=lambda path: str(path.stem))
def test_a_record_of_an_earlier_version_is_the_same_after_being_written_by_this_one(path: Path) -> None:
    for key, value in read_stored(path).items():
        if key not in NOT_PERSONS:
            record = decode_record(value)
            assert decode_record(encode_record(record)) == record


@pytest.mark.parametrize("path", sorted(STORED.glob("*.bin")), ids=lambda path: str(path.stem))
def test_what_an_earlier_version_counted_is_not_counted_again(path: Path) -> None:
    store = read_stored(path)
    before = json.loads(path.with_suffix(".json").read_text())["totals"]
    partition = open_stored(path, store)
    for line in lines():
        partition.apply_frame(line, 0, NOON)
    settle(partition)
    assert named_totals(partition, store) == before


def test_this_version_has_a_stored_changelog() -> None:
    assert (STORED / f"v{VERSION}.bin").exists(), "make it: python -m tests.streams.test_stored_records"


def test_what_is_stored_has_everything_in_it() -> None:
    store = read_stored(STORED / f"v{VERSION}.bin")
    records = [decode_record(value) for key, value in store.items() if key not in NOT_PERSONS]
    parts = [part for record in records for part in record.parts.values()]
    assert any(part.launches for part in parts)
    assert any(part.spans for part in parts)
    assert any(len(part.by_facet()) > 4 for part in parts)
    assert any(record.funnels for record in records)
    assert any(record.target for record in records)
    assert {STATE_KEY, CLOCK_KEY} <= store.keys()
    metrics = {row[0] for row in json.loads((STORED / f"v{VERSION}.json").read_text())["totals"]}
    assert metrics == {
        "active_users",
        "launches",
        "usage_ms",
        "sessions",
        "new_users",
        "returning_users",
        "resurrected_users",
        "dormant_users",
        "retained_users",
        "overlap_users",
        "funnel_users",
        "funnel_conversions",
    }


# --- making one


def lines() -> list[bytes]:
    """Events of some persons over two months, in order of receipt; each a frame."""
    found: list[tuple[int, dict[str, Any]]] = []

    def add(person: str, app: str, event: str, hours_ago: float, late: float = 0.0, **more: Any) -> None:
        time = NOON - int(hours_ago * HOUR)
        received = time + int(late * HOUR)
        identity = f"{person}-{event}-{hours_ago}"
        line = {"id": identity, "app": app, "person": person, "event": event, "time": time, "received": received}
        found.append((received, line | more))

    for number in range(12):
        person, platform = f"u:{number}", ("ios", "android", "harmony", "")[number % 4]
        for app in ("one", "two")[: 1 + number % 2]:
            # an old day, so that somebody comes back after a month, and somebody goes dormant
            add(person, app, "app_launch", 24 * (40 - number), platform=platform)
            add(person, app, "view", 24 * 3 + number, late=number * 4.0, platform=platform, props={"age": "18-25"})
            add(person, app, "app_launch", 20 + number / 10, platform=platform, duration=60_000)
            add(person, app, "view", 19 + number / 10, platform=platform, props={"age": ["26-35", 7, True][number % 3]})
            add(person, app, "coupon", 18.5, platform=platform)
            if number % 3:
                add(person, app, "pay", 18 - number / 10, platform=platform, props={"cash": number % 2 == 1})
            if number % 5 == 0:
                add(person, app, "logout", 17.5, platform=platform)
    for number in (1, 2):
        add(f"a:{number}", "two", "app_launch", 30.0, platform="ios")
        add(f"a:{number}", "two", "view", 2.0, platform="ios")
        merge = {"source": f"a:{number}", "target": f"u:{number}", "how": "identify"}
        add(f"u:{number}", "two", "login", 1.0, type="identify", merge=merge)
    return [orjson.dumps(line) for _, line in sorted(found, key=lambda one: (one[0], one[1]["id"]))]


def settle(partition: Partition) -> None:
    """Checkpoints, with the partition's messages to itself, until there is nothing left to do."""
    messages = True
    while messages:
        taken = partition.take(NOON + HOUR)
        partition.commit(taken)
        assert not taken.rejected
        messages = bool(taken.merges)
        for _, message in taken.merges:
            partition.apply_merges(message, 0, NOON)


def write() -> None:
    """Writes the changelog of this version, and what must come of it. Raises FileExistsError: a stored one is never changed."""
    path = STORED / f"v{VERSION}.bin"
    store: dict[bytes, bytes] = {}
    partition = Partition(Rules(read_settings(PLAN, {})), "events", 0, 1, store, cached=10)
    for line in lines():
        partition.apply_frame(line, 0, NOON)
        settle(partition)
    expected = {
        "plan": PLAN,
        "persons": partition.persons,
        "clock": partition.clock,
        "targets": targets(store),
        "totals": named_totals(partition, store),
    }
    with path.open("xb") as file:
        file.write(msgspec.msgpack.encode(store))
    path.with_suffix(".json").write_text(json.dumps(expected, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    write()

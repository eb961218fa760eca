"""Every captured request, byte for byte, once and twice, to a collector's process: what is in Kafka and in ClickHouse then."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from deploy.kafka.broker import LocalBroker
from deploy.kafka.topics import create_topics
from ingest.contract.event import Event
from ingest.contract.settings import Settings
from tests.ingest.conftest import settings_on
from tests.ingest.helpers import CAPTURES, captured, events, replay
from tests.ingest.running import RunningCollector, ask, events_in
from tests.ingest.wire import Wire, collector_process
from tests.ports import free_port
from tests.sinks.process import SinksProcess, number, rows, until

pytestmark = [pytest.mark.broker, pytest.mark.clickhouse, pytest.mark.timeout(300)]
EXPECTED: dict[str, dict[str, Any]] = json.loads((CAPTURES.parent / "captures_expected.json").read_text())
SDKS_PAGE = Path(__file__).parents[2] / "docs" / "sdks.md"
#: The program that replays captures, where this clone lies beside the folder that has it.
REPLAY = Path(__file__).parents[2].parent / "shared" / "protocols" / "replay.py"


class Replayed(NamedTuple):
    """What came of it: statuses of the first sending, the events then, and the events after two more of each request."""

    settings: Settings
    statuses: dict[str, Counter[int]]
    once: list[Event]
    thrice: list[Event]


def send_all(port: int, times: int) -> dict[str, Counter[int]]:
    """Sends each request of every capture that many times in a row; the statuses by capture."""
    found = {}
    for name in EXPECTED:
        with contextlib.closing(Wire(port)) as wire:
            found[name] = Counter(wire.send(request) for request in captured(name) for _ in range(times))
    return found


@pytest.fixture(scope="module")
def replayed(broker: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    folder = tmp_path_factory.mktemp("replayed")
    settings = settings_on(broker.bootstrap, "captures-whole")
    sinks = msgspec.structs.replace(settings.sinks, port=free_port(), clickhouse_port=free_port(), console_port=0, batch_ms=100)
    settings = msgspec.structs.replace(settings, data_dir=str(folder / "var"), sinks=sinks)
    create_topics(settings)
    with collector_process(settings, folder):
        statuses = send_all(settings.collector.port, 1)
        once = events_in(settings)
        twice = send_all(settings.collector.port, 2)
        assert ask(settings.collector.metrics_port, "/health/live").status == 200
    assert {status for counted in twice.values() for status in counted} == {200}
    return Replayed(settings, statuses, once, events_in(settings))


def owners() -> dict[str, str]:
    """Event id -> the capture that it is in."""
    return {event.id: name for name in EXPECTED for request in captured(name) for event in events(replay(request))}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_event_request_is_answered_200(replayed: Replayed, name: str) -> None:
    assert replayed.statuses[name] == {200: EXPECTED[name]["event_requests"]}


def test_unique_events_are_those_that_the_sdks_made(replayed: Replayed) -> None:
    owner = owners()
    for found, times in ((replayed.once, 1), (replayed.thrice, 3)):
        on_wire = Counter(owner[event.id] for event in found)
        assert on_wire == {name: expected["events_on_wire"] * times for name, expected in EXPECTED.items()}
        unique = Counter(owner[one] for one in {event.id for event in found})
        assert unique == {name: expected["unique_events"] for name, expected in EXPECTED.items()}


@pytest.fixture(scope="module")
def landed(replayed: Replayed) -> Iterator[Settings]:
    """The same in ClickHouse; the sinks have ended, and the embedded engine is free."""
    with SinksProcess(replayed.settings) as sinks:
        sinks.until_ready()
        unique = len({event.id for event in replayed.thrice})
        until(lambda: number(replayed.settings, "SELECT uniqExact(id) FROM events") == unique, sinks)
        yield replayed.settings


def leaves(value: dict[str, Any]) -> frozenset[tuple[str, str]]:
    """What a column of JSON has of an object: paths and values; no nulls, also not in what is listed, and no empty objects."""

    def without_nulls(one: Any) -> Any:
        if isinstance(one, dict):
            return {name: without_nulls(inner) for name, inner in one.items() if inner is not None}
        return [without_nulls(inner) for inner in one] if isinstance(one, list) else one

    def walk(one: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
        for name, inner in without_nulls(one).items():
            if isinstance(inner, dict):
                yield from walk(inner, f"{path}{name}.")
            else:
                yield path + name, json.dumps(inner, sort_keys=True)

    return frozenset(walk(value, ""))


def test_nothing_is_lost_on_the_way_to_clickhouse(replayed: Replayed, landed: Settings) -> None:
    """Verbatim event, properties, context, ids, merge, three times, library and version, as they left the collector."""
    columns = (
        *("id", "app", "person", "event", "type", "time", "received", "device_time", "sent", "platform", "version"),
        *("channel", "duration", "protocol", "lib", "lib_version", "raw"),
    )
    left: set[tuple[object, ...]] = set()
    for event in replayed.thrice:
        assert event.raw
        assert event.lib
        assert event.lib_version
        merge = "" if event.merge is None else f"{event.merge.source} {event.merge.target} {event.merge.how}"
        own = (getattr(event, name) for name in columns)
        left.add((*own, frozenset(event.ids.items()), merge, leaves(event.props), leaves(event.context)))
    others = "ids, arrayStringConcat([merge.1, merge.2, merge.3], ' '), toJSONString(props), toJSONString(context)"
    found = rows(landed, f"SELECT {', '.join(columns)}, {others} FROM events")
    arrived = {
        (*values, frozenset(ids.items()), merge.strip(), leaves(json.loads(props)), leaves(json.loads(context)))
        for *values, ids, merge, props, context in found
    }
    assert arrived <= left
    assert any(props for *_, props, _ in arrived)
    assert any(context for *_, context in arrived)
    assert {one[0] for one in arrived} == {event.id for event in replayed.thrice}


def test_operations_on_users_properties_can_be_asked_for(landed: Settings) -> None:
    sensors = rows(
        landed, "SELECT DISTINCT event FROM events WHERE protocol = 'sensors' AND type IN ('profile', 'item') ORDER BY event"
    )
    assert [one for (one,) in sensors] == [
        "item_set",
        "profile_append",
        "profile_delete",
        "profile_increment",
        "profile_set",
        "profile_set_once",
        "profile_unset",
    ]
    (sql,) = re.findall(r"^```sql\n(.*?)^```$", SDKS_PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    told = rows(landed, sql)
    found = {
        (person, operation, name, json.loads(value)) for _, person, _, operation, name, value in told if value[0] not in "[{"
    }
    user = "u:user-8801"
    assert {
        (user, "set", "姓名", "张三"),
        (user, "$set", "姓名", "张三"),
        (user, "$set", "level", 3),
        (user, "$set_once", "first_channel", "web"),
    } <= found
    assert {operation for _, operation, _, _ in found} >= {
        "profile_set",
        "profile_set_once",
        "profile_increment",
        "profile_unset",
    }
    assert {operation for _, _, _, operation, _, value in told if value[0] == "["} == {"profile_append"}


@pytest.mark.skipif(not REPLAY.exists(), reason="the program that replays captures is not beside this clone")
def test_the_program_that_replays_captures_is_content(collector: RunningCollector) -> None:
    command = [
        sys.executable,
        str(REPLAY),
        "--base",
        f"http://127.0.0.1:{collector.port}",
        "--with-preflight",
        "--cdn",
        "--twice",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert "not-200 0" in done.stdout
    unique = len({event.id for event in collector.events()})
    assert unique == sum(expected["unique_events"] for expected in EXPECTED.values())

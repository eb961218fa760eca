"""What `verify` says once raw events have lived their time: it compares what can still be worked out, and says what not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from sinks.verify.main import verify_tables
from streams.contract.total import TotalKey
from tests.sinks.verify_events import DAY
from tests.sinks.verify_rig import MIDNIGHT, SETTINGS, activity, both, engine, put_all

NOW = MIDNIGHT + 2 * DAY
#: Raw events live for twenty days here.
SHORT = msgspec.structs.replace(SETTINGS, clickhouse=msgspec.structs.replace(SETTINGS.clickhouse, events_ttl_days=20))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with engine(tmp_path_factory.mktemp("reach")) as one:
        yield one


@pytest.mark.clickhouse
def test_windows_that_raw_events_no_longer_reach_are_left_out_and_that_is_said(client: Any) -> None:
    rows = [activity(MIDNIGHT - back * DAY, person=f"u:{who}") for back, who in ((40, 1), (30, 2), (2, 1), (1, 2), (0, 1))]
    numbers = both(client, rows)
    put_all(client, numbers)
    whole = verify_tables(client, SETTINGS, None, "", NOW)
    assert (whole.different, [note for note in whole.notes if "are gone" in note]) == (0, [])
    client.command(f"ALTER TABLE events DELETE WHERE time < {MIDNIGHT - 20 * DAY} SETTINGS mutations_sync = 2")
    assert verify_tables(client, SETTINGS, None, "", NOW).different > 0, "who thinks that they live longer misses them"
    found = verify_tables(client, SHORT, None, "", NOW)
    assert found.different == 0
    assert any("raw events of before 2026-04-26 are gone" in note for note in found.notes), found.notes
    assert 0 < sum(found.compared.values()) < sum(whole.compared.values())


@pytest.mark.clickhouse
def test_a_difference_in_what_they_still_reach_is_found(client: Any) -> None:
    numbers = both(client, [activity(MIDNIGHT - 40 * DAY), activity(MIDNIGHT)])
    wrong = TotalKey("active_users", "home", "", "day", MIDNIGHT)
    assert numbers[wrong] == 1
    put_all(client, numbers | {wrong: 2})
    client.command(f"ALTER TABLE events DELETE WHERE time < {MIDNIGHT - 20 * DAY} SETTINGS mutations_sync = 2")
    found = verify_tables(client, SHORT, None, "", NOW)
    assert [one.key for one in found.differences] == [wrong]

"""The simulator's journal survives a kill, and the truth of it is as sure as the acknowledgements are."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from deploy.simulator import truth
from deploy.simulator.journal import Batch, Journal, Sent, read_journals
from deploy.simulator.main import truth_numbers
from ingest.contract.errors import ConfigError
from ingest.contract.event import Event
from ingest.contract.settings import read_settings
from streams.contract.total import TotalKey

DEMO = Path(__file__).parent.parent.parent / "deploy" / "demo.toml"
PLAN = read_settings(DEMO.read_text(), {})
ZONE = ZoneInfo("Asia/Shanghai")


# --- the journal and the truth ------------------------------------------------------------------------------------------------


def entry(time: int, received: int = 0, **fields: Any) -> Sent:
    fields = {"id": str(time), "app": "harbor", "person": "u:1", "event": "pay_bill"} | fields
    return Sent(time=time, received=received, **fields)


def journal(path: Path, acked: list[tuple[list[Sent], int, int]], lost: list[tuple[list[Sent], int]]) -> None:
    file = Journal(path)
    for events, at, done in acked:
        file.acked(file.send(events, at), done)
    for events, at in lost:
        file.send(events, at)
    file.close()


def test_a_journal_gives_back_what_was_acknowledged_and_what_perhaps_was_not(tmp_path: Path) -> None:
    path = tmp_path / "journal.gz"
    journal(path, [([entry(1)], 5, 7)], [([entry(2), entry(3)], 6)])
    assert list(read_journals([path])) == [
        Batch(sent=5, acked=7, events=[entry(1)]),
        Batch(sent=6, acked=0, events=[entry(2), entry(3)]),
    ]


def test_a_journal_can_be_read_up_to_its_last_whole_line_wherever_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "journal.gz"
    journal(path, [([entry(1)], 5, 7), ([entry(2)], 6, 8)], [])
    whole = path.read_bytes()
    seen = set()
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        seen.add(tuple((batch.sent, batch.acked) for batch in read_journals([path])))
    # gzip's own checksum comes after the line: there the last line is whole already
    assert seen - {((5, 7), (6, 8))} == {(), ((5, 0),), ((5, 7),), ((5, 7), (6, 0))}


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.gz"
    path.write_text("hello, this is no gzip file")
    with pytest.raises(ConfigError, match="no journal"):
        list(read_journals([path]))


NOON = int(datetime(2026, 9, 1, 12, tzinfo=ZONE).timestamp() * 1000)
DAY_START = int(datetime(2026, 9, 1, tzinfo=ZONE).timestamp() * 1000)


def bounds_of(path: Path, out: Path, metric: str, facet: str = "") -> tuple[int, int]:
    truth_numbers(PLAN, [path], out, now=NOON + 86_400_000)
    lines = [json.loads(one) for one in out.read_text().splitlines()]
    assert lines[0] == {"footfall_truth": 1, "at": NOON + 86_400_000}
    for one in lines[1:]:
        if one["metric"] == metric and one["window"] == "day" and one["app"] == "harbor" and one["facet"] == facet:
            return one["low"], one["high"]
    return 0, 0


def test_events_without_acknowledgement_make_the_truth_a_range(tmp_path: Path) -> None:
    path, out = tmp_path / "journal.gz", tmp_path / "numbers.jsonl"
    journal(path, [([entry(NOON)], NOON + 1, NOON + 2)], [([entry(NOON + 5, person="u:2")], NOON + 6)])
    assert bounds_of(path, out, "active_users") == (1, 2)
    assert bounds_of(path, out, "active_users", "activity:paying") == (1, 2)


def test_an_event_that_was_perhaps_received_too_late_makes_the_truth_a_range(tmp_path: Path) -> None:
    path, out = tmp_path / "journal.gz", tmp_path / "numbers.jsonl"
    limit = NOON + 48 * 3_600_000
    journal(path, [([entry(NOON)], limit, limit + 1)], [])
    assert bounds_of(path, out, "sessions") == (0, 2)
    assert bounds_of(path, out, "active_users") == (1, 1)
    journal(path, [([entry(NOON)], limit - 1, limit)], [])
    assert bounds_of(path, out, "sessions") == (1, 1)


def test_a_truth_counts_persons_not_events() -> None:
    events = [Event(id="1", app="harbor", person="u:1", event="login", time=NOON + one, received=NOON + one) for one in range(3)]
    found = truth.numbers(PLAN, [*events, *events], NOON)
    assert found[TotalKey("active_users", "harbor", "", "day", DAY_START)] == 1
    assert found[TotalKey("active_users", "all", "", "day", DAY_START)] == 1
    assert found[TotalKey("usage_ms", "harbor", "", "day", DAY_START)] == 2

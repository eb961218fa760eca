"""Merges that were granted, from the worker's topic into `person_merges`; and texts that look like dates."""

from __future__ import annotations

import msgspec
import pytest

from deploy.kafka.topics import create_topics
from ingest.contract.settings import Settings
from ingest.contract.topics import topic_names
from sinks.clickhouse.kinds import Merges
from sinks.clickhouse.rows import MergesBatch
from streams.contract.merge import MergeMessage, encode_merge
from tests.sinks.process import SinksProcess, event, number, produce, rows, until

MERGED = MergeMessage(kind="merged", person="a:1", target="u:1", clock=5, at=7)


def test_only_granted_merges_become_rows_and_claims_are_nothing_amiss() -> None:
    batch = MergesBatch(3)
    batch.add(10, encode_merge(MergeMessage(kind="claim", person="a:1", target="u:1")))
    assert (batch.rows, batch.inserts(), batch.last_offset) == (0, [], 10)
    batch.add(11, encode_merge(MERGED))
    batch.add(12, b"nothing")
    batch.add(13, encode_merge(MERGED))
    (insert,) = batch.inserts()
    assert [msgspec.json.decode(row.line) for row in insert.rows] == [
        {"person": "a:1", "target": "u:1", "at": 7, "clock": 5, "partition": 3, "offset": 13}
    ]
    assert (insert.last, batch.skipped) == (13, 1)


def test_every_line_of_a_frame_of_messages_is_looked_at() -> None:
    batch = MergesBatch(3)
    other = MergeMessage(kind="merged", person="a:2", target="u:1", clock=5, at=7)
    claim = MergeMessage(kind="claim", person="a:3", target="u:1")
    batch.add(10, b"\n".join([encode_merge(MERGED), b"nothing", encode_merge(claim), encode_merge(other)]))
    (insert,) = batch.inserts()
    assert [msgspec.json.decode(row.line)["person"] for row in insert.rows] == ["a:1", "a:2"]
    assert batch.skipped == 1


def test_it_goes_on_after_what_was_committed_although_few_records_become_rows(demo_settings: Settings) -> None:
    kind = Merges(demo_settings)
    committed = {0: 500, 1: 90, 2: None, 3: 7}
    assert kind.held(lambda _sql, _parameters: [(0, 20), (1, 95)], committed) == {0: 499, 1: 95, 3: 6}
    assert kind.held(lambda _sql, _parameters: [], committed) == {}, "an emptied table is filled again from the start"


@pytest.mark.broker
@pytest.mark.clickhouse
def test_merges_land_also_after_a_kill_between_insert_and_commit(settings: Settings) -> None:
    create_topics(settings)
    quick = msgspec.structs.replace(settings, sinks=msgspec.structs.replace(settings.sinks, batch_ms=100))
    topic = topic_names(quick).merges
    others = [MergeMessage(kind="merged", person=f"a:{one}", target="u:1") for one in range(2, 5)]
    produce(quick, topic, [encode_merge(MERGED), *map(encode_merge, others)])
    with SinksProcess(quick, failpoint="after_insert:merges") as sinks:
        assert sinks.wait() == -9
    produce(quick, topic, [encode_merge(MergeMessage(kind="claim", person="a:9", target="u:1"))], partition=1)
    produce(quick, topic_names(quick).events, [event(1, props={"due": "2026-01-31", "at": "2026-01-31T10:00:00Z"})])
    with SinksProcess(quick) as sinks:
        sinks.until_ready()
        until(lambda: number(quick, "SELECT count() FROM person_merges FINAL") == 4, sinks)
        until(lambda: sinks.gauges().get(f'footfall_sink_lag_records{{topic="{topic}"}}') == 0, sinks)
        until(lambda: number(quick, "SELECT count() FROM events") == 1, sinks)
        assert rows(quick, "SELECT toString(props.due), toString(props.at) FROM events") == [
            ("2026-01-31", "2026-01-31T10:00:00Z")
        ]
        assert sinks.stop() == 0
    assert rows(quick, "SELECT target, at, clock, partition FROM person_merges FINAL WHERE person = 'a:1'") == [("u:1", 7, 5, 0)]

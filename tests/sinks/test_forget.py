"""Forgetting on the side of ClickHouse: batches end at control lines, rows go, and only closed totals are corrected."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import clickhouse_connect
import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from ingest.contract.control import Control, Erasure, encode_control
from ingest.contract.errors import LayoutError
from ingest.contract.plan import App, Plan
from ingest.contract.settings import Settings
from sinks.clickhouse.erase import Eraser
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.rows import EventsBatch, MetricsBatch
from sinks.forget.corrections import candidates, corrections
from sinks.forget.receipt import Receipt, Rows, render, subject_of
from sinks.forget.traces import ids_of, others_with, rows_of
from sinks.verify.main import sql_numbers
from streams.contract.total import Total, TotalKey, encode_total, record_key

DAY = 86_400_000
NOW = 1_795_262_400_000
FORGET = encode_control(Control(control="forget", at=NOW, person="u:anna"))


def line(number: int, person: str = "u:anna", received: int = NOW, **more: Any) -> bytes:
    event = {"id": f"e{number}", "app": "bank", "person": person, "event": "pay", "time": received, "received": received}
    return msgspec.json.encode(event | more)


def test_a_control_line_ends_the_batch_and_rows_before_and_after_it_have_stamps_of_their_own() -> None:
    before = EventsBatch(2)
    before.add(7, line(1))
    ends = [before.ends]
    before.add(8, FORGET)
    assert [*ends, before.ends] == [False, True]
    assert before.controls[0].person == "u:anna"
    assert (before.rows, before.skipped, before.last_offset) == (1, 0, 8)
    assert [(insert.before, insert.last) for insert in before.inserts()] == [(6, 7)]
    after = EventsBatch(2)
    after.add(9, line(2))
    after.add(10, line(3, received=NOW - 40 * DAY))  # two months are two inserts
    assert [(insert.before, insert.last) for insert in after.inserts()] == [(8, 8), (8, 10)]
    with pytest.raises(LayoutError, match="update"):
        EventsBatch(2).add(11, b'{"control":"of tomorrow","at":1}')


def test_a_correction_is_a_row_beside_the_total_that_it_corrects() -> None:
    batch = MetricsBatch(3)
    for partition, value in ((3, 10), (-77, -1), (1, 5)):
        total = Total(
            metric="launches",
            app="bank",
            facet="",
            window="day",
            start=0,
            day="2026-11-21",
            hour=-1,
            layout="1",
            partition=partition,
            value=value,
            at=NOW,
        )
        batch.add(value + 100, encode_total(total))
        assert (b"-77" in record_key(total)) is (partition < 0)
    assert (batch.rows, batch.skipped) == (2, 1)


def test_only_what_the_worker_could_not_correct_is_corrected() -> None:
    plan = Plan(apps=[App(id="bank")])

    def key(metric: str, days_ago: int) -> TotalKey:
        return TotalKey(metric, "bank", "", "day", NOW - days_ago * DAY)

    old, two_ids, opened, done, odd, young = (
        key("launches", 10),
        key("launches", 11),
        key("launches", 12),
        key("launches", 13),
        key("launches", 14),
        key("launches", 0),
    )
    merged = {old: 3, two_ids: 1, opened: 2, done: 2, odd: 1, young: 4}
    unmerged = merged | {two_ids: 2}
    keys = candidates(plan, NOW, merged, unmerged)
    assert keys == {old, two_ids, opened, done, odd}
    before = {old: 13, two_ids: 12, opened: 12, done: 10, odd: 20}
    after = before | {opened: 10}  # the worker took two off
    others = dict.fromkeys(keys, 10)
    found = corrections(keys, merged, unmerged, before, after, others)
    assert found.amounts == {old: -3, two_ids: -2}
    assert found.open == 2
    assert found.unresolved == [odd]


def test_rows_are_erased_up_to_an_offset_and_no_statement_tells_whose(client: Client, demo_settings: Settings) -> None:
    def events(offset: int, *lines: bytes) -> None:
        options = {"log_comment": f"t.events|2|{offset}"}
        client.raw_insert("events", None, b"\n".join(lines), settings=options, fmt="JSONEachRow")

    anna, device = "u:customer-4711", "a:phone-of-anna"
    events(5, line(1, anna), line(2, device), line(3, "u:bert", ids={"anonymous_id": "phone-of-anna"}))
    events(9, line(4, anna))
    payloads = ['{"userId":"customer-4711"}', base64.b64encode(b'{"userId":"customer-4711"}').decode(), '{"userId":"customer-1"}']
    for number, payload in enumerate(payloads):
        row = {
            "at": NOW,
            "stage": "worker",
            "reason": "x",
            "detail": "",
            "topic": "t",
            "partition": 1,
            "offset": number,
            "line": 0,
        }
        client.raw_insert("rejected", None, msgspec.json.encode(row | {"payload": payload}), fmt="JSONEachRow")
    merge = {"person": device, "target": anna, "at": NOW, "clock": NOW, "partition": 0, "offset": 1}
    client.raw_insert("person_merges", None, msgspec.json.encode(merge), fmt="JSONEachRow")

    ids = ids_of(client, device)
    assert ids == [device, anna] == ids_of(client, anna)
    assert ids_of(client, "u:nobody") == ["u:nobody"]
    assert rows_of(client, ids) == {"events": 3, "person_merges": 1, "rejected": 2}
    assert others_with(client, ids) == 1
    upto = dict.fromkeys(ids, 6)
    eraser = Eraser(client, demo_settings, lambda seconds: None)
    for _ in range(2):  # twice is harmless
        eraser.erase("t.events", 2, [Erasure(one, offset) for one, offset in upto.items()])
        assert rows_of(client, ids, upto) == {"events": 0, "person_merges": 0, "rejected": 0}
    assert client.query("SELECT person FROM events ORDER BY id").result_rows == [("u:bert",), (anna,)]
    assert client.query("SELECT payload FROM rejected").result_rows == [(payloads[2],)]
    told = " ".join(str(row) for row in client.query("SELECT command FROM system.mutations").result_rows)
    assert "DELETE" in told
    assert "4711" not in told
    assert "phone" not in told


def test_no_statement_of_forgetting_is_logged_with_an_id(tmp_path: Path, demo_settings: Settings) -> None:
    config = tmp_path / "config.xml"
    config.write_text("<clickhouse><query_log><database>system</database><table>query_log</table></query_log></clickhouse>")
    where: dict[str, Any] = {
        "interface": "chdb",
        "path": str(tmp_path / "store"),
        "chdb_options": {"config-file": str(config)},
        "settings": {"log_queries": 1},
    }
    database = demo_settings.clickhouse.database
    with clickhouse_connect.get_client(**where) as first:
        first.command(f"CREATE DATABASE {database}")
        with clickhouse_connect.get_client(**where, database=database) as made:
            migrate(made, demo_settings)
            persons = ("u:customer-4711", "a:phone-of-anna", "u:bert")
            lines = [line(number, one, app="harbor") for number, one in enumerate(persons)]
            made.raw_insert("events", None, b"\n".join(lines), settings={"log_comment": "t.events|2|5"}, fmt="JSONEachRow")
            merge = {
                "person": "a:phone-of-anna",
                "target": "u:customer-4711",
                "at": NOW,
                "clock": NOW,
                "partition": 0,
                "offset": 1,
            }
            made.raw_insert("person_merges", None, msgspec.json.encode(merge), fmt="JSONEachRow")
            ids = ids_of(made, "a:phone-of-anna")
            assert rows_of(made, ids)["events"] == 2
            others_with(made, ids)
            own = sql_numbers(made, demo_settings, database, NOW + DAY, only=tuple(ids))
            others = sql_numbers(made, demo_settings, database, NOW + DAY, without=tuple(ids))
            everybody = sql_numbers(made, demo_settings, database, NOW + DAY)
            assert any(own.values())
            assert all(own.get(key, 0) + others.get(key, 0) == value for key, value in everybody.items())
            Eraser(made, demo_settings, lambda seconds: None).erase("t.events", 2, [Erasure(one, 6) for one in ids])
            made.command("SYSTEM FLUSH LOGS")
            told = "".join(row[0] for row in made.query("SELECT query FROM system.query_log").result_rows)
    assert "SHA256" in told
    assert "DELETE WHERE" in told
    assert "4711" not in told
    assert "phone-of" not in told


def test_a_receipt_says_whether_it_is_done_and_not_who_it_was() -> None:
    receipt = Receipt(
        at="2026-11-22T22:00:00+00:00",
        subject=subject_of("salt", "u:customer-4711"),
        salt="salt",
        ids=2,
        rows={"events": Rows(10, 0)},
        records=2,
        compared=7,
    )
    assert receipt.ok
    assert "forgotten" in render(receipt)
    for change in ({"records": 1}, {"unresolved": 1}, {"different": 1}, {"rows": {"events": Rows(10, 1)}}):
        assert not msgspec.structs.replace(receipt, **change).ok

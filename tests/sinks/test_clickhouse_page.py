"""docs/clickhouse.md: its statement runs, its settings are valid, and what it says of retention is so."""

from __future__ import annotations

import re
from pathlib import Path

from clickhouse_connect.driver.client import Client

from ingest.contract.settings import ClickHouseSettings, read_settings
from sinks.contract.tables import TABLES
from tests.sinks.process import event

PAGE = (Path(__file__).parents[2] / "docs" / "clickhouse.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_statement_says_what_a_row_takes(client: Client) -> None:
    client.raw_insert("events", None, event(1), fmt="JSONEachRow")
    (sql,) = blocks("sql")
    found = {row[0]: row for row in client.query(sql).result_rows}
    assert found["events"][1] == 1
    assert found["events"][3] > 0


def test_the_settings_are_valid() -> None:
    (text,) = blocks("toml")
    assert read_settings(text, {}).clickhouse.cluster == "bank"


def test_tables_and_their_times_to_live_are_those_of_the_schema(client: Client) -> None:
    table = PAGE[PAGE.index("| table | a row is") : PAGE.index("The time to live of")]
    named = {
        name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")
    }
    assert named == set(TABLES)
    assert f"{ClickHouseSettings().events_ttl_days} days" in table
    (made,) = client.query("SELECT create_table_query FROM system.tables WHERE name = 'rejected'").result_rows
    assert "toIntervalDay(30)" in made[0]

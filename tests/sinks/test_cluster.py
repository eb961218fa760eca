"""The schema as it is rendered for a cluster.

No cluster is to be had here: the embedded engine has neither Keeper nor a port for other servers. What is tried is this: the real
engine parses every statement; with replication taken away it makes every table, and analyses every view and query over
Distributed tables whose shards do not answer. That replicas replicate was not tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import clickhouse_connect
import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from ingest.contract.errors import ConfigError
from ingest.contract.settings import ClickHouseSettings, Settings, read_settings
from sinks.clickhouse.ddl import statements
from sinks.clickhouse.kinds import kinds, next_offset
from sinks.clickhouse.migrate import apply_migrations, ttl_sql
from sinks.clickhouse.topology import SHARDED, Cluster, SingleServer, topology_of
from sinks.contract.tables import TABLES, VIEWS

CLUSTER = Cluster("bank", "footfall")
SOURCES = {one.name: one.read_text() for one in files("sinks.clickhouse.migrations").iterdir() if one.name.endswith(".sql")}
#: Two shards that do not answer.
CONFIG = """<clickhouse><remote_servers><bank>
<shard><internal_replication>true</internal_replication><replica><host>127.0.0.1</host><port>1</port></replica></shard>
<shard><internal_replication>true</internal_replication><replica><host>127.0.0.1</host><port>2</port></replica></shard>
</bank></remote_servers></clickhouse>"""


class Unreplicated(Cluster):
    """The same without Keeper: what is left of it the embedded engine can make."""

    def on_cluster(self) -> str:
        return ""

    def engine(self, table: str, family: str, arguments: str) -> str:
        return SingleServer().engine(table, family, arguments)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The embedded engine with the cluster in its configuration, all tables and views made."""
    folder = tmp_path_factory.mktemp("cluster")
    config = folder / "config.xml"
    config.write_text(CONFIG)
    where: dict[str, Any] = {
        "interface": "chdb",
        "path": str(folder / "store"),
        "chdb_options": {"config-file": str(config)},
        "settings": {"skip_unavailable_shards": 1},
    }
    first = clickhouse_connect.get_client(**where)
    first.command("CREATE DATABASE footfall")
    made = clickhouse_connect.get_client(**where, database="footfall")
    apply_migrations(made, SOURCES, Unreplicated("bank", "footfall"))
    yield made
    made.close()
    first.close()


def all_statements() -> list[str]:
    return [one for name in sorted(SOURCES) for one in statements(SOURCES[name], CLUSTER)] + statements(ttl_sql(30), CLUSTER)


def test_the_engine_understands_every_statement(engine: Client) -> None:
    for one in all_statements():
        formatted = str(engine.command("SELECT formatQuerySingleLine({sql:String})", parameters={"sql": one}))
        assert "ON CLUSTER bank" in formatted, one


def test_every_table_is_replicated_and_the_large_ones_are_spread() -> None:
    made = {words[5]: one for one in all_statements() if (words := one.split())[:2] == ["CREATE", "TABLE"]}
    assert set(made) == {*TABLES, *(f"{table}_local" for table in SHARDED)} - {"migrations"}
    for table, one in made.items():
        if table in SHARDED:
            assert f"AS {table}_local ENGINE = Distributed('bank', 'footfall', '{table}_local', {SHARDED[table]})" in one
        elif table.endswith("_local"):
            assert f"MergeTree('/clickhouse/tables/{{shard}}/footfall/{table}', '{{replica}}'" in one
        else:
            assert f"MergeTree('/clickhouse/tables/whole/footfall/{table}', '{{shard}}-{{replica}}'" in one


def test_columns_are_changed_in_both_tables_and_all_else_where_the_rows_are() -> None:
    assert statements("ALTER TABLE events {on_cluster} ADD COLUMN x Int8;", CLUSTER) == [
        "ALTER TABLE events_local ON CLUSTER 'bank' ADD COLUMN x Int8",
        "ALTER TABLE events ON CLUSTER 'bank' ADD COLUMN x Int8",
    ]
    assert [one.split()[2] for one in statements(ttl_sql(30), CLUSTER)] == ["events_local"]
    assert [one.split()[2] for one in statements("ALTER TABLE rejected {on_cluster} DROP COLUMN x;", CLUSTER)] == ["rejected"]


def test_both_tables_have_the_same_columns_after_all_migrations(engine: Client) -> None:
    for table in SHARDED:
        columns = [
            engine.query(
                "SELECT name, type, default_kind, default_expression FROM system.columns "
                "WHERE database = 'footfall' AND table = {table:String} ORDER BY position",
                parameters={"table": name},
            ).result_rows
            for name in (table, f"{table}_local")
        ]
        assert columns[0] == columns[1]
        assert len(columns[0]) > 10


def test_versions_of_a_row_are_on_one_shard(engine: Client) -> None:
    keys = dict(engine.query("SELECT name, sorting_key FROM system.tables WHERE database = 'footfall'").result_rows)
    assert {"layout", "partition"} <= set(keys["metrics_local"].split(", "))
    assert "person_hash" in keys["events_local"].split(", ")
    hashed = engine.command("SELECT default_expression FROM system.columns WHERE table = 'events_local' AND name = 'person_hash'")
    assert hashed == SHARDED["events"]


def test_every_view_can_be_read_over_the_shards(engine: Client) -> None:
    for view in VIEWS:
        assert engine.query(f"SELECT * FROM {view.name}").result_rows == []
        assert tuple(row[0] for row in engine.query(f"DESCRIBE TABLE {view.name}").result_rows) == view.columns


def test_where_to_go_on_is_asked_of_all_shards_and_what_was_not_committed_is_read_again(
    engine: Client, demo_settings: Settings
) -> None:
    server = ClickHouseSettings(url="http://clickhouse:8123", cluster="bank")
    for kind in kinds(msgspec.structs.replace(demo_settings, clickhouse=server)):
        assert not kind.atomic
        held = kind.held(lambda sql, more: engine.query(sql, parameters=more).result_rows, {0: 5, 1: None})
        assert held == {}
        assert kind.apart == (kind.role == "events")
    assert next_offset(held=90, committed=70, beginning=3, atomic=False) == 70


def test_a_cluster_is_named_in_the_settings_and_needs_an_address(tmp_path: Path) -> None:
    text = '[clickhouse]\nurl = "http://clickhouse:8123"\ncluster = "bank"\n'
    assert isinstance(topology_of(read_settings(text, {}).clickhouse), Cluster)
    assert isinstance(topology_of(ClickHouseSettings()), SingleServer)
    with pytest.raises(ConfigError, match=r"clickhouse\.cluster needs clickhouse\.url"):
        read_settings('[clickhouse]\ncluster = "bank"\n', {})

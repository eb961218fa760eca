"""The schema: migrations on real engines, and their rules."""

from __future__ import annotations

import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from ingest.contract.errors import ConfigError, WriteError
from ingest.contract.settings import Settings
from sinks.clickhouse.ddl import migrations_of, statements, to_apply
from sinks.clickhouse.migrate import apply_migrations, migrate
from sinks.clickhouse.topology import SingleServer
from sinks.contract.tables import TABLES, VIEWS

ONE = "CREATE TABLE IF NOT EXISTS one {on_cluster} (a Int8)\nENGINE = {engine:MergeTree()}\nORDER BY a;\n"


@pytest.mark.clickhouse
def test_a_new_database_gets_every_table_and_every_view_of_the_catalogue(any_clickhouse: tuple[Client, Settings]) -> None:
    client, settings = any_clickhouse
    assert migrate(client, settings) == ["tables", "merges", "violations", "rejection_ids", "plan_funnels", "views"]
    names = {row[0] for row in client.query("SELECT name FROM system.tables WHERE database = currentDatabase()").result_rows}
    assert names == set(TABLES) | {view.name for view in VIEWS}
    for view in VIEWS:
        assert tuple(client.query(f"SELECT * FROM {view.name} LIMIT 0").column_names) == view.columns, view.name


@pytest.mark.clickhouse
def test_a_second_run_changes_nothing(any_clickhouse: tuple[Client, Settings]) -> None:
    client, settings = any_clickhouse
    migrate(client, settings)
    before = client.query("SELECT * FROM migrations ORDER BY number, applied").result_rows
    assert migrate(client, settings) == []
    assert client.query("SELECT * FROM migrations ORDER BY number, applied").result_rows == before
    assert client.query("SELECT count() FROM layouts").result_rows == [(1,)]
    assert client.query("SELECT count() FROM plan_apps").result_rows == [(4,)]
    assert client.query("SELECT count() FROM plan_funnels").result_rows == [(1,)]


@pytest.mark.clickhouse
def test_a_migration_that_was_cut_off_is_finished_by_the_next_run(client: Client) -> None:
    two = {"0001_a.sql": ONE, "0002_b.sql": ONE.replace("one", "two") + "CREATE TABLE broken (;\n"}
    client.command("DROP TABLE migrations")
    with pytest.raises(WriteError, match="refuses migration b"):
        apply_migrations(client, two, SingleServer())
    two["0002_b.sql"] = ONE.replace("one", "two") + ONE.replace("one", "three")
    assert apply_migrations(client, two, SingleServer()) == ["b", "views"]
    assert client.command("EXISTS TABLE three") == 1


@pytest.mark.clickhouse
def test_a_migration_that_changed_after_it_was_applied_is_an_error(client: Client) -> None:
    client.command("DROP TABLE migrations")
    apply_migrations(client, {"0001_a.sql": ONE}, SingleServer())
    with pytest.raises(ConfigError, match=r"0001_a\.sql changed after it was applied"):
        apply_migrations(client, {"0001_a.sql": ONE + "-- a word more\n"}, SingleServer())


@pytest.mark.clickhouse
def test_views_are_made_again_when_they_change(client: Client) -> None:
    client.command("DROP TABLE migrations")
    view = "CREATE OR REPLACE VIEW v {on_cluster} AS SELECT 1 AS x;\n"
    apply_migrations(client, {"views.sql": view}, SingleServer())
    assert apply_migrations(client, {"views.sql": view.replace("1", "2")}, SingleServer()) == ["views"]
    assert client.command("SELECT x FROM v") == 2


@pytest.mark.clickhouse
def test_the_time_to_live_of_events_follows_the_setting(client: Client, demo_settings: Settings) -> None:
    changed = msgspec.structs.replace(
        demo_settings, clickhouse=msgspec.structs.replace(demo_settings.clickhouse, events_ttl_days=41)
    )
    migrate(client, changed)
    table = str(client.command("SELECT create_table_query FROM system.tables WHERE name = 'events'"))
    assert "toIntervalDay(41)" in table
    assert "toIntervalDay(400)" not in table


@pytest.mark.clickhouse
def test_apps_follow_the_plan_also_when_one_is_taken_out(client: Client, demo_settings: Settings) -> None:
    assert {row[0] for row in client.query("SELECT id FROM apps").result_rows} == {"harbor", "pioneer", "rural", "all"}
    harbor = msgspec.structs.replace(demo_settings.apps[0], name="It's \\ Harbor 银行")
    fewer = msgspec.structs.replace(demo_settings, apps=[harbor, demo_settings.apps[1]], groups=[])
    migrate(client, fewer)
    rows = client.query("SELECT id, name, time_zone, kind FROM apps ORDER BY id").result_rows
    assert rows == [
        ("harbor", "It's \\ Harbor 银行", "Asia/Shanghai", "app"),
        ("pioneer", "Pioneer Bank", "Asia/Shanghai", "app"),
    ]


def test_funnels_follow_the_plan_also_when_one_is_taken_out(client: Client, demo_settings: Settings) -> None:
    there = "SELECT id, app, steps FROM plan_funnels FINAL WHERE NOT removed ORDER BY id, app"
    assert client.query(there).result_rows == [("transfer", "harbor", 5)]
    (funnel,) = demo_settings.funnels
    shorter = msgspec.structs.replace(funnel, steps=funnel.steps[:3])
    more = msgspec.structs.replace(funnel, id="other", app="all")
    migrate(client, msgspec.structs.replace(demo_settings, funnels=[shorter, more]))
    assert client.query(there).result_rows == [("other", "all", 5), ("transfer", "harbor", 3)]
    moved = msgspec.structs.replace(more, id="transfer")
    migrate(client, msgspec.structs.replace(demo_settings, funnels=[moved]))
    assert client.query(there).result_rows == [("transfer", "all", 5)]


def test_a_gap_in_the_numbers_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"0003_c\.sql is not 0002"):
        migrations_of({"0001_a.sql": "", "0003_c.sql": "", "views.sql": "", "README": ""})


def test_a_database_that_is_ahead_of_the_program_is_left_alone() -> None:
    with pytest.raises(ConfigError, match="the database is ahead: it has migration 0002_b"):
        to_apply({1: ("a", "x"), 2: ("b", "y")}, migrations_of({"0001_a.sql": ""})[:1])


def test_engines_are_injected_and_comments_taken_out() -> None:
    text = "-- a comment; with a semicolon\n"
    text += "CREATE TABLE IF NOT EXISTS t {on_cluster} (a Int8) ENGINE = {engine:ReplacingMergeTree(a)};\nSELECT ';';\n"
    assert statements(text, SingleServer()) == [
        "CREATE TABLE IF NOT EXISTS t  (a Int8) ENGINE = ReplacingMergeTree(a)",
        "SELECT ';'",
    ]

"""Shell: brings the schema and the plan's tables up to date. May be run again at any time, also after it was interrupted."""

from __future__ import annotations

import logging
import time
from importlib.resources import files

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from ingest.contract.errors import WriteError
from ingest.contract.settings import Settings
from sinks.clickhouse.ddl import Migration, checksum, migrations_of, statements, to_apply
from sinks.clickhouse.plan import AppRow, FunnelRow, funnel_rows, plan_rows
from sinks.clickhouse.topology import Topology, topology_of
from sinks.contract.tables import EVENTS

log = logging.getLogger(__name__)

_VIEWS = "views.sql"
_RECORD = """
CREATE TABLE IF NOT EXISTS migrations {on_cluster} (
    number Int32 COMMENT '0: the views',
    name String,
    checksum String,
    applied Int64 COMMENT 'ms UTC',
    version UInt64 MATERIALIZED toUInt64(applied)
)
ENGINE = {engine:ReplacingMergeTree(version)}
ORDER BY number;
"""


def migrate(client: Client, settings: Settings) -> list[str]:
    """Applies what is missing and returns the names of what was applied.

    Raises ConfigError for a migration that changed after it was applied, WriteError where ClickHouse refuses one.
    """
    topology = topology_of(settings.clickhouse)
    sources = {one.name: one.read_text() for one in files("sinks.clickhouse.migrations").iterdir() if one.name.endswith(".sql")}
    applied = apply_migrations(client, sources, topology)
    _ensure_ttl(client, settings.clickhouse.events_ttl_days, topology)
    _ensure_plan(client, settings)
    return applied


def apply_migrations(client: Client, sources: dict[str, str], topology: Topology) -> list[str]:
    """Applies the numbered files among sources (name -> SQL), then the views if they changed. Returns what was applied."""
    _run(client, "migrations", statements(_RECORD, topology))
    rows = client.query("SELECT number, name, checksum FROM migrations FINAL ORDER BY number").result_rows
    known = {int(number): (str(name), str(check)) for number, name, check in rows}
    views = Migration(0, "views", sources.get(_VIEWS, ""))
    pending = to_apply({number: one for number, one in known.items() if number > 0}, migrations_of(sources))
    if known.get(0, ("", ""))[1] != checksum(views.text):
        pending.append(views)
    for one in pending:
        _run(client, one.name, statements(one.text, topology))
        client.command(
            "INSERT INTO migrations (number, name, checksum, applied) SELECT {n:Int32}, {name:String}, {sum:String}, {at:Int64}",
            parameters={"n": one.number, "name": one.name, "sum": one.checksum, "at": int(time.time() * 1000)},
        )
        log.info("migrated ClickHouse: %04d %s", one.number, one.name)
    return [one.name for one in pending]


def _run(client: Client, name: str, sql: list[str]) -> None:
    for statement in sql:
        try:
            client.command(statement)
        except ClickHouseError as error:
            raise WriteError(f"ClickHouse refuses migration {name}: {str(error).strip().splitlines()[0][:500]}") from error


def ttl_sql(days: int) -> str:
    """Sets the events' time to live. It is a setting, so it is no migration."""
    return (
        f"ALTER TABLE {EVENTS} {{on_cluster}} MODIFY TTL "
        f"toDateTime(fromUnixTimestamp64Milli(received, 'UTC')) + toIntervalDay({days})"
    )


def _ensure_ttl(client: Client, days: int, topology: Topology) -> None:
    table = client.command(
        "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = {name:String}",
        parameters={"name": topology.held(EVENTS)},
    )
    if f"toIntervalDay({days})" not in str(table):
        for statement in statements(ttl_sql(days), topology):
            # Not applied to old parts at once: merges do that in their time.
            client.command(statement, settings={"materialize_ttl_after_modify": 0})


def _ensure_plan(client: Client, settings: Settings) -> None:
    """Writes the plan's apps, groups, funnels and layout where they differ from what is there."""
    now = int(time.time() * 1000)
    rows = client.query("SELECT id, name, time_zone, population, kind FROM plan_apps FINAL WHERE NOT removed").result_rows
    there = {AppRow(*row) for row in rows}
    wanted = set(plan_rows(settings))
    ids = {one.id for one in wanted}
    changed = [(*one, False, now) for one in sorted(wanted - there)]
    changed += [(*one, True, now) for one in sorted(there) if one.id not in ids]
    for row in changed:
        client.command(
            "INSERT INTO plan_apps (id, name, time_zone, population, kind, removed, written) SELECT {id:String}, {name:String}, "
            "{zone:String}, {population:UInt64}, {kind:String}, {removed:Bool}, {written:Int64}",
            parameters=dict(zip(("id", "name", "zone", "population", "kind", "removed", "written"), row, strict=True)),
        )
    rows = client.query("SELECT id, app, steps FROM plan_funnels FINAL WHERE NOT removed").result_rows
    known, funnels = {FunnelRow(*row) for row in rows}, set(funnel_rows(settings))
    kept = {one[:2] for one in funnels}
    for funnel in sorted(funnels ^ known):
        if funnel in funnels or funnel[:2] not in kept:
            client.command(
                "INSERT INTO plan_funnels (id, app, steps, removed, written) "
                "SELECT {id:String}, {app:String}, {steps:UInt8}, {removed:Bool}, {written:Int64}",
                parameters={**funnel._asdict(), "removed": funnel not in funnels, "written": now},
            )
    layout = client.command("SELECT argMax(layout, since) FROM layouts")
    if str(layout) != settings.project.layout:
        client.command(
            "INSERT INTO layouts (layout, since) SELECT {layout:String}, {since:Int64}",
            parameters={"layout": settings.project.layout, "since": now},
        )

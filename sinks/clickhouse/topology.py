"""How tables lie on servers: on one, or over the shards and replicas of a cluster. Pure.

On a cluster the tables that grow are sharded: `events` by person and `metrics` by the partition that a total sums up, so that all
versions of a row are on one shard, where ReplacingMergeTree and FINAL leave the last of them. Each is a Distributed table of the
name that everybody asks and inserts into, over tables `<name>_local` that hold the rows. All other tables are small, and whole on
every server, so that joins and subqueries find them wherever they run.
"""

from __future__ import annotations

from typing import Protocol

from ingest.contract.settings import ClickHouseSettings
from sinks.contract import tables

#: Table -> sharding key.
SHARDED = {tables.EVENTS: "cityHash64(person)", tables.METRICS: "cityHash64(layout, partition)"}


class Topology(Protocol):
    """How tables lie on servers."""

    def on_cluster(self) -> str:
        """The clause after a table's name."""

    def engine(self, table: str, family: str, arguments: str) -> str:
        """The engine of a table of a MergeTree family."""

    def held(self, table: str) -> str:
        """The table that holds the rows of `table`: another one where that is spread over shards."""

    def distributed(self, table: str) -> str:
        """The engine of the table that is spread over shards."""


class SingleServer:
    """One server, or the embedded engine: engines as they are named."""

    def on_cluster(self) -> str:
        return ""

    def engine(self, table: str, family: str, arguments: str) -> str:
        return f"{family}({arguments})" if arguments else family

    def held(self, table: str) -> str:
        return table

    def distributed(self, table: str) -> str:
        return ""


class Cluster:
    """A cluster of `remote_servers`, with Keeper and the macros {shard} and {replica} on every server."""

    def __init__(self, name: str, database: str) -> None:
        self._name = name
        self._database = database

    def on_cluster(self) -> str:
        return f"ON CLUSTER '{self._name}'"

    def engine(self, table: str, family: str, arguments: str) -> str:
        held = self.held(table)
        # whole tables are one shard of all servers: a replica's name must be its own among all of them
        place, replica = ("{shard}", "{replica}") if held != table else ("whole", "{shard}-{replica}")
        path = f"'/clickhouse/tables/{place}/{self._database}/{held}', '{replica}'"
        return f"Replicated{family}({path}, {arguments})" if arguments else f"Replicated{family}({path})"

    def held(self, table: str) -> str:
        return f"{table}_local" if table in SHARDED else table

    def distributed(self, table: str) -> str:
        return f"Distributed('{self._name}', '{self._database}', '{self.held(table)}', {SHARDED[table]})"


def topology_of(settings: ClickHouseSettings) -> Topology:
    """The settings' topology."""
    return Cluster(settings.cluster, settings.database) if settings.cluster else SingleServer()

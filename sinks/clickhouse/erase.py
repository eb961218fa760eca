"""Shell: takes persons who are forgotten out of ClickHouse: events, what was rejected of them, and who they were one with.

ALTER TABLE ... DELETE rewrites the parts that hold such rows. ClickHouse keeps the text of these statements for a while, so in
them persons stand as salted hashes; what is looked for in texts has to stand in clear, in a query that is not logged.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from ingest.contract.control import Erasure
from ingest.contract.errors import WriteError
from ingest.contract.settings import Settings
from sinks.clickhouse.errors import Remedy
from sinks.clickhouse.store import first_line, judge
from sinks.clickhouse.topology import topology_of
from sinks.contract import tables
from sinks.contract.forgotten import FIND_REJECTED, needles, unlogged
from sinks.verify.expressions import among, text

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 0.2
_AT_ONCE = 500
_PENDING = (
    "SELECT latest_fail_reason FROM system.mutations "
    "WHERE database = currentDatabase() AND table = {table:String} AND NOT is_done"
)


class Eraser:
    """Erases with one client; for one thread. wait(seconds) waits in between, and may raise to give up: it is done again then."""

    def __init__(self, client: Client, settings: Settings, wait: Callable[[float], None]) -> None:
        self._client = client
        self._topology = topology_of(settings.clickhouse)
        self._wait = wait

    def erase(self, topic: str, partition: int, erasures: Sequence[Erasure]) -> None:
        """Returns when the rows are gone. Erasing again is harmless. Raises WriteError when ClickHouse refuses."""
        salt = secrets.token_hex(16)
        rows = " OR ".join(f"(kafka_offset <= {one.upto} AND {among(salt, 'person', [one.person])})" for one in erasures)
        persons = [one.person for one in erasures]
        ids = f"{among(salt, 'person', persons)} OR {among(salt, 'target', persons)}"
        self._delete(tables.EVENTS, f"kafka_topic = {text(topic)} AND kafka_partition = {partition} AND ({rows})")
        self._delete(tables.PERSON_MERGES, ids)
        found = self._query(FIND_REJECTED, {"needles": needles(persons)})
        for first in range(0, len(found), _AT_ONCE):
            self._delete(tables.REJECTED, f"id IN ({', '.join(text(one) for one in found[first : first + _AT_ONCE])})")
        log.info("erased %d ids of partition %d, and %d rejected rows", len(erasures), partition, len(found))

    def _delete(self, table: str, condition: str) -> None:
        held = self._topology.held(table)
        statement = f"ALTER TABLE {held} {self._topology.on_cluster()} DELETE WHERE {condition}"
        while True:
            try:
                self._client.command(statement, settings={"mutations_sync": 0})
                while pending := self._query(_PENDING, {"table": held}):
                    if any(pending):
                        log.warning("%s: ClickHouse tries to delete again: %s", held, max(pending)[:300])
                    self._wait(_LOOK_AGAIN_S)
                return
            except (ClickHouseError, OSError) as error:
                if judge(error) is not Remedy.RETRY:
                    raise WriteError(f"ClickHouse does not delete from {held}: {first_line(error)}") from error
                log.warning("%s: rows are not deleted yet: %s", held, first_line(error))
            self._wait(1.0)

    def _query(self, sql: str, parameters: dict[str, Any]) -> list[str]:
        return [
            str(row[0]) for row in self._client.query(sql, parameters=parameters, settings=unlogged(self._client)).result_rows
        ]
